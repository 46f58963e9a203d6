"""Mistakes of the callables themselves: they raise, return the wrong thing, change what they were given, or depend on more."""

from collections.abc import Iterator

import torch

from cepkit.debugger.calls import RecordedCallable
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.probes import probe
from cepkit.debugger.scene import Scene
from cepkit.diffusion.process import perturb
from cepkit.diffusion.sampling import time_grid

POINTS = 64  # for these calls
SMALL = 0.1  # relative to the field: a dependence on chance or on the batch up to here is a warning
_LENIENT = {"dtype": 0.0, "in place": 0.0, "random": SMALL, "batch": SMALL, "training mode": SMALL}  # warnings up to here

KINDS = {  # kind of mistake, which is the name of its cause: (words, remedy)
    "raised": ("raised", "call it by hand with x_t of this shape and a 0-dim tensor t, and read the traceback"),
    "type": ("did not return a tensor", "return a torch tensor; torch.as_tensor(...).to(x_t) turns an array into one"),
    "shape": ("returned a wrong shape", "return the shape of x_t, or one value per point for an energy (squeeze the last axis)"),
    "device": ("returned a tensor on another device", "let tensors made inside follow x_t.device"),
    "dtype": ("returned another dtype", "let tensors made inside follow x_t.dtype; float64 numbers promote float32 points"),
    "gradients": ("works only with gradients enabled", "samplers call under no_grad; use `with torch.enable_grad():` inside"),
    "time per row": ("fails with a scalar t", "use t.expand(x_t.shape[0]) inside, or `from_module` for a network"),
    "in place": ("changes x_t or t in place", "work on a copy: x_t = x_t.clone(), or x_t = x_t + ... instead of x_t += ..."),
    "training mode": (
        "uses a module in training mode",
        "call model.eval() before you hand it over; the other findings are of evaluation mode",
    ),
    "random": ("is random", "fix its randomness, or average over more draws; a sampler takes every call for the same field"),
    "batch order": ("changes the order of the rows", "return row i for point i: look for a sort, a flip or a shuffle"),
    "batch size": ("depends on the number of points", "differentiate energy.sum(), not energy.mean()"),
    "batch": (
        "depends on the other points of the batch",
        "let no operation mix the rows: mean, std or norm over dim 0, batch normalisation, attention; energy.sum() before grad",
    ),
    "non-finite": ("returned NaN or infinite values", "look for 0 / 0, log(0), exp, or a division by a small alpha_t or sigma_t"),
}
NO_ONE_FIELD = {"random", "batch", "batch size", "batch order", "non-finite", "raised", "type", "shape"}  # kinds that leave none


def look(scene: Scene) -> None:
    """Call every callable at each level that a sampler visits, and in ways that no sampler does, before the checks do."""
    visited = time_grid(scene.schedule, scene.steps)[:-1].tolist()
    levels = [scene.times[i] for i in sorted({0, len(scene.times) // 2, len(scene.times) - 1})]
    for function in _callables(scene):
        for i, t in enumerate([*levels, *visited]):
            generator = scene.generator("probe", i)
            points = scene.grid[torch.randperm(len(scene.grid), generator=generator, device=scene.device)[:POINTS]]
            x_t = perturb(points, t, scene.schedule, generator=generator).x_t
            if i < len(levels):
                probe(function, x_t, t)
            else:
                function(x_t, t)


def _callables(scene: Scene) -> Iterator[RecordedCallable]:
    return filter(None, (scene.score, scene.guidance, scene.energy))


def check(scene: Scene) -> Findings:
    """One finding per callable and kind of mistake, or "ok" for a callable that made none; run it after the other checks."""
    for function in _callables(scene):
        for kind in function.kinds:
            if kind != "batch size" or "batch" not in function.kinds:
                yield _mistake(function, kind, scene)
        if not function.kinds:
            text = (
                f"The {function.name} gave tensors of the right shape in all of {function.calls} calls, finite near the data, "
                "and the same ones when called again or in another batch."
            )
            yield Finding("calls", "ok", text)


def _mistake(function: RecordedCallable, kind: str, scene: Scene) -> Finding:
    faults = [fault for fault in function.faults if fault.kind == kind]
    times = sorted({round(fault.t, 4) for fault in faults})
    at = f" at t = {times[0]:g}"
    if len(times) > 1:
        at = f" at {len(times)} noise levels from t = {times[0]:g} to {times[-1]:g}"
    words, remedy = KINDS[kind]
    if kind != "non-finite":
        worst = max(faults, key=lambda fault: fault.share)
        # the way of calling that works is kept after the first failure, so its level says nothing
        at = "" if kind in ("gradients", "time per row") else at
        severity = "warning" if worst.share <= _LENIENT.get(kind, -1.0) else "error"
        text, figure = f"The {function.name} {words}{at}: {worst.came}.", worst.share or float(len(faults))
        return Finding("calls", severity, text, figure=figure, t=worst.t, remedy=remedy, cause=kind)
    worst = max(faults, key=lambda fault: fault.share)
    uv = scene.plane.coordinates(worst.points)
    sides = zip(uv.min(0).values.tolist(), uv.max(0).values.tolist(), strict=True)
    box = " x ".join(f"[{low:.2f}, {high:.2f}]" for low, high in sides)
    text = f"The {function.name} {words}{at}. Worst is t = {worst.t:.3g}: {worst.came} ({worst.share:.1%}), in the box {box}."
    return Finding("non-finite", "error", text, figure=worst.share, x=uv.median(0).values, t=worst.t, remedy=remedy, cause=kind)
