"""Minari's datasets as transitions.

A Minari episode of T steps stores T + 1 observations. Every step therefore has its true successor, also the last one before a
truncation, and nothing is dropped as it is from D4RL's files.
"""

from typing import Any

import numpy as np
import torch

from cepkit.rl.data.hdf5 import check_raw
from cepkit.rl.data.transitions import Transitions, returns_of
from cepkit.validation import import_extra

PREFIX = "minari:"
_MAZE_KEYS = ("observation", "desired_goal")


def load_minari(dataset_id: str) -> Transitions:
    """The transitions of a Minari dataset on this machine, such as "mujoco/hopper/medium-v0"; nothing is downloaded.

    Observations that are mappings with `observation` and `desired_goal` (the mazes) are concatenated in that order. Terminations
    are terminals, truncations are not. Each of Minari's episodes counts as a whole one, whatever its flags say.

    Raises:
        ValueError: Minari is not installed, no such dataset here, or observations and actions that are not plain vectors.
    """
    where = f"{PREFIX}{dataset_id}"
    minari = import_extra("minari")
    try:
        dataset = minari.load_dataset(dataset_id)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{where}: expected a Minari dataset on this machine ({error}); get it with: minari download {dataset_id}"
        ) from error
    episodes = list(dataset.iterate_episodes())
    if not episodes:
        raise ValueError(f"{where}: expected at least one episode, got none")
    states = [_vectors(episode.observations, "observations", where) for episode in episodes]
    raw = {
        "observations": np.concatenate([state[:-1] for state in states]),
        "actions": np.concatenate([_vectors(episode.actions, "actions", where) for episode in episodes]),
        "rewards": np.concatenate([episode.rewards for episode in episodes]),
        "terminals": np.concatenate([episode.terminations for episode in episodes]),
    }
    raw = check_raw(raw, where)
    borders = np.zeros(len(raw["rewards"]), dtype=bool)
    borders[np.cumsum([len(episode) for episode in episodes]) - 1] = True
    following = np.concatenate([state[1:] for state in states])
    numbers = [array.astype(np.float32) for array in (raw["observations"], raw["actions"], raw["rewards"], following)]
    found = (*numbers, raw["terminals"], returns_of(raw["rewards"], borders), borders | raw["terminals"])
    return Transitions(where, *map(torch.from_numpy, found))


def _vectors(values: Any, key: str, where: str) -> np.ndarray:
    """An episode's observations or actions, (T + 1 or T, dimensions)."""
    if isinstance(values, dict) and all(isinstance(values.get(part), np.ndarray) for part in _MAZE_KEYS):
        values = np.concatenate([values[part] for part in _MAZE_KEYS], axis=1)
    if not isinstance(values, np.ndarray) or values.ndim != 2:
        got = getattr(values, "shape", None) or f"a {type(values).__name__} {sorted(values) if isinstance(values, dict) else ''}"
        raise ValueError(f"{where}: {key}: expected vectors, alone or under {' and '.join(_MAZE_KEYS)}, got {got}")
    return values
