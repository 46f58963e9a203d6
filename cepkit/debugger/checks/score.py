"""A score of another parametrisation or with a wrong factor, found without the exact score.

At full noise the score must be -x_t. At every level it is -E[eps | x_t] / sigma_t, so over pairs (x_t, eps)

    E[score . eps] = -sigma_t E|score|^2,

and a score that is c times right shows 1/c as the ratio of the two sides. By Tweedie's formula, x0_hat lies among the data.
"""

import math

from torch import Tensor

from cepkit.debugger.factors import advice, finite_rows, fit_factor, known_factor
from cepkit.debugger.findings import STANDARD_ERRORS, Finding, Findings, grade
from cepkit.debugger.scene import Scene
from cepkit.diffusion.process import convert
from cepkit.diffusion.sampling import initial_noise

FULL_NOISE_WARNING = 0.2  # at t = 1 little is left beside -x_t, unless the data are very wide
FACTOR_WARNING = 0.25  # 1 - factor from denoising regression, whose scatter with 500 points is 0.02 to 0.05
OWN_SAMPLES_FACTOR_WARNING = 0.4  # the model's own samples carry the solver's error at small t as well
OUTSIDE_WARNING = 0.05  # denoised points outside; the posterior mean lies in the convex hull of the data
OUTSIDE_MARGIN = 0.25  # of the domain's sides


def check(scene: Scene) -> Findings:
    """Is the score -x_t at full noise, calibrated at every level, and are its denoised points in the domain?"""
    if scene.score is not None:
        yield from _full_noise(scene)
    if scene.clean.data is not None:
        yield from _factor(scene)
        yield from _denoised(scene)


def _full_noise(scene: Scene) -> Findings:
    x = initial_noise((scene.particles, scene.plane.dim), generator=scene.generator("full noise"), dtype=scene.dtype)
    score = scene.score(x, 1.0)
    if score is None or not bool(finite_rows(score).any()):
        return
    fit = fit_factor(score, -x)
    text = f"At full noise (t = 1) the score is {fit.factor:.2f} times -x_t with a residual of {fit.residual:.2f}"
    if fit.error <= FULL_NOISE_WARNING:
        yield Finding("score-at-noise", "ok", text + ", as it must be.", figure=fit.factor, t=1.0)
        return
    if abs(fit.factor) < 0.5:
        remedy = "an x0 or v handed over as a score: neither follows x_t at full noise; convert with cepkit.diffusion.convert"
    elif fit.residual >= FULL_NOISE_WARNING:
        remedy = "another schedule than the model's, data much wider than the noise, or a network that was not trained near t = 1"
    elif fit.factor < 0:
        remedy = "an eps handed over as a score (eps at full noise is +x_t; score = -eps / sigma_t), or a sign flip"
    else:
        remedy = f"a factor of {fit.factor:.2f}: data that are not scaled as in training, or another schedule"
    yield Finding("score-at-noise", "error", text + "; it must be close to -x_t.", figure=fit.factor, t=1.0, remedy=remedy)


def regression_factor(score: Tensor, eps: Tensor, sigma_t: float) -> tuple[float, float]:
    """c such that score / c is calibrated: -sigma_t E|score|^2 / E[score . eps], over pairs (n, D), and its relative error.

    The factor is NaN where it is undefined.
    """
    rows = finite_rows(score)
    s, e = score[rows].double(), eps[rows].double()
    cross, square = (s * e).sum(-1), s.square().sum(-1)
    mean = float(cross.mean()) if len(cross) > 1 else 0.0
    if mean == 0.0:
        return math.nan, math.inf
    factor = -sigma_t * float(square.mean()) / mean
    # the two means rise and fall together, so the scatter is that of their difference
    return factor, float((cross / mean - square / square.mean()).std()) / math.sqrt(len(cross))


def _factor(scene: Scene) -> Findings:
    fits = {
        t: regression_factor(score, scene.clouds[t].eps, float(scene.schedule.sigma(t)))
        for t, (score,) in scene.fields("data score").items()
    }
    fits = {t: fit for t, fit in fits.items() if math.isfinite(fit[0])}
    if not fits:
        return
    factors = {t: factor for t, (factor, _) in fits.items()}
    scene.keep_curve("regression_factor", factors)
    t = max(factors, key=lambda t: abs(math.log(max(abs(factors[t]), 1e-9))) + 10 * (factors[t] < 0))
    source = scene.clean.source
    tolerance = OWN_SAMPLES_FACTOR_WARNING if source.startswith("the model") else FACTOR_WARNING
    text = f"Against the noise in points drawn from {source} the score is {factors[t]:.2f} times the right one at t = {t:g}"
    if all(abs(c - 1) <= max(tolerance, STANDARD_ERRORS * scatter) for c, scatter in fits.values()):
        yield Finding("score-factor", "ok", f"{text}, within the {tolerance:.0%} allowed.", figure=factors[t], t=t)
        return
    name = known_factor(factors, scene.schedule)
    values = ", ".join(f"{c:.2f} at t = {u:g}" for u, c in factors.items())
    text = f"{text} ({values})" + (f", which is {name}." if name else ".")
    remedy = advice(name) if name else "another parametrisation (eps, x0, v), another schedule, or data other than the model's"
    severity = "error" if name or min(factors.values()) < 0 else "warning"
    yield Finding("score-factor", severity, text, figure=factors[t], t=t, remedy=remedy)


def _denoised(scene: Scene) -> Findings:
    found = {}  # the share of denoised points outside the domain, and these points, at each level
    for t, (score,) in scene.fields("data score").items():
        x0 = scene.plane.coordinates(convert(score, "score", "x0", scene.clouds[t].x, t, scene.schedule))
        x0 = x0[finite_rows(x0)]
        outside = scene.domain.outside(x0, OUTSIDE_MARGIN)
        found[t] = float(outside.float().mean()), x0[outside]
    if found:
        t = max(found, key=lambda t: found[t][0])
        share, out = found[t]
        text = f"At most {share:.1%} of the denoised points x0_hat lie outside the domain, at t = {t:g}."
        remedy = "a wrong parametrisation or a missing alpha_t or sigma_t in the score, or a domain smaller than the data"
        at = out.median(0).values if len(out) else None
        yield Finding("tweedie", grade(share, warning=OUTSIDE_WARNING), text, figure=share, t=t, x=at, remedy=remedy)
