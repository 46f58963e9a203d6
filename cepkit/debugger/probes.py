"""Calls that no sampler makes, which show whether a value depends on chance or on the other points of the batch."""

import dataclasses

import torch
from torch import Tensor

from cepkit.calling import modules_of
from cepkit.debugger.calls import Fault, RecordedCallable
from cepkit.debugger.factors import finite_rows, fit_factor, rms

# Differences relative to the size of the field. Sums in another order give 1e-6, and 3e-3 in a network of half precision.
REPEATED = 1e-4  # of two calls that should be one
BATCH = 0.01  # of calls in different batches
NOISE_FACTOR = 5.0  # a field whose calls differ is compared this much more coarsely
FAINT = 0.01  # a weaker field may be what rounding leaves of the difference of two scores
LAST_DIGITS = 1e-5  # of an energy far from zero, whose differences may be rounding
HOPELESS = 0.5  # a field that can only be compared more coarsely than this is not


def probe(function: RecordedCallable, x: Tensor, t: float) -> None:
    """Record at points x (n, D) whether two calls differ, whether other batches do, and whether a training mode is the reason.

    From then on `function` is called in evaluation mode if that mends something, and with a fixed seed if its calls still differ.
    """
    modules = modules_of(function.function)
    training = any(module.training for module in modules)
    kept = [(buffer, buffer.clone()) for module in modules if training for buffer in module.buffers(recurse=False)]
    faults = _Batches(function, x, t).faults()
    for buffer, before in kept:  # batch normalisation counts the calls in training mode
        buffer.copy_(before)
    if faults and training and not function.evaluate:
        evaluated = function.trial(evaluate=True, seed=None)
        left = _Batches(evaluated, x, t).faults()
        mended = [fault for fault in faults if fault.kind not in {fault.kind for fault in left}]
        if mended:
            came = f"{mended[0].came}, and not so in evaluation mode"
            faults = [Fault("training mode", t, came, mended[0].share), *left]
            function.evaluate, function.seed = True, evaluated.seed
    for fault in faults:
        function.record(fault)


class _Batches:
    """A callable at points x (n, D) and a noise level t, in batches that should all give the same."""

    def __init__(self, function: RecordedCallable, x: Tensor, t: float) -> None:
        self.function, self.x, self.t, self.half = function, x, t, len(x) // 2
        self.failed: list[Fault] = []

    def faults(self) -> list[Fault]:
        """What a value depends on beside its point, and the failures in batches of other sizes."""
        first, second, third = (self.value(self.x, seed) for seed in (0, 1, 1))
        if first is None or second is None or third is None:
            return []  # recorded where the checks call it
        self.failed.clear()
        middle = first[finite_rows(first)].mean(0) if self.function.per_point else 0.0  # the zero of an energy means nothing
        self.size = max(rms(first - middle), LAST_DIGITS * rms(first), FAINT)
        noise = rms(second - first) / self.size
        if noise > REPEATED and self.same_rows(first, second, REPEATED):
            return [self.fault("batch order", noise, "two calls at the same points return the rows in different orders")]
        found = []
        if noise > REPEATED:
            alike = rms(third - second) / self.size <= REPEATED
            source = "the same seed of torch makes them agree" if alike else "seeds of torch do not matter"
            came = f"two calls at the same points differ by {noise:.2g} of the size ({source})"
            found.append(self.fault("random", noise, came))
            self.function.seed = 0 if alike else None
        limit = max(BATCH, NOISE_FACTOR * noise)
        return [*found, *(self.batch_faults(first, limit) if limit < HOPELESS else ()), *self.failed]

    def batch_faults(self, whole: Tensor, limit: float) -> list[Fault]:
        """The one that names best what differs from the values (n, k) in the batch of all points, if anything does."""
        x, half = self.x, self.half
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).to(x.device)
        moved = self.value(x[order])
        share = 0.0 if moved is None else self.share(moved, whole[order])
        if share > limit:
            if self.same_rows(moved, whole, limit):
                return [self.fault("batch order", share, "rows in another order do not come back in that order")]
            return [self.fault("batch", share, f"at another place in the batch, a value changes by {share:.0%} of its size")]
        aside = x[x[:, 0].argsort(descending=True)][: len(x) - half]
        beside, fewer, one = self.value(torch.cat([x[:half], aside])), self.value(x[:half]), self.value(x[:1])
        share = 0.0 if beside is None else self.share(beside[:half], whole[:half])
        if share > limit:
            self.failed.clear()  # a batch of one has no spread
            return [self.fault("batch", share, f"with other points beside them, values change by {share:.0%} of their size")]
        for value in (fewer, one):
            share = 0.0 if value is None else self.share(value, whole[: len(value)])
            if share > limit:
                factor = fit_factor(value, whole[: len(value)]).factor
                came = f"for {len(value)} of {len(x)} points the values are {factor:.3g} times those in the whole batch"
                return [self.fault("batch size", share, came)]
        return []

    def value(self, points: Tensor, seed: int = 0) -> Tensor | None:
        """The values (n, k), None if the call failed."""
        trial = self.function.trial(seed=seed)
        value = trial(points, self.t, within=0)
        if value is None:
            where = f", in a batch of {len(points)}"
            self.failed += [dataclasses.replace(fault, came=fault.came + where) for fault in trial.faults]
            return None
        return value.reshape(len(points), -1)

    def share(self, value: Tensor, reference: Tensor) -> float:
        """The size of the difference over the size of the field."""
        return rms(value - reference) / self.size

    def same_rows(self, value: Tensor, reference: Tensor, limit: float) -> bool:
        """Whether the two hold the same numbers in each column."""
        return self.share(value.sort(0).values, reference.sort(0).values) <= limit

    def fault(self, kind: str, share: float, came: str) -> Fault:
        return Fault(kind, self.t, came, share)
