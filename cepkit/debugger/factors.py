"""Two fields at the same points: the factor between them, its name, and what it says about the mistake behind it."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from cepkit.diffusion.schedules import Schedule

ZERO_SHARE = 1e-6  # a field below this share of the score changes nothing that a sampler could show
FACTOR_MATCH = 0.08  # a known factor matches if it is this near in logarithm

POWERS = {  # of alpha_t and sigma_t
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
}
_NAMES = {powers: name for name, powers in POWERS.items()}
_ORIGINS = {
    "sigma_t": "as if an eps were handed over as a score, which is -eps / sigma_t",
    "1/sigma_t": "as if it had been divided by sigma_t once too often",
    "1/alpha_t": "as if a gradient with respect to x0_hat = (x_t - ...) / alpha_t had the chain rule twice",
    "alpha_t": "as if the 1/alpha_t of x0_hat = (x_t + sigma_t^2 score) / alpha_t had been left out",
    "sigma_t^2/alpha_t": "as if a shift of x0_hat were handed over as a score",
    "sigma_t/alpha_t": "as if it were scaled for the variance-exploding variable x_t / alpha_t",
}


def finite_rows(*fields: Tensor) -> Tensor:
    """Rows (n,) in which every field (n, D) is finite."""
    return torch.stack([torch.isfinite(value).all(-1) for value in fields]).all(0)


def rms(value: Tensor) -> float:
    """The root mean square Euclidean norm of the rows that are finite; 0 if there are none."""
    value = value[finite_rows(value)].double()
    return float(value.square().sum(-1).mean().sqrt()) if len(value) else 0.0


class FactorFit(NamedTuple):
    """given = factor * reference, by least squares."""

    factor: float
    residual: float  # |given - factor * reference| / |given|, in [0, 1]
    cosine: float  # of the two fields as long vectors
    error: float  # |given - reference| / |reference|, without the factor


def fit_factor(given: Tensor, reference: Tensor) -> FactorFit:
    """Fit one number c to given = c * reference over points (n, D); rows that are not finite are left out."""
    rows = finite_rows(given, reference)
    g, r = given[rows].double(), reference[rows].double()
    gg, rr, gr = float(g.square().sum()), float(r.square().sum()), float((g * r).sum())
    if rr == 0.0:
        return FactorFit(math.nan, 1.0, math.nan, math.inf if gg > 0 else 0.0)
    if gg == 0.0:
        return FactorFit(0.0, 0.0, math.nan, 1.0)
    error = math.sqrt(float((g - r).square().sum()) / rr)
    factor = gr / rr
    return FactorFit(factor, math.sqrt(float((g - factor * r).square().sum()) / gg), gr / math.sqrt(gg * rr), error)


def known_factor(factors: Mapping[float, float], schedule: Schedule) -> str | None:
    """The name of a factor c(t), given at one t or more, such as "sigma_t", "-1/alpha_t", "1" or "2.00"; None if it has none."""
    times = torch.tensor(list(factors), dtype=torch.float64)
    c = torch.tensor(list(factors.values()), dtype=torch.float64)
    if not bool(torch.isfinite(c).all()) or not (bool((c > 0).all()) or bool((c < 0).all())):
        return None
    sign, log_c = "" if float(c[0]) > 0 else "-", c.abs().log()
    alpha, sigma = schedule.log_alpha(times), schedule.sigma(times).log()
    # what a known factor leaves of log c: about 0 if c is that factor, about a constant if c is a multiple of it
    left = {name: log_c - (p * alpha + q * sigma) for name, (p, q) in POWERS.items()}
    same = min(left, key=lambda name: float(left[name].square().mean()))
    multiple = min(left, key=lambda name: float(left[name].var(correction=0)))
    if log_c.square().mean().sqrt() < FACTOR_MATCH:
        return sign + "1"
    if len(c) > 1 and log_c.std(correction=0) < FACTOR_MATCH:
        return sign + _constant(log_c)
    if left[same].square().mean().sqrt() < FACTOR_MATCH:
        return sign + same
    if len(c) > 2 and left[multiple].std(correction=0) < FACTOR_MATCH:
        return f"{sign}{_constant(left[multiple])} {multiple}"
    return None


def _constant(logarithms: Tensor) -> str:
    value = float(logarithms.mean().exp())
    return f"{value:.2f}" if value > 0.1 else f"{value:.3g}"


def advice(name: str) -> str:
    """What to do about a factor that `known_factor` named."""
    sign, bare = ("-", name[1:]) if name.startswith("-") else ("", name)
    if bare == "1":
        return "a plain sign flip: E is low for good, guidance is -grad E_t, and score = -eps / sigma_t; multiply by -1"
    core = bare.split()[-1]
    if core not in POWERS:
        return f"a constant factor of {name}: is the scale or the inverse temperature counted twice or not at all?"
    p, q = POWERS[core]
    missing = _NAMES.get((-p, -q), f"1/({core})")
    origin = f", {_ORIGINS[core]}" if core in _ORIGINS else ""
    flip = "a sign flip and " if sign else ""
    do = f"multiply by {sign}{missing}" if core.startswith("1/") else f"divide by {sign}{core}"
    return f"looks like {flip}a missing {missing}{origin}; {do}"
