"""A score that is not -x_t at full noise, or whose denoised points, means of data by Tweedie's formula, lie outside the data."""

import torch

from cepkit.debugger.explanations.coordinates import matrix_words
from cepkit.debugger.factors import finite_rows, fit_factor
from cepkit.debugger.findings import Finding, Findings, grade
from cepkit.debugger.scene import Scene
from cepkit.diffusion.process import convert
from cepkit.diffusion.sampling import initial_noise

FULL_NOISE_WARNING = 0.2  # at t = 1 little is left beside -x_t, unless the data are very wide
OUTSIDE_WARNING = 0.05  # denoised points outside; the posterior mean lies in the convex hull of the data
OUTSIDE_MARGIN = 0.25  # of the domain's sides


def check(scene: Scene) -> Findings:
    """Is the score -x_t at full noise, and are its denoised points in the domain?"""
    if scene.score is not None:
        yield from _full_noise(scene)
    if scene.clean.data is not None:
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
    rows, cause = finite_rows(score), ""
    named = matrix_words(torch.linalg.lstsq(-x[rows].double(), score[rows].double()).solution.T)
    if named and named[0] == "coordinate dropped":
        cause, remedy = named[0], f"the score {named[1]}: pass all coordinates on"
    else:
        remedy = "compare: there an eps is about +x_t, an x0 or v about 0, and a score in other units a multiple of -x_t"
    yield Finding(
        "score-at-noise", "error", text + "; it must be close to -x_t.", figure=fit.factor, t=1.0, remedy=remedy, cause=cause
    )


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
