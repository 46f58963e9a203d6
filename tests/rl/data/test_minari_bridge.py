"""Minari's episodes as transitions, from sets made here."""

from __future__ import annotations

import sys
import warnings

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from cepkit.rl import load_dataset

LENGTHS, TERMINATED, TRUNCATED = (4, 3, 5), (False, True, False), (True, False, False)  # the last one has neither flag


def box(size, bound=np.inf):
    return gym.spaces.Box(-bound, bound, (size,), np.float32)


def plain(rows):
    return np.stack([rows, -rows], 1).astype(np.float32)


def make(dataset_id, *, states=plain, space=None, actions=None, action_space=None, terminations=None):
    """Episodes whose step k, counted over all of them, starts in state 100 episode + step and has the reward k."""
    buffers, first = [], 0
    for episode, (length, terminated, truncated) in enumerate(zip(LENGTHS, TERMINATED, TRUNCATED, strict=True)):
        rows = 100 * episode + np.arange(length + 1)
        last = np.arange(length) == length - 1
        moves = np.full((length, 1), episode / 10, np.float32) if actions is None else actions(length)
        rewards = np.arange(first, first + length, dtype=np.float64)
        buffers.append(
            EpisodeBuffer(
                observations=states(rows),
                actions=moves,
                rewards=rewards,
                terminations=(last & terminated) if terminations is None else terminations(length),
                truncations=last & truncated,
            )
        )
        first += length
    spaces = {"observation_space": space or box(2), "action_space": action_space or box(1, 1.0)}
    about = {
        "algorithm_name": "by hand",
        "author": "us",
        "author_email": "us@example.org",
        "code_permalink": "https://example.org",
    }
    with warnings.catch_warnings():  # of what a set made by hand does not say
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(dataset_id, buffers, **spaces, **about, description="three episodes")


def test_every_step_is_kept_with_its_true_successor():
    make("hand/plain-v0")
    made = load_dataset("minari:hand/plain-v0")
    assert made.name == "minari:hand/plain-v0" and len(made) == sum(LENGTHS)
    expected = [100 * episode + step for episode, length in enumerate(LENGTHS) for step in range(length)]
    assert made.observations[:, 0].tolist() == expected and made.observations[:, 1].tolist() == [-row for row in expected]
    assert (made.next_observations[:, 0] - made.observations[:, 0]).tolist() == [1] * 12, "also before a truncation"
    assert made.rewards.tolist() == list(range(12)) and made.actions.flatten().tolist() == pytest.approx(
        [0] * 4 + [0.1] * 3 + [0.2] * 5
    )
    assert made.terminals.nonzero().flatten().tolist() == [6] and made.ends.nonzero().flatten().tolist() == [3, 6, 11]
    assert made.episode_returns.tolist() == [0 + 1 + 2 + 3, 4 + 5 + 6, 7 + 8 + 9 + 10 + 11]
    assert {str(value.dtype) for value in made.tensors.values()} == {"torch.float32", "torch.bool"}


def test_a_termination_inside_an_episode_ends_the_backup_and_not_the_return():
    make("hand/inside-v0", terminations=lambda length: np.arange(length) == 1)
    made = load_dataset("minari:hand/inside-v0")
    assert made.terminals.nonzero().flatten().tolist() == [1, 5, 8] and made.episode_returns.tolist() == [6, 15, 45]
    assert made.ends.nonzero().flatten().tolist() == [1, 3, 5, 6, 8, 11]


def test_a_maze_lays_its_observation_and_its_goal_end_to_end():
    space = gym.spaces.Dict({"observation": box(2), "desired_goal": box(1), "achieved_goal": box(1)})

    def states(rows):
        parts = {"observation": np.stack([rows, -rows], 1), "desired_goal": rows[:, None] * 0 + 7, "achieved_goal": rows[:, None]}
        return {name: value.astype(np.float32) for name, value in parts.items()}

    make("hand/maze-v0", states=states, space=space)
    made = load_dataset("minari:hand/maze-v0")
    assert made.observations.shape == (12, 3) and made.observations[1].tolist() == [1, -1, 7]
    assert made.next_observations[3].tolist() == [4, -4, 7]


