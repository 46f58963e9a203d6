"""A guidance that drowns the score, that is zero, or that points out of the data."""

import torch
from torch import Tensor

from cepkit.debugger.factors import ZERO_SHARE, finite_rows, fit_factor, rms
from cepkit.debugger.findings import Finding, Findings, grade
from cepkit.debugger.scene import Scene
from cepkit.debugger.slices import MARGIN
from cepkit.diffusion.process import convert

# RMS of scale * guidance over RMS of the score at points of p_t: 0.4 to 1.6 on the toys at beta = 3, up to 5 at beta = 10. It
# grows with beta, so without a truth it says nothing.
WARNING = 3.0
ERROR = 10.0
OUTSIDE_WARNING = 0.05  # share of the denoised points: 0 with exact guidance at any beta, 0.15 to 1 with most faults
OUTSIDE_ERROR = 0.5
AGREES = 0.05  # relative error beside the given energy's gradient
ROUNDING = 1e-6  # relative to the size of an energy
BESIDE_EXACT = 2.0  # with a truth, a large ratio is a fault only if the exact guidance has not nearly the same one

POINTS = 64  # for the gradient of an energy


def norm_ratio(score: Tensor, guidance: Tensor) -> float:
    """RMS of the guidance over RMS of the score at the same points (n, D), rows that are not finite left out."""
    rows = finite_rows(score, guidance)
    return rms(guidance[rows]) / max(rms(score[rows]), 1e-30)


def check(scene: Scene) -> Findings:
    """Is the guidance far stronger than the score, or nothing at all, or does it point out of the data?"""
    fields = scene.fields("score", "guidance")
    if not fields:
        return
    given = {t: norm_ratio(score, guidance) for t, (score, guidance) in fields.items()}
    ratios = {t: abs(scene.scale) * ratio for t, ratio in given.items()}
    scene.keep_curve("ratio", ratios)
    exact = {}
    if scene.truth is not None:
        exact = {t: norm_ratio(score, force) for t, (score, force) in scene.fields("score", "exact").items()}
        scene.keep_curve("exact_ratio", exact)
    t = max(ratios, key=ratios.get)
    score, guidance = scene.on_grid("score", t), scene.on_grid("guidance", t)
    if score is not None and guidance is not None:
        share = guidance.norm(dim=-1) / score.norm(dim=-1).clamp_min(0.05 * max(rms(score), 1e-30))
        scene.keep_map("log_ratio_map", (abs(scene.scale) * share).clamp_min(1e-4).log10(), t)
    yield _zero(scene, given, exact)
    yield _ratio(scene, t, ratios[t], exact.get(t))
    if not exact:
        yield _guided_mean(scene)


def _zero(scene: Scene, ratios: dict[float, float], exact: dict[float, float]) -> Finding:
    silent = [t for t, ratio in ratios.items() if ratio < ZERO_SHARE]
    share = len(silent) / len(ratios)
    if share < 1.0:
        text = f"The guidance is zero at {len(silent)} of {len(ratios)} noise levels."
        return Finding("zero-guidance", "note" if silent else "ok", text, figure=share)
    text = f"The guidance is zero at every noise level from t = {silent[0]:g} to {silent[-1]:g}, so it steers nothing."
    if exact:
        constant = max(exact.values()) < ZERO_SHARE
    elif scene.energy is not None:
        constant = _is_constant(scene, silent)
    else:  # what is computed comes out as zero but for rounding; what is cut off, as zero
        constant = any(bool(field.any()) for (field,) in scene.fields("guidance").values()) or None
    if constant:
        return Finding("zero-guidance", "note", f"{text} It is right for an energy that does not depend on x.", figure=0.0)
    remedy = (
        "right only for a constant energy; else a piecewise constant one (class labels, a table), whose gradient is zero almost "
        "everywhere and of which DPS sees nothing: learn the intermediate energy instead; or a graph cut by detach() or no_grad"
    )
    severity = "warning" if constant is None else "error"
    return Finding("zero-guidance", severity, text, figure=0.0, remedy=remedy, cause="zero")


