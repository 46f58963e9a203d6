"""From the rows of a D4RL file to the transitions (s, a, r, s') that Q-learning uses: D4RL's `qlearning_dataset`, vectorised.

The successor s' of row i is the observation of row i + 1, so the last row of the file is dropped. So is the last step before a
time-out, since row i + 1 belongs to another episode. A time-out is not a terminal: value goes on there. After a terminal s' is
another episode's too, but is never looked at.

Files without `timeouts` count steps against the environment's time limit. D4RL's counter starts at 0 in the first episode and
after a dropped step, but at 1 after a terminal, so it drops a step too early there. The transitions here do the same; the returns
are counted correctly.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from cepkit.rl.data.catalogue import CATALOGUE
from cepkit.rl.data.hdf5 import check_raw
from cepkit.validation import check_number


@dataclass(frozen=True, eq=False)
class Transitions:
    """Transitions of one dataset, in the order of the file.

    Attributes:
        name: of the dataset.
        observations: (N, S) float32, the states s.
        actions: (N, A) float32, in [-1, 1].
        rewards: (N,) float32, as recorded; `cepkit.rl.data.rewards.training_rewards` rescales them.
        next_observations: (N, S) float32, the states s'; meaningless where `terminals` is true.
        terminals: (N,) bool, the task ended there, so that nothing is bootstrapped from s'.
        episode_returns: (M,) float32, sums of the recorded rewards over whole episodes, dropped steps included.
        ends: (N,) bool, where the next row does not go on from this one: terminals, steps before a dropped one, the last row.
    """

    name: str
    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminals: Tensor
    episode_returns: Tensor
    ends: Tensor

    def __post_init__(self) -> None:
        n = len(self.rewards)
        for name, ndim in (("observations", 2), ("actions", 2), ("next_observations", 2), ("terminals", 1), ("ends", 1)):
            value = getattr(self, name)
            if value.ndim != ndim or len(value) != n:
                wanted = f"({n}, dimensions)" if ndim == 2 else f"({n},)"
                raise ValueError(f"{name}: expected shape {wanted}, one row per reward, got {tuple(value.shape)}")

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "name"}

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return replace(self, **{name: value.to(device) for name, value in self.tensors.items()})

    def fingerprint(self) -> str:
        """SHA-256 of every value, shape and dtype, in hex; the name does not count."""
        digest = hashlib.sha256()
        for name, value in self.tensors.items():
            array = value.detach().cpu().contiguous().numpy()
            digest.update(f"{name} {array.dtype} {array.shape};".encode())
            digest.update(array.data if array.size else b"")
        return digest.hexdigest()


def qlearning_transitions(raw: Mapping[str, np.ndarray], *, name: str = "", max_episode_steps: int | None = None) -> Transitions:
    """D4RL's `qlearning_dataset` of the arrays of a file (see the module's text), without its loop over rows.

    Args:
        raw: arrays by key in D4RL's schema (`cepkit.rl.data.hdf5`).
        name: of the dataset; a D4RL name also gives the time limit of its environment.
        max_episode_steps: the time limit, used only where `raw` has no `timeouts`; by default that of `name`.

    Raises:
        ValueError: content outside the schema; no time-outs and no time limit.
    """
    arrays = check_raw(raw, name or "raw")
    terminals = arrays["terminals"]
    if "timeouts" in arrays:
        final = whole = arrays["timeouts"]
    else:
        if max_episode_steps is None and name not in CATALOGUE:
            wanted = "the key timeouts, true where a time limit ended an episode, unless the dataset has one of D4RL's names"
            raise ValueError(f"{name or 'raw'}: expected {wanted}; got none")
        limit = CATALOGUE[name].episode_steps if max_episode_steps is None else max_episode_steps
        limit = check_number(limit, name="max_episode_steps", low=1, integer=True)
        final, whole = (_counted(terminals, limit, after_terminal=first) for first in (1, 0))
    rows = np.flatnonzero(~final[:-1])
    ends = terminals[rows] | (np.diff(rows, append=-1) != 1)
    states, actions, rewards = (arrays[key].astype(np.float32, copy=False) for key in ("observations", "actions", "rewards"))
    returns = returns_of(arrays["rewards"], terminals | whole)
    found = (states[rows], actions[rows], rewards[rows], states[rows + 1], terminals[rows], returns, ends)
    return Transitions(name, *map(torch.from_numpy, found))


def returns_of(rewards: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sums of `rewards` (N,) over the stretches that `ends` (N,) closes, float32; an open stretch at the end is left out."""
    last = np.flatnonzero(ends)
    if not len(last):
        return np.zeros(0, np.float32)
    starts = np.concatenate([[0], last[:-1] + 1])
    return np.add.reduceat(rewards[: last[-1] + 1].astype(np.float64), starts).astype(np.float32)


def _counted(terminals: np.ndarray, limit: int, *, after_terminal: int) -> np.ndarray:
    """The steps at which a counter reaches limit - 1; it goes on at 0 after such a step, at `after_terminal` after a terminal."""
    final, begin, step = np.zeros(len(terminals), bool), 0, 0
    for end in [*np.flatnonzero(terminals).tolist(), len(terminals)]:
        final[begin + limit - 1 - step : end + 1 : limit] = True  # step is 0 or 1, and with a limit of 1 always 0
        step = 0 if final[end : end + 1].any() else after_terminal
        begin = end + 1
    return final
