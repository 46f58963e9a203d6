"""A given field against its reference at several noise levels: the same, the negative, a factor apart, or different."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from cepkit.debugger import thresholds
from cepkit.debugger.factors import FactorFit, advice, fit_factor, known_factor
from cepkit.debugger.findings import Finding
from cepkit.debugger.scene import Scene
from cepkit.diffusion.schedules import Schedule

Pairs = Mapping[float, tuple[Tensor, Tensor]]  # (given, reference) at each t, (n, D) each


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
    counts = [t for t in counts if size[t] >= thresholds.ZERO_SHARE * largest]
    worst = max(counts, key=lambda t: fits[t].error)
    kept = [fits[t] for t in counts]
    kind, name = "different", ""
    if fits[worst].error <= tolerance:
        kind = "same"
    elif largest == 0.0:
        kind = "flat"
    elif all(fit.factor == 0.0 for fit in kept):
        kind = "zero"
    elif max(fit.residual for fit in kept) <= thresholds.FACTOR_RESIDUAL:
        name = known_factor({t: fits[t].factor for t in counts}, schedule) or ""
        kind = {"-1": "sign", "1": "different"}.get(name, "factor")
    elif all(math.isfinite(fit.cosine) and fit.cosine < thresholds.SIGN_COSINE for fit in kept):
        kind = "sign"
    return Diagnosis(kind, fits, name, worst)


def compare(
    scene: Scene,
    check: str,
    pairs: Pairs,
    points: Mapping[float, Tensor],
    reference: str,
    remedy: str,
    *,
    tolerance: float = thresholds.TRUTH_NOTE,
    negligible: frozenset[float] = frozenset(),
) -> Finding:
    """Say how the guidance or the score relates to its reference, and keep the fitted factors and errors as curves.

    Args:
        check: the key of the finding, such as "truth-score".
        points: where the fields were evaluated at each t, (n, D).
        reference: the reference in words.
        remedy: what to try if the difference has no simpler name.
        tolerance, negligible: see `diagnose`.
    """
    diagnosis = diagnose(pairs, scene.schedule, tolerance=tolerance, negligible=negligible)
    fits, t = diagnosis.fits, diagnosis.worst
    subject = "score" if check == "truth-score" else "guidance"
    name = "energy" if check == "energy-gradient" else subject
    scene.keep_curve(f"{name}_factor", {u: fit.factor for u, fit in fits.items()})
    scene.keep_curve(f"{name}_error", {u: fit.error for u, fit in fits.items()})
    fit, (given, exact) = fits[t], pairs[t]
    at = scene.plane.coordinates(points[t][(given - exact).norm(dim=-1).nan_to_num().argmax()])
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
        if fit.error <= thresholds.TRUTH_ERROR:  # only the gradient of an energy can be expected to agree to the last digits
            severity = "warning" if check == "energy-gradient" or fit.error > thresholds.TRUTH_WARNING else "note"
    return Finding(check, severity, text, figure, at, t, remedy)
