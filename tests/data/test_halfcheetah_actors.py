"""The HalfCheetah set: actors act by their formula, episodes are what the engine did, files are what the manifest says."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="the simulators (pip install -e '.[rl]')")
pytest.importorskip("h5py", reason="the simulators (pip install -e '.[rl]')")

from halfcheetah_actors import ACTORS, EPISODES, LAYERS, NAME, Actor, load_actors, main, make, roll_out, roll_outs, save_actors

from cepkit.learning.checkpoints import save_tensors
from cepkit.rl import make_env
from cepkit.rl.data.hdf5 import read_hdf5

DATA = ACTORS.parent
MANIFEST = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))


def made_up(seed=0, scale=0.3):
    """An actor of random weights."""
    rng = np.random.default_rng(seed)
    sizes = {"hidden0": (64, 17), "hidden1": (64, 64), "mean": (6, 64), "log_std": (6, 64)}
    weights = {}
    for layer, size in sizes.items():
        weights[f"{layer}.weight"] = (scale * rng.standard_normal(size)).astype(np.float32)
        weights[f"{layer}.bias"] = (scale * rng.standard_normal(size[0])).astype(np.float32)
    return Actor(7, (1.0, 2.0), 3.0, weights)


def with_biases(mean, log_std):
    """An actor that does not look: its Gaussian is the same everywhere."""
    weights = {name: np.zeros_like(value) for name, value in made_up().weights.items()}
    weights["mean.bias"][:], weights["log_std.bias"][:] = mean, log_std
    return Actor(0, (), 0.0, weights)


class TwoSteps:
    """An environment of two steps that pays the first entry of the action."""

    class action_space:
        shape = (6,)

    def reset(self, *, seed):
        self.step_index = 0
        return np.zeros(17), {}

    def step(self, action):
        self.step_index += 1
        return np.zeros(17), float(action[0]), False, self.step_index == 2, {}

    def close(self):
        pass


@pytest.fixture(scope="module")
def env():
    env = make_env(NAME)
    yield env
    env.close()


@pytest.fixture(scope="module")
def actors():
    return load_actors()


@pytest.fixture(scope="module")
def shipped():
    return read_hdf5(DATA / f"{NAME}.hdf5")


def returns_of(raw):
    return np.add.reduceat(raw["rewards"].astype(np.float64), np.r_[0, np.flatnonzero(raw["timeouts"])[:-1] + 1])


# -- the actors --------------------------------------------------------------------------------------------------------


def test_the_policy_is_the_tanh_gaussian_of_its_weights():
    actor, rng = made_up(), np.random.default_rng(1)
    observation, noise = rng.standard_normal(17).astype(np.float32), rng.standard_normal(6)
    w = {name: torch.from_numpy(value).double() for name, value in actor.weights.items()}
    h = torch.from_numpy(observation).double()
    for layer in LAYERS[:2]:
        h = torch.relu(torch.nn.functional.linear(h, w[f"{layer}.weight"], w[f"{layer}.bias"]))
    mean, log_std = (torch.nn.functional.linear(h, w[f"{layer}.weight"], w[f"{layer}.bias"]) for layer in LAYERS[2:])
    wanted = torch.tanh(mean + log_std.clamp(-20, 2).exp() * torch.from_numpy(noise))
    assert np.allclose(actor.act(observation, noise), wanted.numpy(), atol=1e-7)
    assert np.allclose(actor.act(observation, 0.0), torch.tanh(mean).numpy(), atol=1e-7)


def test_the_spread_of_a_policy_is_clipped():
    wild = with_biases(0.0, 50.0)
    assert np.allclose(wild.distribution(np.zeros(17, np.float32))[1], 2.0)
    assert np.allclose(with_biases(0.0, -50.0).distribution(np.zeros(17, np.float32))[1], -20.0)


def test_actors_come_back_as_they_were_stored(tmp_path):
    path, again = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    stored = [made_up(0), made_up(1)]
    save_actors(path, stored, {"what": "made up"})
    save_actors(again, load_actors(path), {"what": "made up"})
    assert path.read_bytes() == again.read_bytes()
    for was, now in zip(stored, load_actors(path), strict=True):
        assert (was.step, was.returns, was.mean_action_return) == (now.step, now.returns, now.mean_action_return)
        assert all(np.array_equal(was.weights[name], now.weights[name]) for name in was.weights)


def test_the_stored_returns_rise_from_falling_over_to_running(actors):
    means = [np.mean(actor.returns) for actor in actors]
    assert len(actors) >= 18 and all(len(actor.returns) == 10 for actor in actors)
    assert np.all(np.diff(means) > 0) and np.all(np.diff([actor.step for actor in actors]) > 0)
    assert means[0] < 0 and means[-1] > 5000


# -- making a set ------------------------------------------------------------------------------------------------------


def test_stored_actions_replay_to_the_stored_observations(actors, env):
    episode = roll_out(actors[-1], env, seed=5)
    observation, _ = env.reset(seed=5)
    for stored, action, reward in zip(episode["observations"], episode["actions"], episode["rewards"], strict=True):
        assert np.array_equal(observation.astype(np.float32), stored)
        observation, now, terminal, _, _ = env.step(action)
        assert np.float32(now) == reward and not terminal


def test_the_mean_action_has_no_noise(env):
    steady = roll_out(with_biases(0.3, 0.0), env, seed=0, noisy=False)
    assert np.array_equal(steady["actions"], np.full((1000, 6), np.tanh(np.float32(0.3)), np.float32))
    sampled = np.arctanh(roll_out(with_biases(0.3, -1.0), env, seed=0)["actions"].astype(np.float64))
    error = np.exp(-1.0) / np.sqrt(sampled.size)
    assert abs(sampled.mean() - 0.3) < 5 * error and abs(sampled.std() / np.exp(-1.0) - 1) < 5 / np.sqrt(2 * sampled.size)


@pytest.mark.parametrize("count, wanted", [(3, [0, 1, 2]), (2, [0, 1]), (7, [0, 0, 0, 1, 1, 2, 2])])
def test_episodes_are_shared_evenly_in_the_order_of_learning(count, wanted):
    three = [with_biases(np.arctanh(value), -20.0) for value in (0.0, 0.25, 0.5)]
    found = [round(float(episode["rewards"][0]) * 4) for episode in roll_outs(three, count, env=TwoSteps())]
    assert found == wanted


def test_a_set_has_d4rls_schema_and_is_made_again_to_the_byte(tmp_path):
    first = make(tmp_path / "first.hdf5", episodes=2)
    raw = read_hdf5(first)
    assert {key: (value.shape, value.dtype.name) for key, value in raw.items()} == {
        "observations": ((2000, 17), "float32"),
        "actions": ((2000, 6), "float32"),
        "rewards": ((2000,), "float32"),
        "terminals": ((2000,), "bool"),
        "timeouts": ((2000,), "bool"),
    }
    assert np.flatnonzero(raw["timeouts"]).tolist() == [999, 1999] and not raw["terminals"].any()
    second = make(tmp_path / "second.hdf5", episodes=2)
    other = make(tmp_path / "other.hdf5", episodes=2, seed=1)
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    assert not np.isin(read_hdf5(other)["rewards"], raw["rewards"]).mean() > 0.01


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"episodes": 0}, "episodes: expected an integer in"),
        ({"seed": -1}, "seed"),
        ({"actors": Path("nowhere.safetensors")}, "nowhere.safetensors"),
    ],
)
def test_mistakes_are_named_and_write_nothing(tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        make(tmp_path / "set.hdf5", **settings)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_set_and_says_whether_it_is_the_shipped_one(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["halfcheetah_actors.py", "--out", str(tmp_path / "one.hdf5"), "--episodes", "1"])
    main()
    assert len(read_hdf5(tmp_path / "one.hdf5")["rewards"]) == 1000 and "other bytes than ship" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*sys.argv[:-1], "0"])
    with pytest.raises(SystemExit, match="episodes: expected an integer in"):
        main()


def test_a_file_of_something_else_is_not_taken_for_actors(tmp_path):
    path = tmp_path / "other.safetensors"
    save_tensors(path, {"x": torch.zeros(2)}, {})
    with pytest.raises(ValueError, match=r"other\.safetensors: expected actors"):
        load_actors(path)


# -- what ships --------------------------------------------------------------------------------------------------------


def test_the_shipped_files_are_what_the_manifest_says(shipped, actors):
    for path in (DATA / f"{NAME}.hdf5", ACTORS):
        content, entry = path.read_bytes(), MANIFEST[path.name]
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (entry["sha256"], entry["bytes"])
        assert len(content) < 10_000_000
    returns, recorded = returns_of(shipped), MANIFEST[f"{NAME}.hdf5"]["statistics"]
    assert len(shipped["rewards"]) == recorded["transitions"] == 1000 * EPISODES and len(returns) == recorded["episodes"]
    assert np.allclose(np.quantile(returns, [0, 0.25, 0.5, 0.75, 1]), recorded["return_quartiles"], atol=0.06)
    assert [round(float(np.mean(actor.returns)), 1) for actor in actors] == MANIFEST[ACTORS.name]["mean_returns"]


def test_the_shipped_set_is_what_the_actors_do_in_the_order_of_learning(shipped, actors, env):
    """The first steps alone: another machine rounds otherwise, and the robot is chaotic."""
    for index in (0, 60, 109):
        episode = roll_out(actors[index * len(actors) // EPISODES], env, seed=index)
        for key in ("observations", "actions", "rewards"):
            assert np.allclose(episode[key][:30], shipped[key][1000 * index :][:30], atol=1e-3), (index, key)
    assert np.abs(shipped["actions"]).max() <= 1


def one_step_errors(raw, engine, rows):
    """|next observation - stored| after a step from a stored state, which lacks nothing but the distance run."""
    env = make_env("halfcheetah-medium-v2", engine=engine)
    env.reset(seed=0)
    errors = []
    for row in rows:
        state = raw["observations"][row].astype(np.float64)
        env.unwrapped.set_state(np.r_[0.0, state[:8]], state[8:])
        errors.append(np.abs(env.step(raw["actions"][row])[0] - raw["observations"][row + 1]).max())
    env.close()
    return np.array(errors)


@pytest.mark.filterwarnings("ignore:halfcheetah-medium-v2 on gymnasium-v4")
def test_the_shipped_set_comes_from_d4rls_engine(shipped):
    rows = np.random.default_rng(0).choice(1000 * EPISODES, 300, replace=False)
    rows = rows[~shipped["timeouts"][rows]]
    assert np.median(one_step_errors(shipped, "d4rl-v2", rows)) < 1e-3
    assert np.median(one_step_errors(shipped, "gymnasium-v4", rows)) > 1e-2
