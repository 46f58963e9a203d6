"""Minari's sets as transitions. A Minari episode of T steps stores T + 1 observations, so every step has its true successor,
the last before a truncation included: nothing is dropped, unlike in D4RL's files."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cepkit.rl.data.schema import check_raw
from cepkit.rl.data.transitions import Transitions, returns_of
from cepkit.validation import import_extra

PREFIX = "minari:"


def load_minari(dataset_id: str) -> Transitions:
    """The transitions of a Minari set on this machine; nothing is downloaded.

    Observations that are mappings with `observation` and `desired_goal` (the mazes) are laid end to end, in that order.
    Terminations are terminals, truncations are not.

    Args:
        dataset_id: as Minari writes it, for example "mujoco/hopper/medium-v0".

    Raises:
        ValueError: Minari is not installed, no such set here, or observations and actions that are not plain vectors.
    """
    where = f"{PREFIX}{dataset_id}"
    minari = import_extra("minari")
    try:
        dataset = minari.load_dataset(dataset_id)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{where}: expected a Minari set on this machine ({error}); get it with: minari download {dataset_id}"
        ) from error
    episodes = list(dataset.iterate_episodes())
    if not episodes:
        raise ValueError(f"{where}: expected at least one episode, got none")
    states = [_states(episode.observations, len(episode), where) for episode in episodes]
    raw = {
        "observations": np.concatenate([state[:-1] for state in states]),
        "actions": np.concatenate([_vectors(episode.actions, len(episode), "actions", where) for episode in episodes]),
        "rewards": np.concatenate([episode.rewards for episode in episodes]),
        "terminals": np.concatenate([episode.terminations for episode in episodes]),
        "timeouts": np.concatenate([episode.truncations for episode in episodes]),
    }
    raw = check_raw(raw, where)
    ends = np.zeros(len(raw["rewards"]), dtype=bool)
    ends[np.cumsum([len(episode) for episode in episodes]) - 1] = True
    tensors = {key: torch.from_numpy(raw[key].astype(np.float32)) for key in ("observations", "actions", "rewards")}
    return Transitions(
        name=where,
        **tensors,
        next_observations=torch.from_numpy(np.concatenate([state[1:] for state in states]).astype(np.float32)),
        terminals=torch.from_numpy(raw["terminals"]),
        episode_returns=torch.from_numpy(returns_of(raw["rewards"], raw["terminals"] | raw["timeouts"])),
        ends=torch.from_numpy(ends),
    )


def _states(observations: Any, steps: int, where: str) -> np.ndarray:
    """The T + 1 states of an episode, (T + 1, S)."""
    if isinstance(observations, dict):
        wanted = ("observation", "desired_goal")
        if any(key not in observations for key in wanted):
            raise ValueError(
                f"{where}: observations: expected vectors, or the keys {' and '.join(wanted)}, got {sorted(observations)}"
            )
        return np.concatenate([_vectors(observations[key], steps + 1, f"observations/{key}", where) for key in wanted], axis=1)
    return _vectors(observations, steps + 1, "observations", where)


def _vectors(values: Any, rows: int, key: str, where: str) -> np.ndarray:
    if not isinstance(values, np.ndarray) or values.ndim != 2 or len(values) != rows:
        got = values.shape if isinstance(values, np.ndarray) else type(values).__name__
        raise ValueError(f"{where}: {key}: expected an episode's vectors, ({rows}, dimensions), got {got}")
    return values
