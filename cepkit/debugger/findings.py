"""Findings: what a check says, how severe it is, and where."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cepkit.validation import check_name

SEVERITIES = ("ok", "note", "warning", "error")
STANDARD_ERRORS = 4.0  # what lies within so many may be chance: it happens once in 16,000 measurements


@dataclass(frozen=True)
class Finding:
    """One result of one check.

    Attributes:
        check: a short stable key such as "curl" or "norm-ratio".
        severity: "ok", "note", "warning" or "error".
        message: the result in words, with the place and the figure.
        figure: the number that decided, None if there is none.
        x: where it is worst, a point in slice coordinates, None if it means everywhere or all is well.
        t: the noise level where it is worst, None if it means all.
        remedy: the likely cause or what to try, empty if nothing can be said or all is well.
        cause: the name of the fault where it is certain, such as "sign" or "another schedule"; empty otherwise.
    """

    check: str
    severity: str
    message: str
    figure: float | None = None
    x: tuple[float, float] | None = None
    t: float | None = None
    remedy: str = ""
    cause: str = ""

    def __post_init__(self) -> None:
        check_name(self.severity, SEVERITIES, name="severity")
        if self.severity == "ok":
            object.__setattr__(self, "x", None)
            object.__setattr__(self, "remedy", "")
        elif self.x is not None:
            object.__setattr__(self, "x", tuple(float(value) for value in self.x))

    @property
    def rank(self) -> int:
        """0 for "ok" up to 3 for "error"."""
        return SEVERITIES.index(self.severity)

    @property
    def place(self) -> str:
        """Where it is worst, in words."""
        x = "" if self.x is None else f"x = ({', '.join(f'{value:.2f}' for value in self.x)})"
        t = "" if self.t is None else f"t = {self.t:.3g}"
        return ", ".join(filter(None, (x, t))) or "everywhere"


Findings = Iterator[Finding]


def grade(figure: float, *, warning: float, error: float = math.inf) -> str:
    """The severity of a figure: "ok" up to `warning`, "warning" up to `error`."""
    return "ok" if figure <= warning else "warning" if figure <= error else "error"
