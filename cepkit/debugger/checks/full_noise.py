"""A score that is wrong at full noise, where it must be -x_t up to what little is left of the data."""

import torch

from cepkit.debugger import thresholds
from cepkit.debugger.factors import finite_rows, fit_factor
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene


def check(scene: Scene) -> Findings:
    """Is the score -x_t at t = 1, where x_t is standard normal?"""
    if scene.score is None:
        return
    generator = scene.generator("full noise")
    x = torch.randn((scene.particles, scene.plane.dim), generator=generator, device=scene.device, dtype=scene.dtype)
    score = scene.score(x, 1.0)
    if score is None or not bool(finite_rows(score).any()):
        return
    fit = fit_factor(score, -x)
    text = f"At full noise (t = 1) the score is {fit.factor:.2f} times -x_t with a residual of {fit.residual:.2f}"
    if fit.error <= thresholds.FULL_NOISE_WARNING:
        yield Finding("score-at-noise", "ok", text + ", as it must be.", figure=fit.factor, t=1.0)
        return
    if abs(fit.factor) < 0.5:
        remedy = "an x0 or v handed over as a score: neither follows x_t at full noise; convert with cepkit.diffusion.convert"
    elif fit.residual >= thresholds.FULL_NOISE_WARNING:
        remedy = "another schedule than the model's, data much wider than the noise, or a network that was not trained near t = 1"
    elif fit.factor < 0:
        remedy = "an eps handed over as a score (eps at full noise is +x_t; score = -eps / sigma_t), or a sign flip"
    else:
        remedy = f"a factor of {fit.factor:.2f}: data that are not scaled as in training, or another schedule"
    yield Finding("score-at-noise", "error", text + "; it must be close to -x_t.", figure=fit.factor, t=1.0, remedy=remedy)
