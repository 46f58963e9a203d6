"""The guidance error of a run in training, measured against the truth as it goes."""

import time
from collections.abc import Iterator
from typing import Self

import torch
from torch import Tensor

from cepkit.learning.loop import Training, TrainingStep
from cepkit.truth.metrics import ErrorProbe
from cepkit.validation import check_number


class History:
    """Errors along t every `every` steps and at the last one.

    Attributes:
        steps, seconds: when, lists of equal length; the seconds are those of training alone.
        errors: of the guidance then, a list of tensors (number of times,).
    """

    def __init__(self, probe: ErrorProbe, *, every: int = 100) -> None:
        self.probe, self.every = probe, check_number(every, name="every", low=1, integer=True)
        self.steps: list[int] = []
        self.seconds: list[float] = []
        self.errors: list[Tensor] = []
        self._trained = 0.0

    def follow(self, training: Training) -> Iterator[TrainingStep]:
        """Train, yielding each step after it was measured."""
        start = time.perf_counter()
        for step in training:
            self._trained += time.perf_counter() - start
            if step.index % self.every == 0 or step.index == step.steps:
                self.steps.append(step.index)
                self.seconds.append(self._trained)
                self.errors.append(self.probe(training.guidance))
            yield step
            start = time.perf_counter()

    def run(self, training: Training) -> Self:
        """Train to the end and return the history."""
        for _ in self.follow(training):
            pass
        return self

    @property
    def means(self) -> list[float]:
        """The error averaged over the probe's times, for each measurement."""
        return torch.stack(self.errors).mean(-1).tolist() if self.errors else []
