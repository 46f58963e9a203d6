"""D4RL's engine is D4RL's, to the last digits of real transitions; every other one says that it is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from types import SimpleNamespace

import gymnasium
import mujoco
import numpy as np
import pytest

from cepkit.rl import ENGINES, engine_differences, make_env
from cepkit.rl.data.catalogue import CATALOGUE
from cepkit.rl.envs import engine_check, engines
from cepkit.rl.envs.engine_check import BODIES, engine_difference, real_transitions

AGREES = 1e-9


@pytest.mark.parametrize("body", BODIES)
def test_every_real_transition_is_repeated(body):
    row = engine_difference(body, "d4rl-v2")
    assert row.observation.shape == row.reward.shape == (400,)
    assert row.observation.max() < AGREES and row.reward.max() < AGREES and row.terminals == 0


def test_episodes_end_in_the_recording_so_that_terminals_are_compared():
    assert [int(real_transitions(body).terminal.sum()) for body in BODIES] == [26, 0, 22, 5]


@pytest.mark.parametrize("engine", ENGINES[1:3])
def test_the_measure_sees_that_gymnasium_s_own_are_other_machines(engine):
    rows = [engine_difference(body, engine) for body in ("hopper", "halfcheetah")]
    assert [(row.body, row.engine) for row in rows] == [("hopper", engine), ("halfcheetah", engine)]
    assert 0.05 < rows[0].observation.max() < 0.1 and 1.5 < rows[1].observation.max() < 2.5


def test_every_task_is_measured_on_every_engine_of_locomotion(monkeypatch):
    monkeypatch.setattr(engine_check, "engine_difference", lambda body, engine: (body, engine))
    rows = engine_differences()
    assert rows[:4] == [("hopper", "d4rl-v2"), ("hopper", "gymnasium-v4"), ("hopper", "gymnasium-v5"), ("halfcheetah", "d4rl-v2")]
    assert len(set(rows)) == len(rows) == 12


@pytest.mark.parametrize("constant", engines.INERTIAL_CONSTANTS[:3])
def test_each_kind_of_constant_is_needed(constant, monkeypatch):
    monkeypatch.setattr(engines, "INERTIAL_CONSTANTS", tuple(set(engines.INERTIAL_CONSTANTS) - {constant}))
    row = engine_difference("halfcheetah", "d4rl-v2")
    assert row.observation.max() > 1e-3


def test_what_follows_from_the_constants_is_recomputed():
    own, plain = make_env("walker2d-medium-v2").unwrapped.model, gymnasium_env("walker2d").unwrapped.model
    assert own.body_subtreemass[0] == pytest.approx(own.body_mass.sum()) and own.body_mass.sum() < plain.body_mass.sum()
    assert not np.allclose(own.dof_invweight0, plain.dof_invweight0)


def gymnasium_env(body: str):
    return engines.find_environment(f"{body}-medium-v2", "gymnasium-v4").build()


def test_a_model_of_other_bodies_is_refused(monkeypatch):
    walker = engines.inertia("walker2d")
    monkeypatch.setattr(engines, "inertia", lambda body: walker)
    with pytest.raises(ValueError, match="expected the bodies"):
        make_env("hopper-medium-v2")


@pytest.mark.parametrize(("name", "body"), [("hopper-medium-replay-v2", "Hopper"), ("halfcheetah-small-replay", "HalfCheetah")])
def test_locomotion_is_on_d4rl_s_engine_by_default_and_lasts_1000_steps(name, body):
    env = make_env(name)
    assert engines.find_environment(name).engine == "d4rl-v2" and env.spec.id == f"{body}-v4"
    assert env.spec.max_episode_steps == 1000


def test_the_time_limit_truncates():
    env = make_env("halfcheetah-medium-v2")
    env.reset(seed=0)
    ends = [env.step(np.zeros(6))[2:4] for _ in range(1000)]
    assert ends[-1] == (False, True) and not any(truncated for _, truncated in ends[:-1])


@pytest.mark.parametrize("engine", ENGINES[:3])
def test_ant_has_the_111_numbers_of_d4rl_s_data_on_every_engine(engine):
    env = engines.find_environment("ant-medium-v2", engine).build()
    first, _ = env.reset(seed=0)
    later, *_ = env.step(np.ones(8))
    assert env.observation_space.shape == first.shape == later.shape == (111,) and env.observation_space.contains(later)
    assert not first[27:].any() and not later[27:].any() and later[:27].all()


def test_d4rl_s_engine_clips_actions_before_it_charges_for_them():
    rewards = {}
    for engine in ("d4rl-v2", "gymnasium-v4"):
        env = engines.find_environment("halfcheetah-medium-v2", engine).build()
        for size in (1.0, 3.0):
            env.reset(seed=0)
            rewards[engine, size] = env.step(np.full(6, size))[1]
    assert rewards["d4rl-v2", 3.0] == rewards["d4rl-v2", 1.0]
    assert rewards["gymnasium-v4", 3.0] < rewards["gymnasium-v4", 1.0] - 1


def test_a_seed_decides_the_start():
    starts = [make_env("ant-medium-v2").reset(seed=seed)[0] for seed in (1, 1, 2)]
    assert np.array_equal(starts[0], starts[1]) and not np.array_equal(starts[0], starts[2])


@pytest.mark.parametrize("engine", ENGINES[1:3])
def test_gymnasium_s_engines_warn_that_scores_differ(engine):
    with pytest.warns(UserWarning, match="scores differ") as caught:
        make_env("hopper-medium-v2", engine=engine)
    assert len(caught) == 1 and caught[0].filename == __file__


@pytest.mark.parametrize(("version", "warned"), [("3.8.1", True), ("2.3.7", True), ("3.3.2", False)])
def test_another_mujoco_is_warned_of(version, warned, monkeypatch):
    monkeypatch.setattr(mujoco, "__version__", version)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make_env("halfcheetah-medium-v2")
    assert [str(warning.message).startswith(f"mujoco {version}") for warning in caught] == [True] * warned


def test_only_the_warning_of_age_is_silenced():
    with pytest.warns(DeprecationWarning, match="out of date"):
        gymnasium.make("Hopper-v4")
    make_env("hopper-medium-v2")  # warnings are errors here


def test_a_picture_without_a_display_is_refused_with_the_way_out(monkeypatch):
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(ValueError, match="render_mode: expected a display for 'rgb_array', found none; .* MUJOCO_GL=egl "):
        make_env("pointmaze-umaze", render_mode="rgb_array")


DISPLAYS = {"DISPLAY": "MUJOCO_GL=''; without a display, .* MUJOCO_GL=egl", "MUJOCO_GL": "not import .RuntimeError: .* MUJOCO_GL"}


@pytest.mark.skipif(sys.platform != "linux", reason="displays of X")
@pytest.mark.parametrize("name", DISPLAYS)
def test_a_display_that_does_not_answer_is_an_error_that_names_mujoco_gl(name):
    code = (
        "from cepkit.rl import make_env\n"
        "try: make_env('pointmaze-umaze', render_mode='rgb_array')\n"
        "except ValueError as error: print(error)"
    )
    without = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=without | {name: ":77"})
    assert re.search(DISPLAYS[name], done.stdout), done.stderr


def test_environments_are_closed_whatever_happens(monkeypatch):
    closed = []
    monkeypatch.setattr(engines.Environment, "build", lambda self: SimpleNamespace(close=lambda: closed.append(self.name)))
    with pytest.raises(ZeroDivisionError), engines.find_environment("hopper-medium-v2").opened(3) as envs:
        assert len(envs) == 3 and not closed
        raise ZeroDivisionError
    assert closed == ["hopper-medium-v2"] * 3


@pytest.mark.parametrize(
    ("name", "own", "size", "limit"),
    [("antmaze-umaze-v2", "AntMaze_UMaze-v4", 29, 700), ("maze2d-medium-dense-v1", "PointMaze_MediumDense-v3", 4, 600)],
)
def test_d4rl_s_mazes_are_others_under_their_own_names(name, own, size, limit):
    with pytest.warns(UserWarning, match=f"{own} of gymnasium-robotics, with other starts") as caught:
        env = make_env(name)
    assert len(caught) == 1
    observation, info = env.reset(seed=0)
    assert env.spec.id == own and env.spec.max_episode_steps == limit and info["success"] is False
    assert observation.shape == env.observation_space.shape == (size,) and env.observation_space.contains(observation)
    assert np.array_equal(observation[:2], env.unwrapped.data.qpos[:2])
    assert np.array_equal(make_env(own).reset(seed=0)[0], observation)  # by its own name, without a warning


def test_an_ant_s_maze_ends_at_the_goal_and_a_point_s_does_not():
    for name, ends in (("AntMaze_UMaze-v4", True), ("PointMaze_UMaze-v3", False)):
        env = make_env(name)
        observation, _ = env.reset(seed=0)
        env.unwrapped.goal = observation[:2].copy()
        _, reward, terminated, _, info = env.step(np.zeros(env.action_space.shape))
        assert (reward, terminated, info["success"]) == (1.0, ends, True)


def test_every_name_can_be_found():
    families = ("locomotion", "antmaze", "maze2d", "maze")
    names = [name for name, entry in CATALOGUE.items() if entry.family in families]
    assert {engines.find_environment(name).engine for name in names} == {"d4rl-v2", "gymnasium-robotics"}
    registered = gymnasium.registry.keys() | {"cepkit/PointMaze_UMaze-v0"}
    make_env("PointMaze_UMaze-v3")
    assert {engines.find_environment(name).gymnasium_id for name in names} <= registered | gymnasium.registry.keys()


@pytest.mark.parametrize(
    ("name", "engine", "message"),
    [
        ("hoper-medium-v2", None, r"name: .*got 'hoper-medium-v2'; did you mean 'hopper-medium-v2'\?"),
        ("pointmaze-u", None, "did you mean 'pointmaze-umaze'"),
        ("?", None, "name: expected a D4RL task such as hopper-medium-v2"),
        (3, None, "name: .*got 3"),
        ("hopper-medium-v2", "d4rl", "engine: expected one of d4rl-v2, .*did you mean 'd4rl-v2'"),
        ("hopper-medium-v2", "gymnasium-robotics", "engine: expected d4rl-v2 or gymnasium-v4 or gymnasium-v5 for hopper"),
        ("pointmaze-umaze", "d4rl-v2", "engine: expected gymnasium-robotics for pointmaze-umaze"),
    ],
)
def test_unknown_names_and_engines_are_refused(name, engine, message):
    with pytest.raises(ValueError, match=message):
        make_env(name, engine=engine)


@pytest.mark.parametrize(
    ("missing", "name"),
    [("mujoco", "hopper-medium-v2"), ("gymnasium", "hopper-medium-v2"), ("gymnasium_robotics", "pointmaze-umaze")],
)
def test_a_missing_package_is_named_with_its_extra(missing, name, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ValueError, match=rf"package {missing.replace('_', '-')}.*pip install -e '\.\[rl\]'"):
        make_env(name)


def test_importing_imports_no_simulator_and_making_a_maze_prints_nothing():
    code = (
        "import sys, cepkit.rl\n"
        "assert not {'gymnasium', 'mujoco', 'h5py', 'gymnasium_robotics', 'matplotlib'} & sys.modules.keys()\n"
        "cepkit.rl.make_env('pointmaze-umaze')"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
