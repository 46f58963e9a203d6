"""A guidance that does not know the noise level, such as one that was trained on clean data only."""

from torch import Tensor

from cepkit.debugger.factors import ZERO_SHARE, finite_rows, fit_factor, rms
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene

# Relative change of the guidance between noise levels: exact fields change by 0.5 and more, a field without t by 0.
CHANGE = 0.02
CHANGE_EXACT = 0.1


def check(scene: Scene) -> Findings:
    """Does the guidance at the same points change with the noise level?"""
    if scene.guidance is None or len(scene.times) < 2:
        return
    x = scene.clouds[scene.times[len(scene.times) // 2]].guided
    values = {t: scene.guidance(x, t, within=0) for t in scene.times}
    values = {t: value for t, value in values.items() if value is not None and bool(finite_rows(value).any())}
    if len(values) < 2 or rms(next(iter(values.values()))) < ZERO_SHARE:
        return
    change, shape = _changes(scene, "change", values)
    exact_change = exact_shape = None
    if scene.truth is not None:
        exact = {t: scene.truth.guidance(x, t, scene.beta, scene.schedule) for t in values}
        exact_change, exact_shape = _changes(scene, "exact_change", exact)
    last = max(values)
    span = f"between t = {min(values):g} and t = {last:g}"
    if change < CHANGE and (exact_change is None or exact_change > CHANGE_EXACT):
        beside = "" if exact_change is None else f", while the exact guidance changes by {exact_change:.0%}"
        text = f"The guidance at the same x changes by only {change:.1%} {span}{beside}."
        remedy = (
            "it looks like an energy or classifier of clean data evaluated at x_t as if it were x_0, or a t that is ignored: "
            "E_t depends on the noise level, so train on noisy points with t as an input"
        )
        yield Finding("time-dependence", "warning", text, figure=change, t=last, remedy=remedy)
    elif shape < CHANGE and (exact_shape is None or exact_shape > CHANGE_EXACT):
        text = f"The guidance at the same x changes {span} only by a factor. Its shape stays within {shape:.1%}."
        remedy = "it looks like an energy of clean data evaluated at x_t with a weight that depends on t"
        severity = "note" if exact_shape is None else "warning"
        yield Finding("time-dependence", severity, text, figure=shape, t=last, remedy=remedy)
    else:
        text = f"The guidance at the same x changes by {change:.0%} {span}, so it knows the noise level."
        yield Finding("time-dependence", "ok", text, figure=change)


def _changes(scene: Scene, name: str, fields: dict[float, Tensor]) -> tuple[float, float]:
    """The largest change of the fields from the first, kept as a curve, and the largest that no factor explains."""
    first = next(iter(fields.values()))
    fits = {t: fit_factor(field, first) for t, field in fields.items()}
    scene.keep_curve(name, {t: fit.error for t, fit in fits.items()})
    return max(fit.error for fit in fits.values()), max(fit.residual for fit in fits.values())
