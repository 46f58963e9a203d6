"""Every control of the maze lab, by its trait: what it changes in what travels to the browser, without a browser."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from cepkit.rl import QGPO, MazeLab, QGPOConfig
from cepkit.rl.agent.agent_networks import make_networks
from cepkit.rl.agent.baselines import clone_policy
from cepkit.rl.envs import maze
from cepkit.rl.envs.rollouts import rollout
from cepkit.rl.study import maze_lab
from cepkit.rl.study.action_slices import energy_slice

SCRIPT = Path(maze_lab.__file__).parent / "js" / "maze.js"
SHOWN = ("actions", "energies", "guided")
SMALL = {"behaviour_widths": (8, 4), "behaviour_embedding": 8, "critic_width": 8, "energy_width": 8, "act_steps": 2}


def untrained(state_dim=4, action_dim=2, cloning=True):
    config = QGPOConfig(**SMALL, support_actions=6)
    sizes = (state_dim, action_dim)
    critic, energy = make_networks("critic", sizes, config, 0).values()
    behaviour = make_networks("behaviour", sizes, config, 0)["behaviour"]
    for parameter in energy.parameters():  # a fresh energy net is 0 everywhere
        parameter.data.normal_(generator=torch.Generator().manual_seed(1), std=0.3)
    mean, std = torch.zeros(state_dim), torch.ones(state_dim)
    clone = make_networks("cloning", sizes, config, 0)["cloning"] if cloning else None
    return QGPO(behaviour, critic, energy, config, mean, std, torch.tensor(0.1), clone)


@pytest.fixture
def lab(monkeypatch):
    monkeypatch.setattr(maze, "STEPS", 8)
    widget = MazeLab(untrained())
    yield widget
    widget.close()


def shown(lab):
    return {name: getattr(lab, name) for name in SHOWN}


@pytest.mark.parametrize(
    ("name", "value", "changed"),
    [
        ("place", [1.0, 0.0], set(SHOWN)),
        ("vx", 0.5, set(SHOWN)),
        ("vy", -0.5, set(SHOWN)),
        ("seed", 3, set(SHOWN)),
        ("t", 0.6, {"energies"}),
        ("scale", 1.0, {"guided"}),
    ],
)
def test_every_control_changes_what_depends_on_it_and_nothing_else(lab, name, value, changed):
    before = shown(lab)
    setattr(lab, name, value)
    assert {part for part, content in shown(lab).items() if content != before[part]} == changed
    assert lab.actions["state"] == pytest.approx(lab.state.tolist()) and lab.energies["t"] == lab.t


def test_every_control_of_the_browser_is_a_trait_that_is_synchronised(lab):
    synced = set(lab.trait_names(sync=True))
    controls = set(re.findall(r'{ name: "(\w+)", label:', SCRIPT.read_text(encoding="utf-8")))
    assert controls == {"vx", "vy", "t", "scale", "seed"} <= synced
    assert {"place", "rollout", "status", *SHOWN} <= synced


def test_the_panels_hold_support_q_and_energies_as_they_are(lab):
    support = torch.from_numpy(np.frombuffer(lab.actions["support"], "<f4").copy()).reshape(-1, 2)
    assert len(support) == 6
    torch.testing.assert_close(torch.tensor(lab.actions["support_q"]), lab.qgpo.q(lab.state, support))
    picture = np.frombuffer(lab.actions["minus_q"]["data"], "u1").reshape(49, 49)
    low, high = lab.actions["minus_q"]["low"][0], lab.actions["minus_q"]["high"][0]
    corner = -float(lab.qgpo.q(lab.state, torch.tensor([1.0, -1.0])))  # rows run upwards
    assert low + (high - low) * picture[0, -1] / 254 == pytest.approx(corner, abs=(high - low) / 100)
    wanted = energy_slice(lab.qgpo, lab.state, support, lab.t, generator=torch.Generator().manual_seed(0))
    for stored, field in zip(lab.energies["fields"], (wanted.exact_field, wanted.learned_field), strict=True):
        np.testing.assert_array_equal(np.frombuffer(stored, "<f4").reshape(15, 15, 2), field.numpy())
    for stored, picture in zip(lab.energies["pictures"], (wanted.exact, wanted.learned), strict=True):
        assert stored["low"] == pytest.approx([float(picture[picture.isfinite()].min())])
    assert lab.energies["error"] == wanted.error


def test_a_click_moves_the_ball_and_one_in_a_wall_does_not(lab):
    lab._handle_custom_msg({"type": "place", "place": [1.0, 0.5]}, [])
    assert lab.place == [1.0, 0.5] and lab.status == ""
    before = lab.actions
    for wall in ([0.0, 0.0], [9.0, 9.0], [float("nan"), 0.0], [1.0], "here"):
        lab._handle_custom_msg({"type": "place", "place": wall}, [])
        assert lab.place == [1.0, 0.5] and lab.actions is before and lab.status
    for nonsense in ({}, {"type": "place"}, "place"):
        lab._handle_custom_msg(nonsense, [])
    assert lab.place == [1.0, 0.5]
    lab.vx = 0.3
    assert lab.status == ""


def test_a_rollout_drives_three_policies_from_the_chosen_state(lab):
    lab.place, lab.vx = [1.0, 0.0], 0.5
    lab.rollout = True
    assert lab.paths["finished"] and lab.paths["steps"] == 8 and lab.paths["scale"] == lab.scale
    assert list(lab.paths["paths"]) == list(lab.paths["returns"]) == ["guided", "cloning", "best of K"]
    clone = np.frombuffer(lab.paths["paths"]["cloning"], "<f4").reshape(-1, 2)
    assert clone.shape == (9, 2)
    alone = rollout(lambda states: clone_policy(lab.qgpo, states), maze.NAME, start_state=lab.state, steps=8)
    np.testing.assert_allclose(clone[:8], alone.states[:, :2].numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"), [("place", [-1.0, 1.2]), ("vy", 0.5), ("scale", 0.0), ("seed", 1), ("rollout", False)]
)
def test_what_makes_paths_stale_takes_them_away(lab, name, value):
    lab.rollout = True
    setattr(lab, name, value)
    assert not lab.rollout and lab.paths == {}


def test_the_noise_level_leaves_paths_alone(lab):
    lab.rollout = True
    before = lab.paths
    lab.t = 0.5
    assert lab.rollout and lab.paths is before


def test_a_paid_step_is_counted(lab):
    lab.place = list(maze.GOAL)
    lab.rollout = True
    assert lab.paths["returns"] == {"guided": 8.0, "cloning": 8.0, "best of K": 8.0}


def test_without_cloning_two_policies_are_driven(monkeypatch):
    monkeypatch.setattr(maze, "STEPS", 3)
    lab = MazeLab(untrained(cloning=False))
    lab.rollout = True
    assert list(lab.paths["paths"]) == ["guided", "best of K"]


@pytest.mark.parametrize(
    ("name", "value"), [("t", 0.0), ("scale", -1.0), ("vx", 9.0), ("vy", float("nan")), ("seed", -1), ("place", [0.0, 0.0])]
)
def test_a_wrong_setting_is_refused_by_name_and_leaves_the_lab_as_it_was(lab, name, value):
    before = getattr(lab, name)
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        setattr(lab, name, value)
    assert getattr(lab, name) == before


def test_a_bad_value_from_the_browser_leaves_every_later_change_possible(lab):
    for bad in ({"t": 5.0}, {"seed": "x"}, {"place": [0.0, 0.0]}):
        lab.set_state(bad)
    lab.set_state({"t": 0.6})
    assert (lab.t, lab.seed, lab.place) == (0.6, 0, [-1.0, 1.0]) and lab.energies["t"] == 0.6 and lab.status == ""


def test_a_wrong_start_is_refused_by_name():
    for given in ({"scale": -1.0}, {"place": (0.0, 0.0)}):
        with pytest.raises(ValueError, match=f"^{next(iter(given))}: expected"):
            MazeLab(untrained(), **given)


def test_a_run_of_another_task_is_refused():
    with pytest.raises(ValueError, match="^qgpo: expected a run on the maze, 4 state and 2 action dimensions, got 17 and 6"):
        MazeLab(untrained(17, 6))


def test_a_closed_lab_is_let_go():
    lab = MazeLab(untrained())
    left = weakref.ref(lab)
    lab.close()
    del lab
    gc.collect()
    assert left() is None
