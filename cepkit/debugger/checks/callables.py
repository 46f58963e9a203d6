"""Mistakes of the callables themselves: they raise, return the wrong thing, or change what they were given."""

from cepkit.debugger.calls import RecordedCallable
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene

KINDS = {  # kind of mistake: (words, remedy)
    "raised": ("raised", "call it by hand with x_t of this shape and a 0-dim tensor t, and read the traceback"),
    "type": ("did not return a tensor", "return a torch tensor; torch.as_tensor(...).to(x_t) turns an array into one"),
    "shape": ("returned a wrong shape", "return the shape of x_t, or one value per point for an energy (squeeze the last axis)"),
    "device": ("returned a tensor on another device", "let tensors made inside follow x_t.device"),
    "dtype": ("returned another dtype", "let tensors made inside follow x_t.dtype; float64 numbers promote float32 points"),
    "gradients": ("works only with gradients enabled", "samplers call under no_grad; use `with torch.enable_grad():` inside"),
    "time per row": ("fails with a scalar t", "use t.expand(x_t.shape[0]) inside, or `from_module` for a network"),
    "in place": ("changes x_t or t in place", "work on a copy: x_t = x_t.clone(), or x_t = x_t + ... instead of x_t += ..."),
    "non-finite": ("returned NaN or infinite values", "look for 0 / 0, log(0), exp, or a division by a small alpha_t or sigma_t"),
}


def check(scene: Scene) -> Findings:
    """One finding per callable and kind of mistake, or "ok" for a callable that made none; run it after the other checks."""
    if scene.energy is not None:
        scene.energy(scene.grid, scene.times[0])
    for function in filter(None, (scene.score, scene.guidance, scene.energy)):
        kinds = dict.fromkeys(fault.kind for fault in function.faults)
        for kind in kinds:
            yield _mistake(function, kind, scene)
        if not kinds:
            text = f"The {function.name} gave tensors of the right shape in all of {function.calls} calls, finite near the data."
            yield Finding("calls", "ok", text)


def _mistake(function: RecordedCallable, kind: str, scene: Scene) -> Finding:
    faults = [fault for fault in function.faults if fault.kind == kind]
    times = sorted({round(fault.t, 4) for fault in faults})
    at = f" at t = {times[0]:g}"
    if len(times) > 1:
        at = f" at {len(times)} noise levels from t = {times[0]:g} to {times[-1]:g}"
    words, remedy = KINDS[kind]
    if kind != "non-finite":
        # the way of calling that works is kept after the first failure, so its level says nothing
        at = "" if kind in ("gradients", "time per row") else at
        text, severity = f"The {function.name} {words}{at}: {faults[0].came}.", "warning" if kind == "dtype" else "error"
        return Finding("calls", severity, text, figure=float(len(faults)), t=faults[0].t, remedy=remedy)
    worst = max(faults, key=lambda fault: fault.share)
    uv = scene.plane.coordinates(worst.points)
    sides = zip(uv.min(0).values.tolist(), uv.max(0).values.tolist(), strict=True)
    box = " x ".join(f"[{low:.2f}, {high:.2f}]" for low, high in sides)
    text = f"The {function.name} {words}{at}. Worst is t = {worst.t:.3g}: {worst.came} ({worst.share:.1%}), in the box {box}."
    return Finding("non-finite", "error", text, figure=worst.share, x=uv.median(0).values, t=worst.t, remedy=remedy)
