"""The shipped maze data: remade to the byte, in D4RL's schema, and a task in which there is something to gain."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cepkit.rl import evaluate
from cepkit.rl.envs import maze, maze_data

DATA = Path(__file__).parents[3] / "data"
SHIPPED = DATA / "pointmaze-umaze.hdf5"


@pytest.fixture(scope="module")
def shipped():
    with h5py.File(SHIPPED) as file:
        return {name: file[name][:] for name in file}


def test_the_same_bytes_are_made_twice_and_other_ones_by_another_seed(tmp_path):
    first = maze_data.make(tmp_path / "a.hdf5", episodes=2).read_bytes()
    assert maze_data.make(tmp_path / "b.hdf5", episodes=2).read_bytes() == first
    assert maze_data.make(str(tmp_path / "c.hdf5"), episodes=2, seed=1).read_bytes() != first


def test_the_time_of_day_is_not_in_the_file(tmp_path):
    for path in (SHIPPED, maze_data.make(tmp_path / "a.hdf5", episodes=1)):
        with h5py.File(path) as file:
            assert {h5py.h5o.get_info(file[name].id).ctime for name in file} == {0}


def test_the_shipped_file_is_what_the_command_makes(shipped):
    made = maze_data.record(episodes=5)
    for name, array in made.items():
        # Another processor may round otherwise; the file's own bytes are checked by their sum.
        assert np.allclose(array, shipped[name][: len(array)], atol=1e-4), name


def test_the_manifest_has_it():
    entry = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))[SHIPPED.name]
    content = SHIPPED.read_bytes()
    assert entry["sha256"] == hashlib.sha256(content).hexdigest() and entry["bytes"] == len(content) < 10_000_000
    assert entry["command"] == "cepkit data make pointmaze-umaze"


def test_it_has_d4rl_s_schema(shipped):
    count = maze_data.EPISODES * maze.STEPS
    assert {name: (array.shape, str(array.dtype)) for name, array in shipped.items()} == {
        "observations": ((count, 4), "float32"),
        "actions": ((count, 2), "float32"),
        "rewards": ((count,), "float32"),
        "terminals": ((count,), "bool"),
        "timeouts": ((count,), "bool"),
    }
    assert count == 40_200 and np.abs(shipped["actions"]).max() <= 1


def test_episodes_end_by_time_out_alone(shipped):
    assert not shipped["terminals"].any()
    assert np.array_equal(np.flatnonzero(shipped["timeouts"]), np.arange(1, maze_data.EPISODES + 1) * maze.STEPS - 1)


def test_each_next_row_is_the_next_observation_but_for_the_steps_that_d4rl_drops(shipped):
    jump = np.abs(np.diff(shipped["observations"][:, :2], axis=0)).max(1)
    fastest = np.abs(shipped["observations"][:, 2:]).max() / 100  # a step lasts 10 ms
    dropped = shipped["timeouts"][:-1]
    assert jump[~dropped].max() <= fastest + 1e-6 and (jump[dropped] > fastest).mean() > 0.9


def test_the_reward_is_that_of_the_state_reached(shipped):
    kept = ~shipped["timeouts"][:-1]
    reached = np.linalg.norm(shipped["observations"][1:, :2] - np.array(maze.GOAL), axis=1)[kept]
    clear = np.abs(reached - maze.GOAL_RADIUS) > 1e-5  # float32 cannot tell on the circle itself
    assert np.array_equal((reached < maze.GOAL_RADIUS)[clear], shipped["rewards"][:-1][kept][clear] > 0)
    assert set(np.unique(shipped["rewards"])) == {0.0, 1.0}


def test_every_cell_is_visited_and_actions_go_every_way(shipped):
    cells = [maze.cell_at(x, y) for x, y in shipped["observations"][::10, :2]]
    shares = [cells.count(cell) / len(cells) for cell in maze.free_cells()]
    assert sum(shares) == pytest.approx(1) and min(shares) > 0.05
    for quarter in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        assert (shipped["actions"] * quarter > 0).all(1).mean() > 0.15


@pytest.mark.parametrize(
    ("place", "way"), [((-1, 1), (1, 0)), ((0, 1), (1, 0)), ((1, 1), (0, -1)), ((1, 0), (0, -1)), ((1, -1), (-1, 0))]
)
def test_the_reference_policy_takes_the_shortest_way(place, way):
    """From the middle of each cell straight into the next one of the U."""
    force = maze_data.reference_policy(torch.tensor([[*map(float, place), 0.0, 0.0]]))[0]
    assert torch.equal(force, torch.tensor(way, dtype=torch.float32))


def test_there_is_much_to_gain(shipped):
    driver = shipped["rewards"].reshape(-1, maze.STEPS).sum(1)
    best = evaluate(maze_data.reference_policy, maze.NAME, episodes=12)
    assert 5 < driver.mean() < 40 and best.mean > 5 * driver.mean() and bool(best.success.all())


def test_what_was_there_stays_when_the_file_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "a.hdf5"
    path.write_bytes(b"before")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cepkit.learning.checkpoints.os.replace", full)
    with pytest.raises(OSError, match="could not write"):
        maze_data.make(path, episodes=1)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("settings", "message"), [({"episodes": 0}, "episodes"), ({"seed": -1}, "seed")])
def test_numbers_out_of_range_are_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        maze_data.make(tmp_path / "a.hdf5", **settings)
