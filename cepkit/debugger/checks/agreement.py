"""Checks of one field against another: the guidance against its own energy, guidance and score against the truth."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger import thresholds as limit
from cepkit.debugger.calls import Probe
from cepkit.debugger.checks.factors import Diagnosis, advice, diagnose
from cepkit.debugger.findings import Finding, Outcome, finding
from cepkit.debugger.scene import Scene, rms

_GRADIENT_POINTS = 256  # finite differences take 2 D calls each


def minus_gradient(energy: Probe, x: Tensor, t: float, reach: float) -> tuple[Tensor | None, str]:
    """-grad of an energy at x (n, D), by automatic differentiation or else by central differences, and which of the two.

    Args:
        reach: a length of the domain, from which the step of the differences follows.
    """
    leaf = x.detach().clone().requires_grad_(True)
    value = energy.with_graph(leaf, t)
    if value is not None and value.requires_grad and value.shape == x.shape[:-1]:
        try:
            (gradient,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
        except RuntimeError:  # an in-place change, or a formula without a derivative
            gradient = None
        if gradient is not None:
            return -gradient.detach(), "automatic differentiation"
    double = energy.is_double(x[:64].double(), t)
    x, step = (x.double(), 1e-5 * reach) if double else (x, 1e-2 * reach)
    columns = []
    for axis in range(x.shape[-1]):
        shift = torch.zeros_like(x[:1])
        shift[:, axis] = step
        ahead, behind = energy(x + shift, t, quiet=True), energy(x - shift, t, quiet=True)
        if ahead is None or behind is None:
            return None, "finite differences"
        columns.append((behind - ahead) / (2 * step))
    return torch.stack(columns, -1).to(leaf), "finite differences"


def check_energy_gradient(scene: Scene) -> Outcome:
    """Is the guidance minus the gradient of the given energy?"""
    if scene.energy is None or scene.guidance is None:
        return Outcome()
    pairs, how = {}, ""
    for t in scene.times:
        guidance = scene.on_cloud("guidance", t)
        if guidance is None:
            continue
        gradient, how = minus_gradient(scene.energy, scene.clouds[t].guided[:_GRADIENT_POINTS], t, scene.domain.reach)
        if gradient is not None:
            pairs[t] = (guidance[:_GRADIENT_POINTS], gradient)
    if not pairs:
        return Outcome()
    # central differences in float32 carry errors of about a hundredth themselves
    tolerance = limit.GRADIENT_TOLERANCE * (1 if how != "finite differences" else 2)
    diagnosis = diagnose(pairs, scene.schedule, tolerance=tolerance)
    verdict = _verdict("energy-gradient", scene, diagnosis, pairs, f"minus the gradient of your energy ({how})")
    return Outcome((verdict,), _arrays("energy_factor", diagnosis))


def check_against_density(scene: Scene) -> Outcome:
    """Is the score the gradient of the log density that was given in place of a truth?"""
    if scene.score is None or scene.truth is not None or not isinstance(scene.support, Probe):
        return Outcome()
    pairs, how = {}, ""
    for t in scene.times:
        x = scene.clouds[t].x[:_GRADIENT_POINTS]
        score, (downhill, how) = scene.score(x, t), minus_gradient(scene.support, x, t, scene.domain.reach)
        if score is not None and downhill is not None:
            pairs[t] = (score, -downhill)
    if not pairs:
        text = "The log density gave nothing of use to compare the score with."
        return Outcome((finding("density-score", "note", text, remedy="it must return (n,) for x_t (n, D)"),))
    diagnosis = diagnose(pairs, scene.schedule, tolerance=limit.TRUTH_NOTE)
    verdict = _verdict("density-score", scene, diagnosis, pairs, f"the gradient of your log density ({how})")
    return Outcome((verdict,), _arrays("density_factor", diagnosis))


def check_reference(scene: Scene) -> Outcome:
    """Says what cannot be known: without an energy or a truth nothing tells a wrong sign or factor of the guidance."""
    if scene.guidance is None or scene.energy is not None or scene.truth is not None:
        return Outcome()
    text = "Neither an energy nor a truth was given, so a wrong sign or factor of the guidance would go unseen."
    return Outcome((finding("reference", "note", text, remedy="give energy=... or truth=... and beta=..."),))


def check_against_truth(scene: Scene) -> Outcome:
    """The guidance and the score against the exact ones, along t and over x."""
    if scene.truth is None:
        return Outcome()
    guided, scores, weights, arrays = {}, {}, {}, {}
    for t in scene.times:
        exact, cloud = scene.on_cloud("exact", t), scene.clouds[t]
        exact_score = scene.truth.score(cloud.guided, t, scene.schedule)
        weights[t] = 1.0 if rms(exact) > limit.NEGLIGIBLE_SHARE * rms(exact_score) else 0.0
        if (guidance := scene.on_cloud("guidance", t)) is not None:
            guided[t] = (guidance, exact)
        if (score := scene.on_cloud("score", t)) is not None:
            scores[t] = (score, exact_score)
    findings = []
    if guided:
        diagnosis = diagnose(guided, scene.schedule, tolerance=limit.TRUTH_NOTE, weights=weights)
        findings.append(_verdict("truth-guidance", scene, diagnosis, guided, "the exact guidance"))
        arrays |= _arrays("guidance_factor", diagnosis)
        arrays["guidance_error"] = np.array([fit.error for fit in diagnosis.fits.values()])
        arrays |= _error_maps(scene)
    if scores:
        diagnosis = diagnose(scores, scene.schedule, tolerance=limit.TRUTH_NOTE)
        findings.append(_verdict("truth-score", scene, diagnosis, scores, "the exact score"))
        arrays |= _arrays("score_factor", diagnosis)
        arrays["score_error"] = np.array([fit.error for fit in diagnosis.fits.values()])
    return Outcome(tuple(findings), arrays)


def _arrays(name: str, diagnosis: Diagnosis) -> dict[str, np.ndarray]:
    fits = diagnosis.fits
    return {f"{name}_times": np.array(list(fits)), name: np.array([fit.factor for fit in fits.values()])}


def _error_maps(scene: Scene) -> dict[str, np.ndarray]:
    """|guidance - exact| relative to the exact field's RMS over p_t, (T, side, side)."""
    maps = []
    for t in scene.times:
        guidance = scene.on_grid("guidance", t)
        if guidance is None:
            return {}
        error = (guidance - scene.on_grid("exact", t)).norm(dim=-1) / max(rms(scene.on_cloud("exact", t)), 1e-12)
        maps.append(scene.picture(error))
    return {"error_map": np.stack(maps)}


