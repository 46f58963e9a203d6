"""One field against another: are they the same, the negative, or the same up to a factor that one knows?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cepkit.debugger.thresholds import FACTOR_MATCH, FACTOR_RESIDUAL, SIGN_COSINE, ZERO_SHARE
from cepkit.diffusion.schedules import Schedule

_KNOWN = {
    "alpha_t": (1, 0),
    "sigma_t": (0, 1),
    "1/alpha_t": (-1, 0),
    "1/sigma_t": (0, -1),
    "sigma_t/alpha_t": (-1, 1),
    "alpha_t/sigma_t": (1, -1),
    "sigma_t^2/alpha_t": (-1, 2),
    "alpha_t/sigma_t^2": (1, -2),
    "sigma_t^2": (0, 2),
    "1/sigma_t^2": (0, -2),
    "alpha_t^2": (2, 0),
    "alpha_t*sigma_t": (1, 1),
}  # powers of alpha_t and sigma_t
_INVERSE = {name: next(other for other, q in _KNOWN.items() if q == (-p[0], -p[1])) for name, p in _KNOWN.items()
            if (-p[0], -p[1]) in _KNOWN.values()}  # fmt: skip
_ORIGINS = {
    "sigma_t": "as if an eps were handed over as a score, which is -eps / sigma_t",
    "1/sigma_t": "as if it had been divided by sigma_t once too often",
    "1/alpha_t": "as if a gradient with respect to x0_hat = (x_t - ...) / alpha_t had the chain rule twice",
    "alpha_t": "as if the 1/alpha_t of x0_hat = (x_t + sigma_t^2 score) / alpha_t had been left out",
    "sigma_t^2/alpha_t": "as if a shift of x0_hat were handed over as a score",
    "sigma_t/alpha_t": "as if it were scaled for the variance-exploding variable x_t / alpha_t",
}


class Fit(NamedTuple):
    """given = factor * reference, by least squares.

    Attributes:
        factor: the least-squares factor c.
        residual: |given - c reference| / |given|, in [0, 1].
        cosine: of the two fields as long vectors.
        error: |given - reference| / |reference|, without the factor.
    """

    factor: float
    residual: float
    cosine: float
    error: float


def fit_factor(given: Tensor, reference: Tensor) -> Fit:
    """Fit one number c to given = c * reference over points (n, D); rows that are not finite are left out."""
    rows = torch.isfinite(given).all(-1) & torch.isfinite(reference).all(-1)
    g, r = given[rows].double(), reference[rows].double()
    gg, rr, gr = float(g.square().sum()), float(r.square().sum()), float((g * r).sum())
    if rr == 0.0:
        return Fit(math.nan, 1.0, math.nan, math.inf if gg > 0 else 0.0)
    if gg == 0.0:
        return Fit(0.0, 0.0, math.nan, 1.0)
    error = math.sqrt(float((g - r).square().sum()) / rr)
    factor = gr / rr
    return Fit(factor, math.sqrt(float((g - factor * r).square().sum()) / gg), gr / math.sqrt(gg * rr), error)


def known_factor(factors: Mapping[float, float], schedule: Schedule) -> str | None:
    """The name of the factor that c(t) is, such as "sigma_t", "-1/alpha_t", "-1" or "2.00"; None if none fits, "1" if it is 1.

    Args:
        factors: c at each t, at least one.
    """
    times = torch.tensor(list(factors), dtype=torch.float64)
    c = torch.tensor(list(factors.values()), dtype=torch.float64)
    if not len(c) or not bool(torch.isfinite(c).all()) or not (bool((c > 0).all()) or bool((c < 0).all())):
        return None
    sign, log_c = "" if float(c[0]) > 0 else "-", c.abs().log()
    alpha, sigma = schedule.log_alpha(times), schedule.sigma(times).log()

    def spread(log_factor: Tensor, *, free: bool = False) -> float:
        rest = log_c - log_factor
        return float((rest - rest.mean() if free else rest).square().mean().sqrt())

    if spread(torch.zeros_like(log_c)) < FACTOR_MATCH:
        return sign + "1"
    curves = {name: p * alpha + q * sigma for name, (p, q) in _KNOWN.items()}
    best = min(curves, key=lambda name: spread(curves[name]))
    constant = math.exp(float(log_c.mean()))
    if len(c) > 1 and spread(torch.zeros_like(log_c), free=True) < FACTOR_MATCH:
        return f"{sign}{constant:.2f}"
    if spread(curves[best]) < FACTOR_MATCH:
        return sign + best
    if len(c) > 2:
        best = min(curves, key=lambda name: spread(curves[name], free=True))
        if spread(curves[best], free=True) < FACTOR_MATCH:
            return f"{sign}{math.exp(float((log_c - curves[best]).mean())):.2f} {best}"
    return None


def advice(name: str) -> str:
    """What to do about a factor that `known_factor` named."""
    sign, bare = ("-", name[1:]) if name.startswith("-") else ("", name)
    if bare == "1":
        return "a plain sign flip: E is low for good, guidance is -grad E_t, and score = -eps / sigma_t; multiply by -1"
    core = bare.split()[-1]
    if core not in _KNOWN:
        return f"a constant factor of {name}: is the scale or the inverse temperature counted twice or not at all?"
    origin = f", {_ORIGINS[core]}" if core in _ORIGINS else ""
    missing = _INVERSE.get(core, f"1/({core})")
    flip = "a sign flip and " if sign else ""
    do = f"multiply by {sign}{_INVERSE[core]}" if core.startswith("1/") else f"divide by {sign}{core}"
    return f"looks like {flip}a missing {missing}{origin}; {do}"


@dataclass(frozen=True)
class Diagnosis:
    """How a field relates to its reference at several noise levels.

    Attributes:
        kind: "same", "zero" (the given field is), "flat" (the reference is), "sign", "factor" or "different".
        fits: one `Fit` for each t that could be compared.
        factor: the factor's name where `known_factor` found one, else "".
        worst: the t of the largest error among those that count.
    """

    kind: str
    fits: dict[float, Fit]
    factor: str
    worst: float | None

    @property
    def error(self) -> float:
        """The largest relative error among the levels that count."""
        return 0.0 if self.worst is None else self.fits[self.worst].error


def diagnose(
    pairs: Mapping[float, tuple[Tensor, Tensor]],
    schedule: Schedule,
    *,
    tolerance: float,
    weights: Mapping[float, float] | None = None,
) -> Diagnosis:
    """Compare given and reference fields at each t, (n, D) each.

    Args:
        pairs: (given, reference) at each t.
        tolerance: the largest relative error that counts as the same.
        weights: levels of weight 0 are fitted but do not decide; all count when absent.
    """
    fits = {t: fit_factor(given, reference) for t, (given, reference) in pairs.items()}
    counts = [t for t in fits if weights is None or weights.get(t, 0.0) > 0] or list(fits)
    if not counts:
        return Diagnosis("same", fits, "", None)
    size = {t: float(pairs[t][1].nan_to_num(posinf=0.0, neginf=0.0).square().mean()) for t in counts}
    largest = max(size.values())
    counts = [t for t in counts if size[t] >= ZERO_SHARE * largest]
    worst = max(counts, key=lambda t: fits[t].error)
    if largest == 0.0 and fits[worst].error > tolerance:
        return Diagnosis("flat", fits, "", worst)
    kept = [fits[t] for t in counts]
    if fits[worst].error <= tolerance:
        return Diagnosis("same", fits, "", worst)
    if all(fit.factor == 0.0 for fit in kept):
        return Diagnosis("zero", fits, "0", worst)
    if max(fit.residual for fit in kept) <= FACTOR_RESIDUAL:
        name = known_factor({t: fits[t].factor for t in counts}, schedule) or ""
        kind = "sign" if name == "-1" else "different" if name == "1" else "factor"
        return Diagnosis(kind, fits, name, worst)
    if _all_below([fit.cosine for fit in kept], SIGN_COSINE):
        return Diagnosis("sign", fits, "-1", worst)
    return Diagnosis("different", fits, "", worst)


def _all_below(values: Sequence[float], limit: float) -> bool:
    return all(math.isfinite(value) and value < limit for value in values)
