"""How often `mean_interval` covers the mean of very many trainings, by simulation of runs and of their episodes."""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import numpy as np

from cepkit.rl import mean_interval

EPISODES = {
    "normal": lambda random, shape: random.standard_normal(shape),
    "skewed": lambda random, shape: random.exponential(size=shape),
    # returns of the maze: six episodes in ten never find the goal; or few fail, and the others earn much
    "maze": lambda random, shape: (random.random(shape) < 0.4) * (60 + 10 * random.standard_normal(shape)),
    "guided maze": lambda random, shape: (random.random(shape) < 0.95) * (150 + 40 * random.standard_normal(shape)),
    "success 50 %": lambda random, shape: (random.random(shape) < 0.5).astype(float),
    "success 90 %": lambda random, shape: (random.random(shape) < 0.9).astype(float),
}
MOMENTS = {  # mean and standard deviation
    "normal": (0, 1),
    "skewed": (1, 1),
    "maze": (24, math.sqrt(0.4 * (3600 + 100) - 24**2)),
    "guided maze": (142.5, math.sqrt(0.95 * (22500 + 1600) - 142.5**2)),
    "success 50 %": (0.5, 0.5),
    "success 90 %": (0.9, 0.3),
}


class Case(NamedTuple):
    """Runs, episodes of each, kind of the episodes, and how far apart the runs' true means lie, in spreads of an episode."""

    runs: int
    episodes: int
    kind: str
    apart: float

    def __str__(self) -> str:
        return f"{self.runs} runs of {self.episodes}, {self.kind}, {self.apart:g} apart"


def every_case() -> list[Case]:
    """Three to five runs of ten to sixty episodes."""
    return [Case(*values) for values in product((3, 4, 5), (10, 20, 60), EPISODES, (0.0, 0.5, 1.0, 2.0))]


def quick_cases() -> list[Case]:
    """Some of them, among these the hardest of each kind."""
    few = [Case(runs, 10, kind, apart) for runs, kind, apart in product((3, 5), EPISODES, (0.0, 1.0))]
    return [case for case in few if case.apart or not case.kind.startswith("success")] + [Case(3, 60, "maze", 2.0)]


def coverage(case: Case, *, trials: int) -> float:
    """Share of simulated experiments whose interval, where there is one, contains the true mean."""
    random, (mean, spread) = np.random.default_rng(0), MOMENTS[case.kind]
    between = case.apart * spread * random.standard_normal((trials, case.runs, 1))
    return _share((EPISODES[case.kind](random, (trials, case.runs, case.episodes)) + between).mean(-1, keepdims=True), mean)


def failing_coverage(runs: int, *, trials: int) -> float:
    """The same where one training in five earns nothing, and the others differ by a tenth of what they earn."""
    random = np.random.default_rng(0)
    return _share((random.random((trials, runs, 1)) < 0.8) * (1 + 0.1 * random.standard_normal((trials, runs, 1))), 0.8)


def _share(means: np.ndarray, truth: float) -> float:
    found = np.array([mean_interval(each) for each in means])
    found = found[np.isfinite(found[:, 0])]
    return float(((found[:, 0] <= truth) & (truth <= found[:, 1])).mean())