def test_a_kitchen_whose_goals_are_no_vector_is_its_observation():
    goals = gym.spaces.Dict({"kettle": box(1), "light": box(2)})
    space = gym.spaces.Dict({"observation": box(2), "desired_goal": goals, "achieved_goal": goals})

    def states(rows):
        goal = {"kettle": np.zeros((len(rows), 1), np.float32), "light": np.ones((len(rows), 2), np.float32)}
        return {"observation": plain(rows), "desired_goal": goal, "achieved_goal": goal}

    make("D4RL/kitchen/complete-v2", states=states, space=space)
    made = load_dataset("minari:D4RL/kitchen/complete-v2")
    assert made.observations.shape == (12, 2) and made.observations[1].tolist() == [1, -1]
    assert made.next_observations[3].tolist() == [4, -4]


def test_a_set_whose_arrays_lie_elsewhere_or_whose_name_is_a_path_is_refused(tmp_path):
    make("hand/plain-v0")
    path = tmp_path / "minari" / "hand" / "plain-v0" / "data" / "main_data.hdf5"
    (tmp_path / "secret").write_bytes(bytes(32))
    with h5py.File(path, "a") as file:
        del file["episode_0/rewards"]
        file.create_dataset("episode_0/rewards", (4,), np.float64, external=[(str(tmp_path / "secret"), 0, 32)])
    with pytest.raises(ValueError, match=f"{path}: episode_0/rewards: expected an array stored in this file, got external"):
        load_dataset("minari:hand/plain-v0")
    for name in (str(path.parents[1]), "hand/../hand/plain-v0", "", "hand/plain-v0/.."):
        with pytest.raises(ValueError, match="expected an id such as minari:mujoco/hopper/medium-v0"):
            load_dataset(f"minari:{name}")


def test_a_state_after_the_last_step_is_checked_too():
    make("hand/nan-v0", states=lambda rows: np.where(rows[:, None] == 104 - 1, np.nan, plain(rows)).astype(np.float32))
    with pytest.raises(ValueError, match="minari:hand/nan-v0: observations: expected finite values"):
        load_dataset("minari:hand/nan-v0")


def test_what_is_not_vectors_or_out_of_bounds_is_refused():
    images = gym.spaces.Box(0, 1, (2, 2), np.float32)
    make("hand/images-v0", states=lambda rows: np.zeros((len(rows), 2, 2), np.float32), space=images)
    with pytest.raises(ValueError, match=r"minari:hand/images-v0: observations: expected vectors, .* got \(5, 2, 2\)"):
        load_dataset("minari:hand/images-v0")
    make("hand/buttons-v0", actions=lambda n: np.zeros(n, np.int64), action_space=gym.spaces.Discrete(3))
    with pytest.raises(ValueError, match="minari:hand/buttons-v0: actions: expected vectors"):
        load_dataset("minari:hand/buttons-v0")
    parts = gym.spaces.Dict({"left": box(1)})
    make("hand/parts-v0", states=lambda rows: {"left": rows[:, None].astype(np.float32)}, space=parts)
    with pytest.raises(ValueError, match=r"expected vectors, alone or under observation and desired_goal, got a dict \['left'\]"):
        load_dataset("minari:hand/parts-v0")
    make("hand/strong-v0", actions=lambda n: np.full((n, 1), 2, np.float32), action_space=box(1, 3.0))
    with pytest.raises(ValueError, match=r"minari:hand/strong-v0: actions: expected values in \[-1, 1\], got from 2 to 2"):
        load_dataset("minari:hand/strong-v0")


def test_a_set_that_is_not_here_is_not_downloaded_and_the_command_is_named():
    with pytest.raises(ValueError, match="get it with: minari download mujoco/hopper/medium-v0"):
        load_dataset("minari:mujoco/hopper/medium-v0")


def test_without_minari_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)  # what a package that is not installed looks like
    with pytest.raises(ValueError, match=r"needs the package minari, .*; add it with: pip install -e '.\[rl\]'"):
        load_dataset("minari:hand/plain-v0")