def _verdict(
    check: str, scene: Scene, diagnosis: Diagnosis, pairs: dict[float, tuple[Tensor, Tensor]], reference: str
) -> Finding:
    """The finding of a comparison."""
    subject = "score" if check.endswith("score") else "guidance"
    t, error = diagnosis.worst, diagnosis.error
    given, exact = pairs[t]
    fit = diagnosis.fits[t]
    cloud = scene.clouds[t]
    points = (cloud.x if check == "density-score" else cloud.guided)[: len(given)]
    at = scene.plane.coordinates(points[(given - exact).norm(dim=-1).nan_to_num().argmax()])
    where = f"at t = {t:g}, most at x = ({float(at[0]):.2f}, {float(at[1]):.2f})"
    if diagnosis.kind == "same":
        text = f"The {subject} agrees with {reference}: the relative error is at most {error:.2g}, at t = {t:g}."
        return finding(check, "ok", text, figure=error, t=t)
    if diagnosis.kind == "zero":
        text = f"The {subject} is zero where {reference} is not."
        remedy = "a piecewise constant energy differentiated at one point (DPS), or a graph cut by detach() or no_grad"
        return finding(check, "error", text, figure=error, t=t, x=at, remedy=remedy)
    if diagnosis.kind == "flat":
        text = f"The {subject} is not zero, but {reference} is, at every noise level."
        remedy = "it is constant where it was looked at, or its graph is cut by detach() or no_grad"
        return finding(check, "error", text, t=t, x=at, remedy=remedy)
    if diagnosis.kind == "sign":
        text = f"The {subject} is opposite to {reference}, a sign flip: their cosine is {fit.cosine:.3f} at t = {t:g}."
        return finding(check, "error", text, figure=fit.cosine, t=t, x=at, remedy=advice("-1"))
    if diagnosis.kind == "factor":
        factors = ", ".join(f"{f.factor:.3g} at t = {u:g}" for u, f in _few(diagnosis))
        if diagnosis.factor:
            text = f"The {subject} is c(t) times {reference} with c(t) = {diagnosis.factor}: {factors}."
            return finding(check, "error", text, figure=fit.factor, t=t, x=at, remedy=advice(diagnosis.factor))
        text = f"The {subject} is a factor times {reference}, which depends on t and matches none that is known: {factors}."
        remedy = "right in direction, wrong in size: look for a weight w(t)"
        return finding(check, "error", text, figure=fit.factor, t=t, x=at, remedy=remedy)
    severity = "note"
    if check == "energy-gradient" or error > limit.TRUTH_WARNING:
        severity = "error" if error > limit.TRUTH_ERROR else "warning"
    text = f"The {subject} differs from {reference} by {error:.2g} of its size {where} (cosine {fit.cosine:.2f})."
    remedies = {
        "energy-gradient": "the two are not of one energy: another beta, another t, or a detached part of the graph",
        "truth-guidance": "an approximation, too little training, or another beta than the truth's",
        "truth-score": "another schedule, another parametrisation, or too little training",
        "density-score": "another schedule, another parametrisation, or another density than the model's",
    }
    return finding(check, severity, text, figure=error, t=t, x=at, remedy=remedies[check])


def _few(diagnosis: Diagnosis) -> list:
    """The first, the middle and the last level."""
    items = list(diagnosis.fits.items())
    return [items[i] for i in sorted({0, len(items) // 2, len(items) - 1})]
