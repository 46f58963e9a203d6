"""The content of a panel: an estimator by name, a network that is trained on the spot, or anyone's own callable, guarded.

A guard lets a callable fail without taking the other panels with it. The first failure is noted with its time, and the panel
goes on without guidance.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from cepkit.calling import evaluation_mode, field_fault, modules_of, words_of
from cepkit.diffusion.guidance import ZeroGuidance
from cepkit.diffusion.schedules import Schedule
from cepkit.lab.gridded import GriddedTruth
from cepkit.lab.tabulated import Field, tabulated
from cepkit.learning.loop import OBJECTIVES, Training, TrainingConfig
from cepkit.truth.fields import toy_estimators
from cepkit.truth.toys import Toy
from cepkit.validation import check_name, check_number

BUILT_IN = ("exact", "mean energy", "DPS", "LGD-MC", "no guidance", *OBJECTIVES)
_TRAINING_POINTS = 200_000


class Guard:
    """A field that never raises: from its first failure on it is zero.

    Attributes:
        name: the panel's title.
        field: the callable, or None for a network not trained yet.
        failure: the first failure and its time in words, "" before it.
    """

    def __init__(self, name: str, field: Field | None) -> None:
        self.name, self.field, self.failure = name, field, ""

    @property
    def works(self) -> bool:
        """Whether there is a field and it has not failed."""
        return self.field is not None and not self.failure

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """The guidance at x_t (..., 2), zero where there is none."""
        value = self._evaluate(self.field, x_t, t, per_point=False)
        return torch.zeros_like(x_t) if value is None else value

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor | None:
        """The energy at x_t, shape (...), or None where the estimator has none."""
        field = getattr(self.field, "energy", None)
        return self._evaluate(field, x_t, t, per_point=True) if callable(field) else None

    @cached_property
    def _modules(self) -> list[nn.Module]:
        return modules_of(self.field)

    def _evaluate(self, field: Field | None, x_t: Tensor, t: Tensor | float, *, per_point: bool) -> Tensor | None:
        if field is None or self.failure:
            return None
        try:
            # copies: a callable that changes its arguments in place must not move the other panels' particles
            with evaluation_mode(self._modules):
                value = field(x_t.clone(), t.clone() if isinstance(t, Tensor) else t)
            fault = field_fault(value, x_t, per_point=per_point)
            wrong = f"expected {fault.expected}, got {fault.came}" if fault else _not_finite(value)
        except Exception as error:  # of the user's code
            wrong = f"raised {words_of(error)}"
        if wrong:
            self.failure = f"{self.name} at t = {float(t):.3g}: {wrong}"
            return None
        return value.detach().to(x_t.dtype)


def _not_finite(value: Tensor) -> str:
    if math.isfinite(float(value.detach().sum())):  # one pass; only sums beyond the largest number are looked at again
        return ""
    bad = int((~torch.isfinite(value)).sum())
    return f"{bad} of {value.numel()} values are NaN or infinite" if bad else ""


class Estimators:
    """The panels of a lab: names, and guards at each inverse temperature.

    Args:
        toy: whose truth, as tables, and energy the built-in estimators use.
        chosen: names of built-in estimators, or a mapping from a title to a callable (x_t, t) -> guidance or, with None, to the
            built-in estimator of that name. A callable is used as it is at every beta.
        beta: at which the networks behind "CEP", "MSE" and "exp-MSE" are trained.
        train_steps: optimiser steps of each.

    Attributes:
        given: all that `choose` can choose from: everything built in (None), and the callables given at first.
        names: the panels shown.

    Raises:
        ValueError: no panel, an unknown name, or a value that is not callable.
    """

    def __init__(
        self, toy: Toy, chosen: Iterable[str] | Mapping[str, Field | None], schedule: Schedule, *, beta: float, train_steps: int
    ) -> None:
        self._toy, self._schedule, self.trained_at = toy, schedule, beta
        chosen = (chosen,) if isinstance(chosen, str) else chosen
        chosen = chosen if isinstance(chosen, Mapping) else dict.fromkeys(chosen)
        for name, given in chosen.items():
            if given is None:
                check_name(name, BUILT_IN, name="estimators")
            elif not callable(given):
                raise ValueError(f"estimators: expected a callable (x_t, t) -> guidance for {name!r}, got {type(given).__name__}")
        self.given: dict[str, Field | None] = {**dict.fromkeys(BUILT_IN), **chosen}
        self.train_steps = check_number(train_steps, name="train_steps", low=1, integer=True)
        self._trainings: dict[str, Training] = {}
        self.choose(chosen)

    def choose(self, names: Iterable[str]) -> None:
        """Show these panels from now on; networks that were trained stay trained."""
        self.names = tuple(check_name(name, self.given, name="estimators") for name in names)
        if not self.names:
            raise ValueError("estimators: expected at least one, got none")

    @property
    def learned(self) -> tuple[str, ...]:
        """The panels whose network is trained here."""
        return tuple(name for name in self.names if self.given[name] is None and name in OBJECTIVES)

    def guards(self, beta: float, truth: GriddedTruth | None = None, *, look_up: bool = True) -> list[Guard]:
        """A fresh guard for each panel.

        Args:
            truth: other tables than the toy's own.
            look_up: also look up guidances of the toy's truth that came as callables, and DPS as a whole.
        """
        toy = self._toy if truth is None else replace(self._toy, truth=truth)
        fields: dict[str, Field] = {**toy_estimators(toy, beta, self._schedule), "no guidance": ZeroGuidance()}
        fields |= {name: training.guidance for name, training in self._trainings.items()}
        fields |= {name: given for name, given in self.given.items() if given is not None}
        if look_up:
            fields = {name: tabulated(field, toy.truth) for name, field in fields.items()}
        return [Guard(name, fields.get(name)) for name in self.names]

    def progress(self, name: str) -> str:
        """The state of a panel's network in words; empty for a panel without one."""
        if name not in self.learned:
            return ""
        index = self._trainings[name].index if name in self._trainings else 0
        if not index:
            return "not trained yet"
        steps = "" if index == self.train_steps else f": {index} of {self.train_steps} steps"
        return f"{'training' if steps else 'trained'} for β = {self.trained_at:g}{steps}"

    def train(self) -> Iterator[str]:
        """Train what is not trained yet; yields the name of the network after each step. May be left and called again."""
        for name in self.learned:
            if name not in self._trainings:
                x, energy = self._toy.sample(_TRAINING_POINTS, generator=torch.Generator().manual_seed(0))
                config = TrainingConfig(beta=self.trained_at, steps=self.train_steps, parts=("energy",), objective=name)
                self._trainings[name] = Training(x, energy, config)
            for _ in self._trainings[name]:
                yield name
