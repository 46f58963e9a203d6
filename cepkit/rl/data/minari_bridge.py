"""Minari's datasets as transitions.

A Minari episode of T steps stores T + 1 observations. Every step therefore has its true successor, also the last one before a
truncation, and nothing is dropped as it is from D4RL's files.
"""

import re
from typing import Any

import numpy as np
import torch

from cepkit.rl.data.hdf5 import check_raw, refuse_foreign
from cepkit.rl.data.transitions import Transitions, returns_of
from cepkit.validation import import_extra

PREFIX = "minari:"
_STATE, _GOAL = "observation", "desired_goal"


def load_minari(dataset_id: str) -> Transitions:
    """The transitions of a Minari dataset on this machine, such as "mujoco/hopper/medium-v0"; nothing is downloaded.

    Observations that are mappings with `observation` and a vector `desired_goal` (the mazes) are concatenated in that order. A
    goal that is itself a mapping (the kitchen's, the same in every step) is left out. Terminations are terminals, truncations
    are not. Each of Minari's episodes counts as a whole one, whatever its flags say.

    Raises:
        ValueError: Minari is not installed, no such dataset here, arrays that lie in other files, or observations and actions
            that are not plain vectors.
    """
    where = f"{PREFIX}{dataset_id}"
    if not re.fullmatch(r"[\w-]+(/[\w-]+)*", dataset_id):
        raise ValueError(f"{where}: expected an id such as {PREFIX}mujoco/hopper/medium-v0")
    minari = import_extra("minari")
    try:
        for path in sorted(import_extra("minari.storage").get_dataset_path(dataset_id).rglob("*.hdf5")):
            refuse_foreign(path)
        episodes = list(minari.load_dataset(dataset_id).iterate_episodes())
    except Exception as error:  # what Minari, h5py and gymnasium raise of a set that is not here, or damaged
        raise ValueError(
            f"{where}: expected a Minari dataset on this machine ({error}); get it with: minari download {dataset_id}"
        ) from error
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
    check_raw(raw | {"observations": following}, where)
    numbers = [array.astype(np.float32) for array in (raw["observations"], raw["actions"], raw["rewards"], following)]
    found = (*numbers, raw["terminals"], returns_of(raw["rewards"], borders), borders | raw["terminals"])
    return Transitions(where, *map(torch.from_numpy, found))


def _vectors(values: Any, key: str, where: str) -> np.ndarray:
    """An episode's observations or actions, (T + 1 or T, dimensions)."""
    if isinstance(values, dict) and isinstance(values.get(_STATE), np.ndarray) and _GOAL in values:
        goal = values[_GOAL]
        values = values[_STATE] if isinstance(goal, dict) else np.concatenate([values[_STATE], goal], axis=1)
    if not isinstance(values, np.ndarray) or values.ndim != 2:
        got = getattr(values, "shape", None) or f"a {type(values).__name__} {sorted(values) if isinstance(values, dict) else ''}"
        raise ValueError(f"{where}: {key}: expected vectors, alone or under {_STATE} and {_GOAL}, got {got}")
    return values
