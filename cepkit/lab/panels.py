"""What stands in a panel: an estimator by name, a network that is trained on the spot, or anyone's own callable, guarded.

A guard lets a callable fail without taking the other panels with it: what it raised or returned is noted with the time at
which it happened, and the panel goes on without guidance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cepkit.diffusion.guidance import Guidance, ZeroGuidance
from cepkit.diffusion.schedules import Schedule
from cepkit.lab.tabulated import Field, tabulated
from cepkit.learning.config import OBJECTIVES, TrainingConfig
from cepkit.learning.loop import Training
from cepkit.truth.fields import toy_estimators
from cepkit.truth.gridded import GriddedTruth
from cepkit.truth.toys import Toy
from cepkit.validation import check_name, check_number

LEARNED = OBJECTIVES
BUILT_IN = ("exact", "mean energy", "DPS", "LGD-MC", "no guidance", *LEARNED)
_TRAINING_POINTS = 200_000


@dataclass(frozen=True)
class Failure:
    """What an estimator did wrong, and at which time."""

    estimator: str
    t: float
    what: str

    def __str__(self) -> str:
        return f"{self.estimator} at t = {self.t:.3g}: {self.what}"


class Guard:
    """A field that never raises: after a failure it is zero, and `failure` says what came.

    Attributes:
        name: the panel's title.
        field: what is called, or None for a network not trained yet.
    """

    def __init__(self, name: str, field: Field | None) -> None:
        self.name, self.field, self.failure = name, field, None

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """The guidance at x_t (..., 2), zero where there is none to be had."""
        value = self._ask(self.field, x_t, t, x_t.shape, "guidance")
        return torch.zeros_like(x_t) if value is None else value

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor | None:
        """The energy at x_t, shape (...), or None where the estimator has none."""
        field = getattr(self.field, "energy", None)
        return self._ask(field, x_t, t, x_t.shape[:-1], "energy") if callable(field) else None

    def _ask(self, field: Field | None, x_t: Tensor, t: Tensor | float, shape: torch.Size, what: str) -> Tensor | None:
        if field is None or self.failure is not None:
            return None
        try:
            value = field(x_t, t)
            wrong = _wrong(value, x_t, shape, what)
        except Exception as error:  # anyone's code: whatever it raises is shown in its panel
            wrong = f"raised {type(error).__name__}: {error}"
        if wrong:
            self.failure = Failure(self.name, float(t), wrong)
            return None
        return value.detach().to(x_t.dtype)


def _wrong(value: object, x_t: Tensor, shape: torch.Size, what: str) -> str:
    if not isinstance(value, Tensor):
        return f"expected {what} as a tensor, got {type(value).__name__}"
    if value.shape != shape:
        return f"expected {what} of shape {tuple(shape)}, got {tuple(value.shape)}"
    if value.device != x_t.device:
        return f"expected {what} on {x_t.device}, got it on {value.device}"
    if math.isfinite(float(value.detach().sum())):  # one pass; only sums beyond the largest number are looked at again
        return ""
    bad = int((~torch.isfinite(value)).sum())
    return f"{bad} of {value.numel()} values of the {what} are NaN or infinite" if bad else ""


class Estimators:
    """The panels of a lab: names, and guards at each inverse temperature.

    Args:
        toy: whose truth and energy the built-in estimators use.
        chosen: names of built-in estimators, or a mapping from a title to a callable (x_t, t) -> guidance or, with None, to the
            built-in estimator of that name. A callable is used as it is at every beta.
        train_steps: optimiser steps of the networks behind "CEP", "MSE" and "exp-MSE".
    """

    def __init__(
        self,
        toy: Toy,
        chosen: Iterable[str] | Mapping[str, Field | None],
        schedule: Schedule,
        *,
        beta: float,
        train_steps: int = 1000,
    ) -> None:
        self._toy, self._schedule, self.trained_at = toy, schedule, beta
        if isinstance(chosen, str):
            chosen = (chosen,)
        self._chosen = _check_chosen(chosen if isinstance(chosen, Mapping) else dict.fromkeys(chosen))
        self._given = {**dict.fromkeys(BUILT_IN), **self._chosen}
        self._trainings: dict[str, Training] = {}
        self._train_steps = check_number(train_steps, name="train_steps", low=1, integer=True)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._chosen)

    @property
    def known(self) -> tuple[str, ...]:
        """What `choose` can choose from: the callables given at first, and everything built in."""
        return tuple(self._given)

    def choose(self, names: Iterable[str]) -> None:
        """Show these panels from now on; networks that were trained stay trained."""
        self._chosen = _check_chosen({name: self._given[check_name(name, self.known, name="panels")] for name in names})

    def on(self, toy: Toy, beta: float) -> Estimators:
        """The same panels on another toy; its networks are yet to be trained."""
        other = Estimators(toy, self._chosen, self._schedule, beta=beta, train_steps=self._train_steps)
        other._given = self._given
        return other

    @property
    def learned(self) -> tuple[str, ...]:
        """The panels whose network is trained here."""
        return tuple(name for name, given in self._chosen.items() if given is None and name in LEARNED)

    def guards(self, beta: float, truth: GriddedTruth | None = None, *, look_up: bool = True) -> list[Guard]:
        """A fresh guard for each panel.

        Args:
            truth: other tables than the toy's own.
            look_up: also look up guidances of the toy's truth that came as callables, and DPS as a whole.
        """
        toy = self._toy if truth is None else replace(self._toy, truth=truth)
        built_in: dict[str, Guidance] = {**toy_estimators(toy, beta, self._schedule), "no guidance": ZeroGuidance()}
        trained = {name: training.guidance for name, training in self._trainings.items()}
        fields = {name: given or built_in.get(name) or trained.get(name) for name, given in self._chosen.items()}
        if look_up and isinstance(toy.truth, GriddedTruth):
            fields = {name: field and tabulated(field, toy.truth) for name, field in fields.items()}
        return [Guard(name, field) for name, field in fields.items()]

    def progress(self, name: str) -> str:
        """How far the network of a panel is, in words; empty for a panel without one."""
        if name not in self.learned:
            return ""
        training = self._trainings.get(name)
        at = f"for β = {self.trained_at:g}"
        if training is None or training.index < self._train_steps:
            return f"training {at}: {0 if training is None else training.index} of {self._train_steps} steps"
        return f"trained {at}"

    def train(self) -> Iterator[str]:
        """Train what is not trained yet; yields the name of the network after each step. May be left and called again."""
        for name in self.learned:
            if name not in self._trainings:
                x, energy = self._toy.sample(_TRAINING_POINTS, generator=torch.Generator().manual_seed(0))
                config = TrainingConfig(
                    beta=self.trained_at, steps=self._train_steps, parts=("energy",), objective=name, schedule=self._schedule
                )
                self._trainings[name] = Training(x, energy, config)
            for _ in self._trainings[name]:
                yield name


def _check_chosen(chosen: Mapping[str, Field | None]) -> dict[str, Field | None]:
    if not chosen:
        raise ValueError("estimators: expected at least one, got none")
    for name, given in chosen.items():
        if given is None:
            check_name(name, BUILT_IN, name="estimators")
        elif not callable(given):
            raise ValueError(f"estimators: expected a callable (x_t, t) -> guidance for {name!r}, got {type(given).__name__}")
    return dict(chosen)
