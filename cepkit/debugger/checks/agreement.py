"""A guidance or score that is not what an energy or the truth says: the negative, a factor apart, or another field."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from cepkit.debugger.factors import ZERO_SHARE, FactorFit, advice, fit_factor, known_factor, rms
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene
from cepkit.diffusion.schedules import Schedule

# Error relative to the exact field (1 is as bad as none). Networks trained for half a minute reach 0.06, 0.2 at small t;
# the mean energy has 0.7.
TRUTH_NOTE = 0.15
TRUTH_WARNING = 0.3
TRUTH_ERROR = 0.9
GRADIENT_TOLERANCE = 0.02  # guidance and its own energy's gradient come from one formula: only rounding may separate them
NEGLIGIBLE_SHARE = 0.05  # a noise level whose exact guidance is below this share of the score does not decide
FACTOR_RESIDUAL = 0.1  # a fitted factor explains a difference if what remains is at most this
SIGN_COSINE = -0.9

_POINTS = 256  # for the gradient of an energy, whose finite differences take 2 D calls each
Pairs = Mapping[float, tuple[Tensor, Tensor]]  # (given, reference) at each t, (n, D) each


def check(scene: Scene) -> Findings:
    """Are the guidance and the score what the energy and the truth say? Without both, say what stays unknown."""
    if scene.guidance is not None and scene.energy is not None:
        yield from _energy_gradient(scene)
    elif scene.guidance is not None and scene.truth is None:
        text = "Neither an energy nor a truth was given, so a wrong sign or factor of the guidance would go unseen."
        yield Finding("reference", "note", text, remedy="give energy=..., or truth=... and beta=...")
    if scene.truth is not None:
        yield from _exact_fields(scene)


def _energy_gradient(scene: Scene) -> Findings:
    pairs = {}
    for t, (guidance,) in scene.fields("guidance").items():
        force, how = scene.energy.minus_gradient(scene.clouds[t].guided[:_POINTS], t, scene.domain.reach)
        if force is not None:
            pairs[t] = (guidance[:_POINTS], force)
    if pairs:
        # central differences in float32 carry errors of about a hundredth themselves
        tolerance = GRADIENT_TOLERANCE * (2 if how == "finite differences" else 1)
        remedy = "the two are not of one energy: another beta, another t, or a detached part of the graph"
        reference = f"minus the gradient of your energy ({how})"
        diagnosis = diagnose(pairs, scene.schedule, tolerance=tolerance)
        yield _finding(scene, "energy-gradient", pairs, diagnosis, reference, remedy)


def _exact_fields(scene: Scene) -> Findings:
    guidance, score = scene.fields("guidance", "exact"), scene.fields("score", "exact score")
    if guidance:
        exact = scene.fields("exact", "exact score")
        negligible = frozenset(t for t, (force, score) in exact.items() if rms(force) <= NEGLIGIBLE_SHARE * rms(score))
        remedy = "an approximation, too little training, or another beta than the truth's"
        diagnosis = diagnose(guidance, scene.schedule, tolerance=TRUTH_NOTE, negligible=negligible)
        yield _finding(scene, "truth-guidance", guidance, diagnosis, "the exact guidance", remedy)
        t = diagnosis.worst
        drawn = scene.on_grid("guidance", t)
        if drawn is not None:
            error = (drawn - scene.on_grid("exact", t)).norm(dim=-1) / max(rms(guidance[t][1]), 1e-12)
            scene.keep_map("error_map", error, t)
    if score:
        remedy = "another schedule, another parametrisation, or too little training"
        diagnosis = diagnose(score, scene.schedule, tolerance=TRUTH_NOTE)
        yield _finding(scene, "truth-score", score, diagnosis, "the exact score", remedy)


class Diagnosis(NamedTuple):
    """How a field relates to its reference."""

    kind: str  # "same", "zero" (the given field is zero), "flat" (the reference is zero), "sign", "factor" or "different"
    fits: dict[float, FactorFit]  # one for each t that could be compared
    factor: str  # the factor's name where `known_factor` found one, else ""
    worst: float  # the t of the largest error among those that count


def diagnose(pairs: Pairs, schedule: Schedule, *, tolerance: float, negligible: frozenset[float] = frozenset()) -> Diagnosis:
    """Compare given and reference fields, at least one level.

    Args:
        tolerance: the largest relative error that counts as the same.
        negligible: levels that are fitted but do not decide, unless there are no others.
    """
    fits = {t: fit_factor(given, reference) for t, (given, reference) in pairs.items()}
    counts = [t for t in fits if t not in negligible] or list(fits)
    size = {t: float(pairs[t][1].nan_to_num(posinf=0.0, neginf=0.0).square().mean()) for t in counts}
    largest = max(size.values())
    counts = [t for t in counts if size[t] >= ZERO_SHARE * largest]
    worst = max(counts, key=lambda t: fits[t].error)
    kept = [fits[t] for t in counts]
    kind, name = "different", ""
    if fits[worst].error <= tolerance:
        kind = "same"
    elif largest == 0.0:
        kind = "flat"
    elif all(fit.factor == 0.0 for fit in kept):
        kind = "zero"
    elif max(fit.residual for fit in kept) <= FACTOR_RESIDUAL:
        name = known_factor({t: fits[t].factor for t in counts}, schedule) or ""
        kind = {"-1": "sign", "1": "different"}.get(name, "factor")
    elif all(math.isfinite(fit.cosine) and fit.cosine < SIGN_COSINE for fit in kept):
        kind = "sign"
    return Diagnosis(kind, fits, name, worst)


def _finding(scene: Scene, check: str, pairs: Pairs, diagnosis: Diagnosis, reference: str, remedy: str) -> Finding:
    """Say how the guidance or the score relates to its `reference`, and keep the fitted factors and errors as curves.

    The pairs are fields at the points where the guidance is looked at. The `remedy` is for a difference without a simpler name.
    """
    fits, t = diagnosis.fits, diagnosis.worst
    subject = "score" if check == "truth-score" else "guidance"
    name = "energy" if check == "energy-gradient" else subject
    scene.keep_curve(f"{name}_factor", {u: fit.factor for u, fit in fits.items()})
    scene.keep_curve(f"{name}_error", {u: fit.error for u, fit in fits.items()})
    fit, (given, exact) = fits[t], pairs[t]
    at = scene.plane.coordinates(scene.clouds[t].guided[(given - exact).norm(dim=-1).nan_to_num().argmax()])
    severity, figure = "error", fit.error
    if diagnosis.kind == "same":
        severity = "ok"
        text = f"The {subject} agrees with {reference}. The relative error is at most {fit.error:.2g}, at t = {t:g}."
    elif diagnosis.kind == "zero":
        text = f"The {subject} is zero where {reference} is not."
        remedy = "a piecewise constant energy differentiated at one point (DPS), or a graph cut by detach() or no_grad"
    elif diagnosis.kind == "flat":
        text = f"The {subject} is not zero, but {reference} is, at every noise level."
        figure, remedy = None, "it is constant at the points looked at, or its graph is cut by detach() or no_grad"
    elif diagnosis.kind == "sign":
        text = f"The {subject} is opposite to {reference}, a sign flip. Their cosine is {fit.cosine:.3f} at t = {t:g}."
        figure, remedy = fit.cosine, advice("-1")
    elif diagnosis.kind == "factor":
        times = list(fits)
        shown = [times[i] for i in sorted({0, len(times) // 2, len(times) - 1})]
        values = ", ".join(f"{fits[u].factor:.3g} at t = {u:g}" for u in shown)
        form = f"c(t) = {diagnosis.factor}" if diagnosis.factor else "a c(t) that matches no known factor"
        text = f"The {subject} is c(t) times {reference} with {form}: {values}."
        figure = fit.factor
        remedy = advice(diagnosis.factor) if diagnosis.factor else "right in direction, wrong in size: look for a weight w(t)"
    else:
        text = f"The {subject} differs from {reference} by {fit.error:.2g} of its size at t = {t:g} (cosine {fit.cosine:.2f})."
        if fit.error <= TRUTH_ERROR:  # only the gradient of an energy can be expected to agree to the last digits
            severity = "warning" if check == "energy-gradient" or fit.error > TRUTH_WARNING else "note"
    return Finding(check, severity, text, figure, at, t, remedy)
