"""Calling what the user handed over: any mistake it makes is recorded, and the checks go on with what is left.

A callable is called as the samplers of `cepkit.diffusion.sampling` call it: x_t of shape (n, D), `t` a 0-dim float64 tensor,
gradients off. One that only works with gradients on, or with one time per row, is reported and then served that way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.debugger.findings import Finding, finding
from cepkit.diffusion.denoisers import Denoiser
from cepkit.diffusion.process import convert

_REMEDIES = {
    "raised": "call it by hand with these shapes and a 0-dim tensor t, and read the traceback",
    "type": "return a torch tensor; torch.as_tensor(...).to(x_t) turns an array into one",
    "shape": "return one value per entry of x_t (an energy: one per point, so squeeze a last axis of size one)",
    "device": "let tensors made inside follow x_t.device",
    "dtype": "let tensors made inside follow x_t.dtype; float64 numbers and arrays promote float32 points",
    "gradients": "samplers call under no_grad; wrap the inside in `with torch.enable_grad():`",
    "time per row": "samplers pass one scalar t; use t.expand(x_t.shape[0]) inside, or `from_module` for a network",
    "non-finite": "look for 0 / 0, log(0), an overflowing exp, or a division by alpha_t or sigma_t near its zero",
}
_WORDS = {
    "raised": "raised",
    "type": "did not return a tensor",
    "shape": "returned a wrong shape",
    "device": "returned a tensor on another device",
    "dtype": "returned another dtype",
    "gradients": "works only with gradients enabled",
    "time per row": "fails with a scalar t",
    "non-finite": "returned NaN or infinite values",
}
_WAYS = ((False, False), (True, False), (False, True), (True, True))  # (gradients on, one time per row)


@dataclass(frozen=True)
class Fault:
    """One failed call: the kind, the noise level, what came, and for non-finite values how many and where."""

    kind: str
    t: float
    came: str
    count: int = 0
    total: int = 0
    where: Tensor | None = None  # the offending points (m, D)


class Probe:
    """A user's callable (x_t, t) -> tensor that cannot bring the others down.

    Args:
        function: the callable.
        name: what it is called in findings.
        per_point: whether it returns one number per point (an energy) instead of a vector.
    """

    def __init__(self, function: Callable, name: str, *, per_point: bool = False) -> None:
        if not callable(function):
            raise ValueError(f"{name}: expected a callable (x_t, t) -> tensor, got {type(function).__name__}")
        self.function, self.name, self.per_point = function, name, per_point
        self.faults: list[Fault] = []
        self.calls = self.failures = 0
        self._way = _WAYS[0]

    def __call__(self, x: Tensor, t: float | Tensor, *, quiet: bool = False) -> Tensor | None:
        """The value at x (n, D), detached, NaN in rows where x is not finite; None where nothing of use came.

        Args:
            quiet: do not record non-finite values, for points whose position may itself be the consequence of a fault.
        """
        t = torch.as_tensor(t, dtype=torch.float64).detach().cpu()
        sound = torch.isfinite(x).all(-1)
        here = x.detach()[sound]
        self.calls += 1
        if not len(here):
            return x.new_full(x.shape[:-1] if self.per_point else x.shape, torch.nan)
        value = self._checked(self._call(here, t), here, float(t))
        if value is None:
            self.failures += 1
            return None
        bad = ~torch.isfinite(value.reshape(len(here), -1)).all(-1)
        if bool(bad.any()) and not quiet:
            self._record(Fault("non-finite", float(t), "", int(bad.sum()), len(here), here[bad].cpu()))
        if bool(sound.all()):
            return value
        whole = x.new_full((len(x), *value.shape[1:]), torch.nan)
        whole[sound] = value
        return whole

    def is_double(self, x: Tensor, t: float) -> bool:
        """Whether it computes in float64 when x (n, D) is float64, so that small steps can be told; nothing is recorded."""
        trial = Probe(self.function, self.name, per_point=self.per_point)
        trial._way = self._way
        value, beside = trial(x, t), trial(x * (1 + 1e-11), t)
        # a network that turns its input to float32 inside returns the same float64 numbers for both
        return value is not None and beside is not None and not trial.faults and not torch.equal(value, beside)

    def with_graph(self, x: Tensor, t: float) -> Tensor | None:
        """The value at x with its autograd graph, None if that fails."""
        with torch.enable_grad():
            try:
                value = self.function(x, torch.tensor(t, dtype=torch.float64))
            except Exception:
                return None
        return value if isinstance(value, Tensor) else None

    def _call(self, x: Tensor, t: Tensor) -> object:
        error: Exception | None = None
        for way in dict.fromkeys((self._way, *_WAYS)):
            gradients, rows = way
            try:
                with torch.enable_grad() if gradients else torch.no_grad():
                    value = self.function(x.clone(), t.to(x).expand(len(x)) if rows else t)
            except Exception as caught:
                error = error or caught
                continue
            if way != self._way:
                words = str(error).splitlines()[0][:160] if str(error) else ""
                for kind, needed in zip(("gradients", "time per row"), way, strict=True):
                    if needed:
                        self._record(Fault(kind, float(t), f"{type(error).__name__}: {words}"))
                self._way = way
            return value
        return error

    def _checked(self, value: object, x: Tensor, t: float) -> Tensor | None:
        expected = x.shape[:-1] if self.per_point else x.shape
        if isinstance(value, Exception):
            words = str(value).splitlines()[0][:200] if str(value) else "no message"
            return self._record(Fault("raised", t, f"{type(value).__name__}: {words}"))
        if not isinstance(value, Tensor):
            return self._record(Fault("type", t, type(value).__name__))
        if value.shape != expected:
            return self._record(Fault("shape", t, f"{tuple(value.shape)} where {tuple(expected)} was expected"))
        if value.device != x.device:
            self._record(Fault("device", t, f"{value.device} where x_t is on {x.device}"))
        if value.dtype != x.dtype:
            self._record(Fault("dtype", t, f"{value.dtype} for x_t of {x.dtype}"))
        try:
            return value.detach().to(x)
        except (NotImplementedError, RuntimeError):  # a device that holds no numbers, or one that is gone
            return None

    def _record(self, fault: Fault) -> None:
        if len(self.faults) < 400:  # a callable that always fails must not fill the memory
            self.faults.append(fault)


def score_of(score: object) -> Callable:
    """The score of a denoiser, whatever it predicts; any other callable as it is."""
    if not isinstance(score, Denoiser):
        return score
    denoiser: Denoiser = score

    def function(x_t: Tensor, t: Tensor) -> object:
        value = denoiser(x_t, t)
        if not isinstance(value, Tensor) or value.shape != x_t.shape:
            return value  # the probe says what is wrong with it
        return convert(value, denoiser.parametrisation, "score", x_t, t, denoiser.schedule)

    return function


def check_calls(probes: list[Probe], plane: object) -> list[Finding]:
    """One finding per callable and kind of mistake, or "ok" for each callable that made none."""
    found = []
    for probe in probes:
        kinds = dict.fromkeys(fault.kind for fault in probe.faults)
        found += [_describe(probe, kind, plane) for kind in kinds]
        if not kinds:
            found.append(
                finding("calls", "ok", f"The {probe.name} gave finite tensors of the right shape in all of {probe.calls} calls.")
            )
    return found


def _describe(probe: Probe, kind: str, plane: object) -> Finding:
    faults = [fault for fault in probe.faults if fault.kind == kind]
    times = sorted({round(fault.t, 4) for fault in faults})
    at = f"at t = {times[0]:g}" if len(times) == 1 else f"at {len(times)} noise levels from t = {times[0]:g} to {times[-1]:g}"
    remedy = _REMEDIES[kind]
    if kind != "non-finite":
        first = faults[0]
        severity = "warning" if kind == "dtype" else "error"
        # a way of calling that works is kept after the first failure, so its level says nothing
        at = "" if kind in ("gradients", "time per row") else f" {at}"
        text = f"The {probe.name} {_WORDS[kind]}{at}: {first.came}."
        return finding("calls", severity, text, figure=float(len(faults)), t=first.t, remedy=remedy)
    worst = max(faults, key=lambda fault: fault.count / fault.total)
    uv = plane.coordinates(worst.where)
    middle = uv.median(0).values
    low, high = uv.min(0).values, uv.max(0).values
    box = " x ".join(f"[{float(a):.2f}, {float(b):.2f}]" for a, b in zip(low, high, strict=True))
    share = worst.count / worst.total
    text = (
        f"The {probe.name} {_WORDS[kind]} {at}; worst at t = {worst.t:.3g}, "
        f"{worst.count} of {worst.total} points ({share:.1%}), in the box {box}."
    )
    return finding("non-finite", "error", text, figure=share, x=middle, t=worst.t, remedy=remedy)