def _is_constant(scene: Scene, times: list[float]) -> bool | None:
    """Whether the values of the given energy are all the same but for rounding; None if it gives none."""
    values = [scene.energy(scene.clouds[t].x, t, within=0) for t in times]
    values = [value[torch.isfinite(value)] for value in values if value is not None]
    values = [value for value in values if len(value)]
    return all(float(value.std()) <= ROUNDING * max(1.0, float(value.abs().max())) for value in values) if values else None


def _ratio(scene: Scene, t: float, ratio: float, exact: float | None) -> Finding:
    """The finding on the level t with the largest ratio."""
    name = "the guidance" if scene.scale == 1 else f"{scene.scale:g} times the guidance"
    beside = "" if exact is None else f" (the exact guidance: {exact:.2g})"
    points = scene.clean.source if exact is None else "p_t"
    text = f"The size of {name} reaches {ratio:.2g} times the score's at t = {t:g}{beside}, over points drawn from {points}."
    if ratio <= WARNING or (exact is not None and ratio <= BESIDE_EXACT * exact):
        return Finding("norm-ratio", "ok", text, figure=ratio, t=t)
    if exact is None:
        remedy = "it grows with the inverse temperature, and without a truth nobody knows whether it should"
        return Finding("norm-ratio", "note", text, figure=ratio, t=t, remedy=remedy)
    severity = "error" if ratio > ERROR else "warning"
    if scene.scale != 1.0:
        remedy = f"only scale 1 with the exact guidance samples the target, and the scale here is {scene.scale:g}"
    else:
        remedy = f"the guidance is {ratio / exact:.2g} times as strong as the exact one at this level"
    score, guidance = scene.fields("score", "guidance")[t]
    worst = (guidance.norm(dim=-1) / score.norm(dim=-1).clamp_min(rms(score))).nan_to_num().argmax()
    at = scene.plane.coordinates(scene.clouds[t].guided[worst])
    return Finding("norm-ratio", severity, text, figure=ratio, t=t, x=at, remedy=remedy)


def _guided_mean(scene: Scene) -> Finding:
    """The finding on the mean of x_0 given x_t under the target, which lies among the data however cold the target is."""
    shares, places = {}, {}
    for t, (score, guidance) in scene.fields("score", "guidance").items():
        guided = score + scene.scale * guidance
        x0_hats = [convert(field, "score", "x0", scene.clouds[t].guided, t, scene.schedule) for field in (score, guided)]
        before, after = (scene.domain.outside(scene.plane.coordinates(x0_hat), MARGIN) for x0_hat in x0_hats)
        out = after & ~before
        shares[t], places[t] = float(out.float().mean()), scene.plane.coordinates(x0_hats[1][out])
    t = max(shares, key=shares.get)
    text = f"At most {shares[t]:.1%} of the denoised points x0_hat are moved out of the domain by the guidance, at t = {t:g}."
    severity = grade(shares[t], warning=OUTSIDE_WARNING, error=OUTSIDE_ERROR)
    if severity == "ok":
        return Finding("guided-mean", "ok", text, figure=shares[t], t=t)
    if scene.scale == 1.0 and _agrees(scene, t):
        severity = "note"
    remedy = "a right guidance, however strong, leaves them among the data: it is too strong there, or points the wrong way"
    return Finding("guided-mean", severity, text, figure=shares[t], t=t, x=places[t].median(0).values, remedy=remedy)


def _agrees(scene: Scene, t: float) -> bool:
    """Whether the guidance is minus the gradient of the given energy, so that its strength is meant."""
    if scene.energy is None:
        return False
    force, _ = scene.energy.minus_gradient(scene.clouds[t].guided[:POINTS], t, scene.domain.reach)
    return force is not None and fit_factor(scene.fields("guidance")[t][0][:POINTS], force).error <= AGREES
