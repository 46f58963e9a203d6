"""A given field beside the right one, and candidates that may explain how they differ."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from cepkit.debugger.factors import finite_rows, rms
from cepkit.diffusion.process import convert
from cepkit.diffusion.schedules import Schedule
from cepkit.truth.exact import Mixture

Field = Callable[[Tensor, float], Tensor]  # (x_t (n, D), t) -> (n, D)
FIRST_TIME = 1e-3  # stands for clean data
TRUSTED = 0.2  # the error up to which points with energies are believed about other energies, too
_SMALL = 0.05  # of the right field: two fields that are smaller do not decide by their difference
_FEW = 96  # points at each level for searches that evaluate the right field many times


@dataclass(frozen=True, eq=False)
class Case:
    """A given field that disagrees with the right one.

    Attributes:
        subject: "score" or "guidance".
        right: the right field, at any points and time.
        given: its values (n, D) at each level, at `points`.
        points: x_t (n, D) at each level; all levels that count.
        mixture, beta: the truth, or what points with energies tell of it; None if nothing is known.
        energy: beta E of clean points (n, D), differentiable; None if it is not known.
        score: the right score, or else the given one, differentiable; None if there is none.
        other: the given guidance, where the subject is the score.
        floors: the error that a right field would show at each level, where the right field is known from some points only.
        known_from: the least noise level at which the right field is known.
    """

    subject: str
    right: Field
    given: Mapping[float, Tensor]
    points: Mapping[float, Tensor]
    schedule: Schedule
    mixture: Mixture | None = None
    beta: float = 0.0
    energy: Callable[[Tensor], Tensor] | None = None
    score: Field | None = None
    other: Field | None = None
    floors: Mapping[float, float] = field(default_factory=dict)
    known_from: float = 0.0

    @cached_property
    def exact(self) -> dict[float, Tensor]:
        """The right field at the points."""
        return {t: self.right(x, t) for t, x in self.points.items()}

    @cached_property
    def few(self) -> "Case":
        """The same with fewer points."""
        cut = {name: {t: value[:_FEW] for t, value in getattr(self, name).items()} for name in ("given", "points")}
        return replace(self, **cut)

    def at(self, t: float) -> "Case":
        """The same with one level only."""
        return self.only([t])

    @cached_property
    def of_mixture(self) -> "Case | None":
        """The levels at which the mixture's own guidance is the right one; None if there are none."""
        return None if self.mixture is None or self.subject != "guidance" else self.trusting(self.mixture)

    def field_of(self, mixture: Mixture, beta: float | None = None) -> Field:
        """The field that a mixture says is right, at this inverse temperature or the case's."""
        if self.subject == "score":
            return lambda x, t: mixture.score(x, t, self.schedule)
        return lambda x, t: mixture.guidance(x, t, self.beta if beta is None else beta, self.schedule)

    def trusting(self, mixture: Mixture) -> "Case | None":
        """The levels at which a mixture that stands for the truth says what is right; None if there are none."""
        own = self.field_of(mixture)
        return self.only([t for t in self.points if replace(self.at(t), given={t: self.exact[t]}).error(own) < TRUSTED])

    def only(self, times: Collection[float]) -> "Case | None":
        """The same with some levels only; None if there are none."""
        cut = {name: {t: getattr(self, name)[t] for t in times} for name in ("given", "points")}
        return replace(self, **cut) if times else None

    @property
    def floor(self) -> float:
        """The error that a right field would show."""
        return math.sqrt(sum(self.floors.get(t, 0.0) ** 2 for t in self.points) / len(self.points))

    @property
    def dim(self) -> int:
        return next(iter(self.points.values())).shape[1]

    def x0_hat(self, x: Tensor, t: float) -> Tensor:
        """The denoised points by the score."""
        return convert(self.score(x, t), "score", "x0", x, t, self.schedule)

    def error(self, other: Field) -> float:
        """How far the given field is from this one, relative to the larger of the two: root mean square over the levels."""
        errors = []
        for t, x in self.points.items():
            predicted, given = value_of(other, x, t), self.given[t]
            rows = finite_rows(predicted, given)
            size = max(rms(predicted[rows]), rms(given[rows]), _SMALL * rms(self.exact[t][rows]))
            errors.append(rms((predicted - given)[rows]) / size if size > 0 else 0.0)
            if not bool(rows.any()):
                errors[-1] = 1.0
        return math.sqrt(sum(e * e for e in errors) / len(errors))


def value_of(field: Field, x: Tensor, t: float) -> Tensor:
    """The values of a field (n, D), NaN where it has none: it may call what a user wrote, or leave a mixture's range."""
    try:
        value = field(x, t)
    except Exception:
        return torch.full_like(x, torch.nan)
    return value.detach() if isinstance(value, Tensor) and value.shape == x.shape else torch.full_like(x, torch.nan)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mistake that may have been made.

    Attributes:
        cause: its short name.
        words: a sentence without its subject, such as "is evaluated at t / 2".
        repair: the line of code that mends it.
        field: what the given field would be.
        factor_allowed: whether a factor of alpha_t and sigma_t may stand before it as well.
        case: the levels at which it can be judged, where these are not all.
        undo: from the given values, x and t to what they would be without the mistake, where that is the better comparison.
        constants: how much was fitted to the given field: 0 nothing, 1 a number, 2 a vector or matrix, 3 something at each level.
    """

    cause: str
    words: str
    repair: str
    field: Field
    factor_allowed: bool = True
    case: Case | None = None
    constants: int = 0
    undo: Callable[[Tensor, Tensor, float], Tensor] | None = None


Candidates = Iterator[Candidate]


def fitted(case: Case, family: Callable[[float], Field], values: np.ndarray) -> float:
    """The positive parameter of a family of fields that fits best: the best of these values, refined between its neighbours."""
    error = {value: case.few.error(family(value)) for value in values.tolist()}
    best = min(error, key=error.get)
    step = float(values[1] / values[0])
    found = minimize_scalar(
        lambda log: case.few.error(family(math.exp(log))),
        bounds=(math.log(best / step), math.log(best * step)),
        method="bounded",
        options={"xatol": 1e-4, "maxiter": 20},
    )
    return math.exp(found.x) if found.fun < error[best] else best
