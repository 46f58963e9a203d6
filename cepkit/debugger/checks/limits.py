"""What shows in a field by itself: values cut off, coordinates or noise levels at which it is zero, levels that are the same."""

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor

from cepkit.debugger.calls import RecordedCallable
from cepkit.debugger.factors import finite_rows
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene

SHARE = 0.03  # of the points whose norm or value is the largest one: more is no chance
NEAR = 1e-5  # of the largest
_SAME = 1e-6  # relative difference of fields that are one
_NO_CHANGE = 0.02  # of a field between noise levels: exact fields change by 0.5 and more


def check(scene: Scene) -> Findings:
    """Is a field cut off, or missing at some noise levels?"""
    for function in filter(None, (scene.score, scene.guidance)):
        x = scene.clouds[scene.times[len(scene.times) // 2]].x
        values = {t: function(x, t, within=0) for t in scene.times}
        values = {t: value for t, value in values.items() if value is not None and bool(finite_rows(value).all())}
        if values and function.steady:
            yield from _cut_off(scene, function)
            yield from _missing(function, values)


def _cut_off(scene: Scene, function: RecordedCallable) -> Findings:
    found = [value for (value,) in scene.fields(function.name).values()]
    value = torch.cat([part[finite_rows(part)] for part in found]) if found else torch.empty(0, 2)
    norms, sizes = value.norm(dim=-1), value.abs()
    if not len(value) or not float(norms.max()) > 0:
        return
    cut = norms >= (1 - NEAR) * norms.max()
    low, high = value.amin(), value.amax()
    clamped = [(value <= low + NEAR * low.abs()).float().mean(), (value >= high - NEAR * high.abs()).float().mean()]
    if float(cut.float().mean()) > SHARE and _directions(value[cut]) > SHARE:
        share, largest = float(cut.float().mean()), float(norms.max())
        text = f"The {function.name} has the norm {largest:.3g} at {share:.0%} of the points, and no larger one."
    elif min(clamped) > SHARE and abs(float(low + high)) < NEAR * float(sizes.max()):
        share = float(sum(clamped))
        text = f"The values of the {function.name} are cut off at {float(high):.3g}: {share:.0%} of them are that large."
    else:
        return
    remedy = "remove the clipping or normalisation; a step that is too large needs more steps or a smaller scale"
    yield Finding("limits", "warning", text, figure=float(norms.max()), remedy=remedy, cause="clipped")


def _directions(value: Tensor) -> float:
    """The spread of the directions of vectors (n, D): 0 if all are one, 1 if they are all round."""
    return 1 - float((value / value.norm(dim=-1, keepdim=True)).mean(0).norm())


def _missing(function: RecordedCallable, values: dict[float, Tensor]) -> Findings:
    times, name = sorted(values), f"The {function.name}"
    largest = torch.stack([value.abs().amax(0) for value in values.values()]).amax(0)  # of each coordinate
    if float(largest.max()) == 0.0:
        return
    silent = [f"x{i + 1}" for i, size in enumerate(largest.tolist()) if size == 0.0]
    if silent:
        text, remedy = f"{name} is zero in {' and '.join(silent)} at every noise level.", "pass all coordinates on"
        yield Finding("limits", "warning", text, remedy=remedy, cause="coordinate dropped")
    if len(times) > 1 and all(_difference(values[t], values[times[0]]) < _NO_CHANGE for t in times[1:]):
        text = f"{name} does not depend on t: it is that of one noise level, or of clean data, at all of them."
        yield Finding("limits", "warning", text, remedy="pass the t of the call on, in [0, 1]", cause="time fixed")
        return
    remedy = "train it at all noise levels, or remove the limit on t"
    zero = [t for t in times if not bool(values[t].any())]
    late = [t for t in zero if any(bool(values[u].any()) for u in times if u < t)]
    constant = [t for t in times if t not in zero and float(values[t].std(0).max()) <= _SAME * float(largest.max())]
    pairs = [u for u in itertools.pairwise(times) if u[0] not in zero and _difference(*(values[t] for t in u)) <= _SAME]
    same = {t for u in pairs for t in u}
    cause = "missing noise levels"
    if late:
        text = f"{name} is zero at t = {_listed(late)}, but not below."
    elif constant and function.name == "score":
        text = f"{name} is the same at all points at t = {_listed(constant)}, which no score is."
    elif same:
        text = f"{name} is the same at t = {_listed(same)}, so it does not know these noise levels."
        # a time that is too large and cut off at 1 looks like this as well
        cause = cause if times[-1] not in same else ""
    else:
        return
    yield Finding("limits", "warning", text, remedy=remedy, cause=cause)


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) / max(float(a.abs().max()), float(b.abs().max()), 1e-30)


def _listed(times: Iterable[float]) -> str:
    return ", ".join(f"{t:g}" for t in sorted(times))
