"""Checks of the score that need no exact score: its limit at full noise, Tweedie's formula, and denoising regression.

At t = 1 a variance-preserving score is -x_t up to what little is left of the data. At every level it is -E[eps | x_t] / sigma_t,
so over pairs (x_t, eps)

    E[score . eps] = -sigma_t E|score|^2,

and a score that is c times right shows 1/c as the ratio of the two sides.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger import thresholds as limit
from cepkit.debugger.checks.factors import advice, fit_factor, known_factor
from cepkit.debugger.findings import Finding, Outcome, finding
from cepkit.debugger.scene import Scene
from cepkit.diffusion.process import eps_from_score, x0_from_eps


class Regression(NamedTuple):
    """A factor from denoising regression, NaN if undefined, and its standard error relative to it."""

    factor: float
    scatter: float


def regression_factor(score: Tensor, eps: Tensor, sigma_t: float) -> Regression:
    """c such that score / c is calibrated: -sigma_t E|score|^2 / E[score . eps], over pairs (n, D)."""
    rows = torch.isfinite(score).all(-1)
    s, e = score[rows].double(), eps[rows].double()
    cross, square = (s * e).sum(-1), s.square().sum(-1)
    mean = float(cross.mean()) if len(cross) > 1 else 0.0
    if mean == 0.0:
        return Regression(math.nan, math.inf)
    factor = -sigma_t * float(square.mean()) / mean
    # the two means rise and fall together, so the scatter is that of their difference
    return Regression(factor, float((cross / mean - square / square.mean()).std()) / math.sqrt(len(cross)))


def check_score(scene: Scene) -> Outcome:
    """Is the score a score, and not an eps, x0 or v, or a score without its factor?"""
    if scene.score is None:
        return Outcome()
    findings, arrays = [], {}
    full = _full_noise(scene)
    findings += [] if full is None else [full]
    regression = _regression(scene)
    if regression is not None:
        findings.append(regression[0])
        arrays |= regression[1]
    tweedie = _tweedie(scene)
    if tweedie is not None:
        findings.append(tweedie[0])
        arrays |= tweedie[1]
    return Outcome(tuple(findings), arrays)


def _full_noise(scene: Scene) -> Finding | None:
    """At t = 1, x_t is standard normal and the score -x_t."""
    x = torch.randn((scene.particles, scene.dim), generator=scene.generator(7), device=scene.device, dtype=scene.dtype)
    score = scene.score(x, 1.0)
    if score is None or not bool(torch.isfinite(score).any()):
        return None
    fit = fit_factor(score, -x)
    text = f"At full noise (t = 1) the score is {fit.factor:.2f} times -x_t with a residual of {fit.residual:.2f}"
    if fit.error <= limit.FULL_NOISE_WARNING:
        return finding("score-at-noise", "ok", text + ", as it must be.", figure=fit.factor, t=1.0)
    if abs(fit.factor) < 0.5:
        remedy = "an x0 or v handed over as a score: neither follows x_t at full noise; convert with cepkit.diffusion.convert"
    elif fit.residual < limit.FULL_NOISE_WARNING:
        if fit.factor < 0:
            remedy = "an eps handed over as a score (eps at full noise is +x_t; score = -eps / sigma_t), or a sign flip"
        else:
            remedy = f"a factor of {fit.factor:.2f}: data that are not scaled as in training, or another schedule"
    else:
        remedy = "another schedule than the model's, data much wider than the noise, or a network that was not trained near t = 1"
    return finding("score-at-noise", "error", text + "; it must be close to -x_t.", figure=fit.factor, t=1.0, remedy=remedy)


def _regression(scene: Scene) -> tuple[Finding, dict[str, np.ndarray]] | None:
    fits = {}
    for t, cloud in scene.clouds.items():
        score = None if cloud.eps is None else scene.score(cloud.x, t)
        if score is not None:
            fits[t] = regression_factor(score, cloud.eps, float(scene.schedule.sigma(t)))
    fits = {t: fit for t, fit in fits.items() if math.isfinite(fit.factor)}
    if not fits:
        return None
    factors = {t: fit.factor for t, fit in fits.items()}
    arrays = {"regression_times": np.array(list(factors)), "regression_factor": np.array(list(factors.values()))}
    t = max(factors, key=lambda t: abs(math.log(max(abs(factors[t]), 1e-9))) + 10 * (factors[t] < 0))
    own = scene.source.startswith("the model")
    tolerance = limit.OWN_SAMPLES_FACTOR_WARNING if own else limit.SCORE_FACTOR_WARNING
    text = f"Against the noise in points drawn from {scene.source} the score is {factors[t]:.2f} times the right one at t = {t:g}"
    chance = limit.STANDARD_ERRORS
    if all(abs(c - 1) <= max(tolerance, chance * scatter) for c, scatter in fits.values()):
        return finding("score-factor", "ok", f"{text}, within the {tolerance:.0%} allowed.", figure=factors[t], t=t), arrays
    name = known_factor(factors, scene.schedule)
    few = ", ".join(f"{c:.2f} at t = {u:g}" for u, c in factors.items())
    text = f"{text} ({few})" + (f", which is {name}." if name else ".")
    remedy = advice(name) if name else "another parametrisation (eps, x0, v), another schedule, or data other than the model's"
    severity = "error" if name or min(factors.values()) < 0 else "warning"
    return finding("score-factor", severity, text, figure=factors[t], t=t, remedy=remedy), arrays


def _tweedie(scene: Scene) -> tuple[Finding, dict[str, np.ndarray]] | None:
    """The denoised points x0_hat must lie among the data."""
    shares, denoised = {}, {}
    for t, cloud in scene.clouds.items():
        score = None if cloud.eps is None else scene.score(cloud.x, t)
        if score is None:
            continue
        alpha, sigma = (scene.schedule.alpha(t).to(score), scene.schedule.sigma(t).to(score))
        x0 = scene.plane.coordinates(x0_from_eps(eps_from_score(score, sigma), cloud.x, alpha, sigma))
        x0 = x0[torch.isfinite(x0).all(-1)]
        if len(x0):
            shares[t] = float(scene.domain.outside(x0, limit.OUTSIDE_MARGIN).float().mean())
            denoised[t] = x0
    if not shares:
        return None
    t = max(shares, key=shares.get)
    arrays = {"denoised": denoised[t].cpu().numpy(), "denoised_time": np.array(t)}
    text = f"Denoised points x0_hat outside the domain: at most {shares[t]:.1%}, at t = {t:g}."
    if shares[t] <= limit.OUTSIDE_WARNING:
        return finding("tweedie", "ok", text, figure=shares[t], t=t), arrays
    out = denoised[t][scene.domain.outside(denoised[t], limit.OUTSIDE_MARGIN)]
    remedy = "a wrong parametrisation or a missing alpha_t or sigma_t in the score, or a domain smaller than the data"
    return finding("tweedie", "warning", text, figure=shares[t], t=t, x=out.median(0).values, remedy=remedy), arrays
