"""A score whose denoised points do not lie among the data, by Tweedie's formula."""

from cepkit.debugger.factors import finite_rows
from cepkit.debugger.findings import Finding, Findings, grade
from cepkit.debugger.scene import Scene
from cepkit.debugger.thresholds import OUTSIDE_MARGIN, OUTSIDE_WARNING
from cepkit.diffusion.process import convert


def check(scene: Scene) -> Findings:
    """Do the denoised points x0_hat lie in the domain?"""
    if scene.clean.data is None:
        return
    shares, denoised = {}, {}
    for t, (score,) in scene.fields("data score").items():
        x0 = scene.plane.coordinates(convert(score, "score", "x0", scene.clouds[t].x, t, scene.schedule))
        denoised[t] = x0[finite_rows(x0)]
        shares[t] = float(scene.domain.outside(denoised[t], OUTSIDE_MARGIN).float().mean())
    if not shares:
        return
    t = max(shares, key=shares.get)
    text = f"At most {shares[t]:.1%} of the denoised points x0_hat lie outside the domain, at t = {t:g}."
    out = denoised[t][scene.domain.outside(denoised[t], OUTSIDE_MARGIN)]
    remedy = "a wrong parametrisation or a missing alpha_t or sigma_t in the score, or a domain smaller than the data"
    at = out.median(0).values if len(out) else None
    yield Finding("tweedie", grade(shares[t], warning=OUTSIDE_WARNING), text, figure=shares[t], t=t, x=at, remedy=remedy)
