"""A guidance that drowns the score, or that is zero."""

from torch import Tensor

from cepkit.debugger.factors import ZERO_SHARE, finite_rows, rms
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene

# RMS of scale * guidance over RMS of the score at points of p_t: 0.4 to 1.6 on the toys at beta = 3, up to 5 at beta = 10.
WARNING = 3.0
ERROR = 10.0
BESIDE_EXACT = 2.0  # with a truth, a large ratio is a fault only if the exact guidance has not nearly the same one


def norm_ratio(score: Tensor, guidance: Tensor) -> float:
    """RMS of the guidance over RMS of the score at the same points (n, D), rows that are not finite left out."""
    rows = finite_rows(score, guidance)
    return rms(guidance[rows]) / max(rms(score[rows]), 1e-30)


def check(scene: Scene) -> Findings:
    """Is the guidance far stronger than the score, or nothing at all?"""
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
    yield _zero(given, exact)
    yield _ratio(scene, t, ratios[t], exact.get(t))


def _zero(ratios: dict[float, float], exact: dict[float, float]) -> Finding:
    silent = [t for t, ratio in ratios.items() if ratio < ZERO_SHARE]
    if len(silent) < len(ratios) or (exact and max(exact.values()) < ZERO_SHARE):
        text = f"The guidance is zero at {len(silent)} of {len(ratios)} noise levels."
        return Finding("zero-guidance", "note" if silent else "ok", text, figure=len(silent) / len(ratios))
    text = f"The guidance is zero at every noise level from t = {silent[0]:g} to {silent[-1]:g}, so it steers nothing."
    remedy = (
        "a piecewise constant energy (class labels, a table) has gradient zero almost everywhere, and DPS sees nothing else: "
        "learn the intermediate energy instead; or the graph is cut by detach() or no_grad"
    )
    return Finding("zero-guidance", "error", text, figure=0.0, remedy=remedy)


def _ratio(scene: Scene, t: float, ratio: float, exact: float | None) -> Finding:
    """The finding on the level t with the largest ratio."""
    name = "the guidance" if scene.scale == 1 else f"{scene.scale:g} times the guidance"
    beside = "" if exact is None else f" (the exact guidance: {exact:.2g})"
    points = scene.clean.source if exact is None else "p_t"
    text = f"The size of {name} reaches {ratio:.2g} times the score's at t = {t:g}{beside}, over points drawn from {points}."
    if ratio <= WARNING or (exact is not None and ratio <= BESIDE_EXACT * exact):
        return Finding("norm-ratio", "ok", text, figure=ratio, t=t)
    if exact is None:
        share = WARNING / ratio * scene.scale
        remedy = f"the scale is too large, or the guidance lacks a factor; a scale of about {share:.2g} would be within bounds"
    elif scene.scale != 1.0:
        remedy = f"only scale 1 with the exact guidance samples the target, and the scale here is {scene.scale:g}"
    else:
        remedy = f"the guidance is {ratio / exact:.2g} times as strong as the exact one: a missing factor, or another beta"
    score, guidance = scene.fields("score", "guidance")[t]
    worst = (guidance.norm(dim=-1) / score.norm(dim=-1).clamp_min(rms(score))).nan_to_num().argmax()
    severity = "error" if ratio > ERROR else "warning"
    at = scene.plane.coordinates(scene.clouds[t].guided[worst])
    return Finding("norm-ratio", severity, text, figure=ratio, t=t, x=at, remedy=remedy)
