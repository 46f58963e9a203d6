"""Numbers over several runs of the same settings and their episodes: mean, standard error, interval.

Episodes of one trained network vary together. So the interval over R runs of E episodes each resamples runs first, then
episodes within each (a two-level bootstrap), and the standard error is that of the mean of the R run means; with a single run
both are over its episodes alone and say nothing about another training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cepkit.rl.data.scores import normalized_score
from cepkit.rl.study.evaluate import bootstrap_interval
from cepkit.rl.study.results import Result

_RESAMPLES = 4000


@dataclass(frozen=True)
class Pooled:
    """One policy over several runs.

    Attributes:
        mean: return over all runs and episodes.
        standard_error: of the mean over runs; with one run, over its episodes.
        interval: 95 % bootstrap interval, see the module's text.
        score, score_interval: the same as D4RL's normalised score, where there is one.
        success: share of episodes that reached the goal, for mazes.
        runs: training seeds.
        seeds: of the episodes' starts.
        episodes: of each run.
    """

    mean: float
    standard_error: float
    interval: tuple[float, float]
    score: float | None
    score_interval: tuple[float, float] | None
    success: float | None
    runs: tuple[int, ...]
    seeds: tuple[int, ...]
    episodes: int


def pool(results: Sequence[Result]) -> Pooled:
    """Put the results of one policy together: those of a run are laid end to end, whatever the seed of their starts.

    Raises:
        ValueError: none; runs with different numbers of episodes; several policies or environments.
    """
    if not results:
        raise ValueError("results: expected at least one, got none")
    if len({(r.policy, r.environment, r.engine) for r in results}) > 1:
        raise ValueError("results: expected those of one policy on one engine, got several")
    runs = tuple(sorted({r.run_seed for r in results}))
    rows = [[value for r in results if r.run_seed == run for value in r.returns] for run in runs]
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"results: expected as many episodes of every run, got {[len(row) for row in rows]}")
    returns = torch.tensor(rows, dtype=torch.float64)
    means = returns.mean(1)
    within = returns[0] if len(runs) == 1 else means
    error = float(within.std()) / math.sqrt(len(within)) if len(within) > 1 else math.nan
    interval = two_level_interval(returns)
    score = score_interval = None
    if all(r.score is not None for r in results):
        name = results[0].environment
        score = float(normalized_score(name, float(returns.mean())))
        score_interval = tuple(float(normalized_score(name, end)) for end in interval)
    reached = [r.success for r in results]
    success = None if None in reached else float(np.mean(np.concatenate(reached)))
    seeds = tuple(sorted({r.seed for r in results}))
    return Pooled(float(returns.mean()), error, interval, score, score_interval, success, runs, seeds, returns.shape[1])


def two_level_interval(returns: Tensor, level: float = 0.95, *, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `returns` (R, E): runs are resampled, then episodes within each.

    With one run it is `cepkit.rl.study.evaluate.bootstrap_interval` of its episodes.
    """
    returns = returns.double()
    runs, episodes = returns.shape
    if runs == 1:
        return bootstrap_interval(returns[0], level, seed=seed)
    g = torch.Generator().manual_seed(seed)
    chosen = torch.randint(runs, (_RESAMPLES, runs, 1), generator=g)
    means = returns[chosen, torch.randint(episodes, (_RESAMPLES, runs, episodes), generator=g)].mean((1, 2))
    low, high = means.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64))
    return float(low), float(high)
