"""A score with a wrong factor, found without the exact score by denoising regression.

At every level the score is -E[eps | x_t] / sigma_t, so over pairs (x_t, eps)

    E[score . eps] = -sigma_t E|score|^2,

and a score that is c times right shows 1/c as the ratio of the two sides.
"""

import math

from torch import Tensor

from cepkit.debugger import thresholds
from cepkit.debugger.factors import advice, finite_rows, known_factor
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene


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


def check(scene: Scene) -> Findings:
    """Is the score calibrated, or an eps, or a score without its factor?"""
    if scene.clean.data is None:
        return
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
    tolerance = thresholds.OWN_SAMPLES_FACTOR_WARNING if source.startswith("the model") else thresholds.SCORE_FACTOR_WARNING
    text = f"Against the noise in points drawn from {source} the score is {factors[t]:.2f} times the right one at t = {t:g}"
    if all(abs(c - 1) <= max(tolerance, thresholds.STANDARD_ERRORS * scatter) for c, scatter in fits.values()):
        yield Finding("score-factor", "ok", f"{text}, within the {tolerance:.0%} allowed.", figure=factors[t], t=t)
        return
    name = known_factor(factors, scene.schedule)
    values = ", ".join(f"{c:.2f} at t = {u:g}" for u, c in factors.items())
    text = f"{text} ({values})" + (f", which is {name}." if name else ".")
    remedy = advice(name) if name else "another parametrisation (eps, x0, v), another schedule, or data other than the model's"
    severity = "error" if name or min(factors.values()) < 0 else "warning"
    yield Finding("score-factor", severity, text, figure=factors[t], t=t, remedy=remedy)
