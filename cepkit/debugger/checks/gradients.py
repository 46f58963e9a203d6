"""Checks of the guidance as a field: its size beside the score, whether it is a gradient, and whether it knows the time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger import thresholds as limit
from cepkit.debugger.calls import Probe
from cepkit.debugger.checks.factors import fit_factor
from cepkit.debugger.findings import Finding, Outcome, finding
from cepkit.debugger.scene import Scene, finite_rows, rms

_JACOBIAN_POINTS = 128  # four calls each; the share of curl is a ratio of two means and needs no more


def norm_ratio(score: Tensor, guidance: Tensor, scale: float) -> float:
    """RMS of scale * guidance over RMS of the score at the same points (n, D), rows that are not finite left out."""
    rows = finite_rows(score, guidance)
    return abs(scale) * rms(guidance[rows]) / max(rms(score[rows]), 1e-30)


def check_norm_ratio(scene: Scene) -> Outcome:
    """Is the guidance far stronger than the score, or nothing at all?"""
    ratios, exact, zero = {}, {}, {}
    for t in scene.times:
        score, guidance = scene.on_cloud("score", t), scene.on_cloud("guidance", t)
        if score is None or guidance is None or not bool(finite_rows(score, guidance).any()):
            continue
        ratios[t] = norm_ratio(score, guidance, scene.scale)
        zero[t] = norm_ratio(score, guidance, 1.0) < limit.ZERO_SHARE
        if scene.truth is not None:
            exact[t] = norm_ratio(score, scene.on_cloud("exact", t), 1.0)
    if not ratios:
        return Outcome()
    arrays = {"ratio_times": np.array(list(ratios)), "ratio": np.array(list(ratios.values()))}
    if exact:
        arrays["exact_ratio"] = np.array(list(exact.values()))
    return Outcome((_zero(scene, zero), _ratio(scene, ratios, exact)), arrays | _ratio_maps(scene))


def _ratio_maps(scene: Scene) -> dict[str, np.ndarray]:
    """The ratio at each point of the picture at each t, (T, side, side)."""
    maps = []
    for t in scene.times:
        score, guidance = scene.on_grid("score", t), scene.on_grid("guidance", t)
        if score is None or guidance is None:
            return {}
        ratio = abs(scene.scale) * guidance.norm(dim=-1) / score.norm(dim=-1).clamp_min(0.05 * max(rms(score), 1e-30))
        maps.append(scene.picture(ratio))
    return {"ratio_map": np.stack(maps)}


def _zero(scene: Scene, zero: dict[float, bool]) -> Finding:
    silent = [t for t, is_zero in zero.items() if is_zero]
    exact = 0.0 if scene.truth is None else max(rms(scene.on_cloud("exact", t)) for t in zero)
    if len(silent) < len(zero) or (scene.truth is not None and exact < limit.ZERO_SHARE):
        text = f"The guidance is zero at {len(silent)} of {len(zero)} noise levels."
        return finding("zero-guidance", "note" if silent else "ok", text, figure=len(silent) / len(zero))
    text = f"The guidance is zero at every noise level looked at (t = {silent[0]:g} to {silent[-1]:g}), so it steers nothing."
    remedy = (
        "a piecewise constant energy (class labels, a table) has gradient zero almost everywhere, which is all that DPS can see: "
        "learn the intermediate energy instead; or the graph is cut by detach() or no_grad"
    )
    return finding("zero-guidance", "error", text, figure=0.0, remedy=remedy)


def _ratio(scene: Scene, ratios: dict[float, float], exact: dict[float, float]) -> Finding:
    t = max(ratios, key=ratios.get)
    worst, what = ratios[t], "the guidance" if scene.scale == 1 else f"{scene.scale:g} times the guidance"
    beside = f" (the exact guidance: {exact[t]:.2g})" if exact else ""
    points = "p_t" if exact else scene.source
    text = f"The size of {what} reaches {worst:.2g} times the score's, at t = {t:g}{beside}, over points drawn from {points}."
    big = worst > limit.RATIO_WARNING and (not exact or worst > limit.RATIO_BESIDE_EXACT * exact[t])
    if not big:
        return finding("norm-ratio", "ok", text, figure=worst, t=t)
    severity = "error" if worst > limit.RATIO_ERROR else "warning"
    share = limit.RATIO_WARNING / worst * scene.scale
    remedy = f"the scale is too large, or the guidance lacks a factor; a scale of about {share:.2g} would be within bounds"
    if exact and scene.scale != 1.0:
        remedy = f"only scale 1 with the exact guidance samples the target, and the scale here is {scene.scale:g}"
    elif exact:
        remedy = f"the guidance is {worst / exact[t]:.2g} times as strong as the exact one: a missing factor, or another beta"
    score, guidance = scene.on_cloud("score", t), scene.on_cloud("guidance", t)
    point = scene.clouds[t].guided[(guidance.norm(dim=-1) / score.norm(dim=-1).clamp_min(rms(score))).nan_to_num().argmax()]
    at = scene.plane.coordinates(point)
    return finding("norm-ratio", severity, text, figure=worst, t=t, x=at, remedy=remedy)


def jacobian_in_plane(field: Probe, x: Tensor, t: float, basis: Tensor, step: float) -> Tensor | None:
    """The Jacobian of the field's components in a plane, by central differences.

    Args:
        x: (n, D).
        basis: (2, D), orthonormal.

    Returns:
        (n, 2, 2), entry [i, j] the derivative of component i along direction j; None where the field fails.
    """
    columns = []
    for direction in basis.to(x):
        ahead, behind = field(x + step * direction, t, quiet=True), field(x - step * direction, t, quiet=True)
        if ahead is None or behind is None:
            return None
        columns.append((ahead - behind) @ basis.to(x).T / (2 * step))
    return torch.stack(columns, -1)


def curl_share(jacobian: Tensor) -> float:
    """|antisymmetric part| / |Jacobian| over points (n, 2, 2) that are finite: 0 for a gradient field, 1 for a rotation."""
    jacobian = jacobian[torch.isfinite(jacobian).flatten(1).all(-1)].double()
    whole = float(jacobian.square().sum())
    return float(((jacobian - jacobian.mT) / 2).square().sum() / whole) ** 0.5 if whole > 0 else 0.0


def check_curl(scene: Scene) -> Outcome:
    """Is the guidance a gradient field? An energy's guidance has no curl."""
    field = scene.guidance
    if field is None or all(scene.on_cloud("guidance", t) is None for t in scene.times):
        return Outcome()
    sample = scene.clouds[scene.times[0]].guided
    double = field.is_double(sample[:64].double(), scene.times[0])
    step = scene.domain.reach * (limit.CURL_STEP_DOUBLE if double else limit.CURL_STEP_SINGLE)
    shares, worst_x = {}, {}
    for t in scene.times:
        x = scene.clouds[t].guided[:_JACOBIAN_POINTS]
        jacobian = jacobian_in_plane(field, x.double() if double else x, t, scene.plane.basis, step)
        if jacobian is None or rms(jacobian.flatten(1)) * scene.domain.reach < limit.ZERO_SHARE:
            continue
        shares[t] = curl_share(jacobian)
        if not double and shares[t] > limit.CURL_WARNING:
            # rounding falls with a wider step and truncation with a narrower one; a rotation stays
            wider = jacobian_in_plane(field, x, t, scene.plane.basis, limit.CURL_WIDER * step)
            shares[t] = shares[t] if wider is None else min(shares[t], curl_share(wider))
        worst_x[t] = x[(jacobian[:, 0, 1] - jacobian[:, 1, 0]).abs().nan_to_num().argmax()]
    if not shares:
        return Outcome()
    t = max(shares, key=shares.get)
    arrays = {"curl_times": np.array(list(shares)), "curl": np.array(list(shares.values()))}
    arrays |= _curl_map(scene, field, t, step, double)
    text = f"The curl of the guidance is at most {shares[t]:.1%} of its Jacobian, at t = {t:g}"
    if shares[t] <= limit.CURL_WARNING:
        return Outcome((finding("curl", "ok", text + ": a gradient field.", figure=shares[t], t=t),), arrays)
    severity = "error" if shares[t] > limit.CURL_ERROR else "warning"
    at = scene.plane.coordinates(worst_x[t])
    text = f"{text}, most at x = ({float(at[0]):.2f}, {float(at[1]):.2f}): no energy has such a gradient."
    remedy = "a network with a vector for output need not be a gradient: differentiate an energy instead; or a swapped index"
    return Outcome((finding("curl", severity, text, figure=shares[t], x=at, t=t, remedy=remedy),), arrays)


