"""The one place where a user's callables are called: every mistake is recorded, and the checks go on with what is left.

A callable is called as the samplers of `cepkit.diffusion.sampling` call it: x_t of shape (n, D), `t` a 0-dim float64 tensor,
gradients off. One that works only with gradients on, or with one time per row, is recorded and from then on called that way.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.calling import advice_for, evaluation_mode, field_fault, modules_of, words_of

_WAYS = ((False, False), (True, False), (False, True), (True, True))  # (gradients on, one time per row)


@dataclass(frozen=True)
class Fault:
    """One mistake of a call at noise level t."""

    kind: str  # a key of `cepkit.debugger.checks.callables.KINDS`
    t: float
    came: str  # the result, in words
    share: float = 0.0  # how grave it is, where that has a figure: a share of the points, or the relative size of a difference
    points: Tensor | None = None  # these points, (m, D)


class RecordedCallable:
    """A user's callable (x_t, t) -> tensor, by its name in findings, whose mistakes are recorded instead of raised.

    With `per_point` it returns one number per point, as an energy does, instead of a vector.

    Attributes:
        faults: what was recorded.
        evaluate: run the torch modules inside in evaluation mode, and leave them as they were.
        seed: of torch's global generator before each call, whose state is then put back; None leaves it alone.
    """

    def __init__(self, function: Callable, name: str, *, per_point: bool = False) -> None:
        if not callable(function):
            raise ValueError(f"{name}: expected a callable (x_t, t) -> tensor, got {type(function).__name__}")
        self.function, self.name, self.per_point = function, name, per_point
        self.faults: list[Fault] = []
        self.calls = 0
        self.evaluate, self.seed = False, None
        self._way = _WAYS[0]

    def __call__(self, x: Tensor, t: float | Tensor, *, within: float = math.inf) -> Tensor | None:
        """The value at x (n, D), detached, NaN in rows where x is not finite; None if the call failed.

        Values that are not finite are recorded only at points whose coordinates are all smaller than `within`. Points further out
        may be the consequence of another fault.
        """
        t = torch.as_tensor(t, dtype=torch.float64).detach().cpu()
        finite = torch.isfinite(x).all(-1)
        points = x.detach()[finite]
        self.calls += 1
        whole = x.new_full(x.shape[:-1] if self.per_point else x.shape, torch.nan)
        if not len(points):
            return whole
        value = self._checked(self._call(points, t), points, float(t))
        if value is None:
            return None
        bad = ~torch.isfinite(value.reshape(len(points), -1)).all(-1) & (points.abs().amax(-1) < within)
        if bool(bad.any()):
            came = f"{int(bad.sum())} of {len(points)} points"
            self.record(Fault("non-finite", float(t), came, float(bad.double().mean()), points[bad].cpu()))
        whole[finite] = value
        return whole

    @property
    def steady(self) -> bool:
        """Whether two calls at the same points agree, if need be with the seed fixed."""
        return "random" not in self.kinds or self.seed is not None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its faults, each once."""
        return tuple(dict.fromkeys(fault.kind for fault in self.faults))

    def trial(self, **settings: object) -> "RecordedCallable":
        """The same callable with a record of its own, and with other attributes."""
        trial = copy.copy(self)
        trial.faults = []
        vars(trial).update(settings)
        return trial

    def is_double(self, x: Tensor, t: float) -> bool:
        """Whether small steps of x (n, D), float64, change the value: a network may compute in float32 inside."""
        trial = self.trial()
        value, beside = trial(x, t), trial(x * (1 + 1e-11), t)
        return value is not None and beside is not None and not trial.faults and not torch.equal(value, beside)

    def minus_gradient(self, x: Tensor, t: float, reach: float) -> tuple[Tensor | None, str]:
        """-grad of an energy at x (n, D), and how it was found: by automatic differentiation or else by central differences.

        The length `reach` of the domain sets the step of the differences.
        """
        leaf = x.detach().clone().requires_grad_(True)
        with torch.enable_grad(), self._conditions(x):
            try:
                value = self.function(leaf, torch.tensor(t, dtype=torch.float64))
                if value.requires_grad and value.shape == x.shape[:-1]:
                    (gradient,) = torch.autograd.grad(value.sum(), leaf)
                    return -gradient, "automatic differentiation"
            except Exception:  # no tensor, an in-place change, a cut graph, or a formula without a derivative
                pass
        double = self.is_double(x[:64].double(), t)
        x, step = (x.double(), 1e-5 * reach) if double else (x, 1e-2 * reach)
        slopes = []
        for axis in torch.eye(x.shape[-1]).to(x):
            slopes.append(self.slope(x, t, axis, step))
            if slopes[-1] is None:
                return None, "finite differences"
        return -torch.stack(slopes, -1).to(leaf), "finite differences"

    def slope(self, x: Tensor, t: float, direction: Tensor, step: float) -> Tensor | None:
        """The derivative at x (n, D) along a unit vector (D,), by central differences; None if a call failed."""
        ahead, behind = self(x + step * direction, t, within=0), self(x - step * direction, t, within=0)
        return None if ahead is None or behind is None else (ahead - behind) / (2 * step)

    def _call(self, x: Tensor, t: Tensor) -> object:
        """What the function returns, or the exception it raises however it is called."""
        error: Exception | None = None
        for way in dict.fromkeys((self._way, *_WAYS)):
            gradients, rows = way
            points, times = x.clone(), (t.to(x).expand(len(x)) if rows else t).clone()
            try:
                with torch.set_grad_enabled(gradients), self._conditions(x):
                    value = self.function(points, times)
            except Exception as caught:
                error = error or caught
                continue
            if way != self._way:
                for kind, needed in zip(("gradients", "time per row"), way, strict=True):
                    if needed:
                        self.record(Fault(kind, float(t), words_of(error)))
                self._way = way
            if not torch.equal(points, x) or bool((times != t.to(times)).any()):
                self.record(Fault("in place", float(t), "a sampler that hands out no copy goes on with what is left", 1.0))
            elif points._version or times._version:
                self.record(Fault("in place", float(t), "it was written to, and at these points came out as it was"))
            return value
        return error

    @contextlib.contextmanager
    def _conditions(self, x: Tensor) -> Iterator[None]:
        """The mode of the modules and the state of torch's global generator in which the function is called."""
        with contextlib.ExitStack() as stack:
            if self.evaluate:
                stack.enter_context(evaluation_mode(modules_of(self.function)))
            if self.seed is not None:
                stack.enter_context(torch.random.fork_rng([x.device] if x.is_cuda else []))
                torch.manual_seed(self.seed)
            yield

    def _checked(self, value: object, x: Tensor, t: float) -> Tensor | None:
        if isinstance(value, Exception):
            return self.record(Fault("raised", t, words_of(value) + advice_for(self.function, x, value)))
        fault = field_fault(value, x, per_point=self.per_point)
        if fault is not None:
            # numbers of another kind, such as complex ones, are worse than those of another precision
            self.record(Fault(fault.kind, t, f"expected {fault.expected}, got {fault.came}", float(fault.kind == "dtype")))
            if fault.kind != "device":
                return None
        elif value.dtype != x.dtype:
            self.record(Fault("dtype", t, f"{value.dtype} for x_t of {x.dtype}"))
        try:
            return value.detach().to(x)
        except (NotImplementedError, RuntimeError):  # a device that holds no numbers, or one that is gone
            return None

    def record(self, fault: Fault) -> None:
        """Keep a fault."""
        if len(self.faults) < 400:  # a callable that always fails must not fill the memory
            self.faults.append(fault)
