"""What a check hands back: findings in words, and the arrays behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from cepkit.validation import check_name

SEVERITIES = ("ok", "note", "warning", "error")


@dataclass(frozen=True)
class Place:
    """Where a finding was made: a point in slice coordinates and a noise level, each None where it means everywhere."""

    x: tuple[float, ...] | None = None
    t: float | None = None

    def __str__(self) -> str:
        parts = [] if self.x is None else [f"x = ({', '.join(f'{value:.2f}' for value in self.x)})"]
        parts += [] if self.t is None else [f"t = {self.t:.3g}"]
        return ", ".join(parts) or "everywhere"


@dataclass(frozen=True)
class Finding:
    """One result of one check.

    Attributes:
        check: a short stable key such as "curl" or "norm-ratio".
        severity: "ok", "note", "warning" or "error".
        place: where it is worst.
        figure: the number that decided, None where there is none.
        message: one sentence in words, with the place and the figure.
        remedy: the likely cause or what to try, empty where nothing can be said.
    """

    check: str
    severity: str
    place: Place
    figure: float | None
    message: str
    remedy: str = ""

    def __post_init__(self) -> None:
        check_name(self.severity, SEVERITIES, name="severity")

    @property
    def rank(self) -> int:
        """0 for "ok" up to 3 for "error"."""
        return SEVERITIES.index(self.severity)


@dataclass(frozen=True)
class Outcome:
    """The findings of a check and the named arrays that a picture of it needs."""

    findings: tuple[Finding, ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def finding(
    check: str,
    severity: str,
    message: str,
    *,
    figure: float | None = None,
    x: Tensor | None = None,
    t: float | None = None,
    remedy: str = "",
) -> Finding:
    """A `Finding` at a point given as a tensor."""
    at = None if x is None else tuple(float(value) for value in x.detach().cpu().reshape(-1))
    return Finding(check, severity, Place(at, t), figure, message, remedy)