def _curl_map(scene: Scene, field: Probe, t: float, step: float, double: bool) -> dict[str, np.ndarray]:
    """The curl at the picture's points relative to the Jacobian's typical size, (side, side)."""
    x = scene.grid.double() if double else scene.grid
    jacobian = jacobian_in_plane(field, x, t, scene.plane.basis, step)
    if jacobian is None:
        return {}
    curl = (jacobian[:, 1, 0] - jacobian[:, 0, 1]) / max(rms(jacobian.flatten(1)), 1e-30) / 2**0.5
    return {"curl_map": scene.picture(curl), "curl_map_time": np.array(t)}


def check_time_dependence(scene: Scene) -> Outcome:
    """Does the guidance know the noise level? One that was made on clean data only does not."""
    guidance = scene.guidance
    if guidance is None or len(scene.times) < 2:
        return Outcome()
    x = scene.clouds[scene.times[len(scene.times) // 2]].guided
    values = {t: guidance(x, t, quiet=True) for t in scene.times}
    values = {t: value for t, value in values.items() if value is not None and bool(torch.isfinite(value).all(-1).any())}
    if len(values) < 2 or rms(next(iter(values.values()))) < limit.ZERO_SHARE:
        return Outcome()
    change, shape = _changes(values)
    arrays = {"change_times": np.array(list(values)), "change": np.array(change)}
    figure, shape = max(change), max(shape)
    first, last = min(values), max(values)
    exact = exact_shape = None
    if scene.truth is not None:
        truth = {t: scene.truth.guidance(x, t, scene.beta, scene.schedule) for t in values}
        exact, exact_shape = _changes(truth)
        arrays["exact_change"] = np.array(exact)
        exact, exact_shape = max(exact), max(exact_shape)
    span = f"between t = {first:g} and t = {last:g}"
    if figure < limit.TIME_CHANGE and (exact is None or exact > limit.TIME_CHANGE_EXACT):
        beside = "" if exact is None else f", while the exact guidance changes by {exact:.0%}"
        text = f"The guidance at the same x changes by only {figure:.1%} {span}{beside}."
        remedy = (
            "it looks like an energy or classifier of clean data evaluated at x_t as if it were x_0, or a t that is ignored: "
            "E_t depends on the noise level, so train on noisy points with t as an input"
        )
        return Outcome((finding("time-dependence", "warning", text, figure=figure, t=last, remedy=remedy),), arrays)
    if shape < limit.TIME_CHANGE and (exact_shape is None or exact_shape > limit.TIME_CHANGE_EXACT):
        severity = "note" if exact_shape is None else "warning"
        text = f"The guidance at the same x changes {span} only by a factor; its shape stays within {shape:.1%}."
        remedy = "it looks like an energy of clean data evaluated at x_t with a weight that depends on t"
        return Outcome((finding("time-dependence", severity, text, figure=shape, t=last, remedy=remedy),), arrays)
    text = f"The guidance at the same x changes by {figure:.0%} {span}, so it knows the noise level."
    return Outcome((finding("time-dependence", "ok", text, figure=figure),), arrays)


def _changes(values: dict[float, Tensor]) -> tuple[list[float], list[float]]:
    """Of each field relative to the first: the relative change, and what remains of it after the best factor."""
    reference = next(iter(values.values()))
    fits = [fit_factor(value, reference) for value in values.values()]
    return [fit.error for fit in fits], [fit.residual for fit in fits]
