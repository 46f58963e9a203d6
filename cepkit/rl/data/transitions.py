"""From the rows of a D4RL file to the transitions (s, a, r, s') that Q-learning uses: D4RL's `qlearning_dataset`, vectorised.

For rows i = 0 .. N - 2 the successor s' is the observation of row i + 1; the last row of the file has none and is dropped.
The last step before a time-out is dropped as well, since row i + 1 belongs to another episode. A time-out is not a terminal:
the value goes on there. At a terminal s' is another episode's too, but is never looked at. With `terminate_on_end` the last
steps before time-outs are kept, wrong successor and all, and are *not* made terminal: so does D4RL 1.1, whatever its
documentation says.

Files without `timeouts` count steps against the environment's time limit. D4RL's counter starts at 0 in the first episode and
after a dropped step, but at 1 after a terminal, so it drops a step too early there. We do the same for the transitions, and
count correctly for the returns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from cepkit.rl.data.catalogue import CATALOGUE
from cepkit.rl.data.schema import check_raw
from cepkit.validation import check_number


@dataclass(frozen=True, eq=False)
class Transitions:
    """Transitions of one data set, in the order of the file.

    Attributes:
        name: of the data set.
        observations: (N, S) float32, the states s.
        actions: (N, A) float32, in [-1, 1].
        rewards: (N,) float32, as recorded; `cepkit.rl.data.rewards.training_rewards` rescales them.
        next_observations: (N, S) float32, the states s'; meaningless where `terminals` is true.
        terminals: (N,) bool, the task ended there, so that nothing is bootstrapped from s'.
        episode_returns: (M,) float32, sums of the recorded rewards over whole episodes, dropped steps included.
        ends: (N,) bool, where the next row does not go on from this one: terminals, steps before a dropped one, the last row.
            Left out, it is found by comparing each s' with the following s.
    """

    name: str
    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminals: Tensor
    episode_returns: Tensor
    ends: Tensor = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        n = len(self.rewards)
        if self.ends is None:
            ends = self.terminals.clone()
            if n:
                ends[:-1] |= (self.next_observations[:-1] != self.observations[1:]).any(-1)
                ends[-1] = True
            object.__setattr__(self, "ends", ends)
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

    def to(self, device: torch.device | str) -> Transitions:
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


def qlearning_transitions(
    raw: Mapping[str, np.ndarray], *, name: str = "", terminate_on_end: bool = False, max_episode_steps: int | None = None
) -> Transitions:
    """D4RL's `qlearning_dataset` of the arrays of a file (see the module's text), without its loop over rows.

    Args:
        raw: arrays by key in D4RL's schema (`cepkit.rl.data.schema`).
        name: of the data set; a D4RL name also gives the time limit of its environment.
        terminate_on_end: keep the last step before each time-out.
        max_episode_steps: the time limit, used only where `raw` has no `timeouts`; by default that of `name`.

    Raises:
        ValueError: content outside the schema; no time-outs and no time limit.
    """
    arrays = check_raw(raw, name or "raw")
    terminals = arrays["terminals"]
    if "timeouts" in arrays:
        final = whole = arrays["timeouts"]
    else:
        limit = _time_limit(name, max_episode_steps)
        after_final = int(terminate_on_end)
        final = _counted(terminals, limit, after_final=after_final, after_terminal=1)
        whole = _counted(terminals, limit, after_final=0, after_terminal=0)
    rows = np.arange(len(terminals) - 1) if terminate_on_end else np.flatnonzero(~final[:-1])
    ends = terminals[rows] | final[rows]
    if len(rows):
        ends[:-1] |= np.diff(rows) > 1
        ends[-1] = True
    observations = arrays["observations"].astype(np.float32, copy=False)
    return Transitions(
        name=name,
        observations=torch.from_numpy(observations[rows]),
        actions=torch.from_numpy(arrays["actions"].astype(np.float32, copy=False)[rows]),
        rewards=torch.from_numpy(arrays["rewards"].astype(np.float32, copy=False)[rows]),
        next_observations=torch.from_numpy(observations[rows + 1]),
        terminals=torch.from_numpy(terminals[rows]),
        episode_returns=torch.from_numpy(returns_of(arrays["rewards"], terminals | whole)),
        ends=torch.from_numpy(ends),
    )


def returns_of(rewards: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sums of `rewards` (N,) over the stretches that `ends` (N,) closes, float32; an open stretch at the end is left out."""
    last = np.flatnonzero(ends)
    if not len(last):
        return np.zeros(0, np.float32)
    starts = np.concatenate([[0], last[:-1] + 1])
    return np.add.reduceat(rewards[: last[-1] + 1].astype(np.float64), starts).astype(np.float32)


def _time_limit(name: str, given: int | None) -> int:
    if given is not None:
        return int(check_number(given, name="max_episode_steps", low=1, integer=True))
    if name not in CATALOGUE:
        wanted = "the key timeouts, or max_episode_steps, or a D4RL name whose time limit is known"
        raise ValueError(f"{name or 'raw'}: expected {wanted}; got none")
    return CATALOGUE[name].episode_steps


def _counted(terminals: np.ndarray, limit: int, *, after_final: int, after_terminal: int) -> np.ndarray:
    """Where a step counter reaches limit - 1, if it restarts at `after_final` past such a step and at `after_terminal` past
    another terminal. A stretch that a terminal closes has its first such step at limit - 1 - start, then one every period."""
    n, period = len(terminals), limit - after_final
    last = np.flatnonzero(terminals)
    begins = np.concatenate([[0], last + 1])
    lengths = np.diff(np.concatenate([begins, [n]]))
    starts, start = np.zeros(len(begins), dtype=np.int64), 0
    for index, length in enumerate(lengths.tolist()):
        starts[index] = start
        beyond = length + start - limit  # steps of the closing terminal past the first final one
        closes = beyond == 0 or (beyond > 0 and start < limit and period > 0 and beyond % period == 0)
        start = after_final if closes else after_terminal
    first = np.repeat(limit - 1 - starts, lengths)
    since = np.arange(n) - np.repeat(begins, lengths) - first
    return (first >= 0) & (since >= 0) & ((since % period == 0) if period > 0 else (since == 0))
