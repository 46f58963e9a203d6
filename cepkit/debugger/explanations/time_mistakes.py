"""Mistakes in time: another convention of t, another noise schedule, noise levels that are missing."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger.explanations.case import FIRST_TIME, Candidate, Candidates, Case, Field, fitted
from cepkit.diffusion.process import convert
from cepkit.diffusion.schedules import VPCosine, VPLinear


def at_time(case: Case, clock: Callable[[float], float]) -> Field:
    """The right field, asked at another time."""
    return lambda x, t: case.right(x, min(max(clock(t), FIRST_TIME), 1.0))


def _candidate(
    case: Case, cause: str, words: str, repair: str, clock: Callable[[float], float], constants: int = 0, factor: bool = True
) -> Candidates:
    """The right field asked at another time, judged where it is known at that time."""
    known = case.only([t for t in case.points if clock(t) >= case.known_from])
    if known is None or 2 * len(known.points) <= len(case.points):
        return
    yield Candidate(cause, words, repair, at_time(case, clock), factor and case.subject == "guidance", known, constants)
    if case.subject == "score":  # a network is asked at another time, and what it predicts is converted at the right one
        for kind in ("eps", "x0", "v"):

            def converted(x: Tensor, t: float, kind=kind) -> Tensor:
                asked = min(max(clock(t), FIRST_TIME), 1.0)
                predicted = convert(case.right(x, asked), "score", kind, x, asked, case.schedule)
                return convert(predicted, kind, "score", x, t, case.schedule)

            yield Candidate(cause, words, repair, converted, False, known, constants)


def other_noise_levels(case: Case) -> Candidates:
    """Another convention of time or another schedule: one kind of mistake, which only the best fit tells apart."""
    yield from other_times(case)
    yield from other_schedules(case)


def other_times(case: Case) -> Candidates:
    """Another convention of time."""
    instead = "in place of t"
    words, repair = f"is evaluated at 1 - t {instead}", "call it with 1 - t (here 0 is data and 1 is noise)"
    yield from _candidate(case, "time reversed", words, repair, lambda t: 1 - t)
    words = "is evaluated at full noise, t = 1, at every noise level, like a time in 0..1000 that is cut off"
    yield from _candidate(case, "time fixed", words, "call it with t in [0, 1]", lambda t: 1.0)
    for c in (1 / 1000, 0.1, 0.25, 0.5, 2.0, 4.0):
        words, repair = f"is evaluated at {c:g} t {instead}", f"call it with {1 / c:g} * t"
        yield from _candidate(case, "time scaled", words, repair, lambda t, c=c: c * t)
    for p in (0.5, 2.0):
        words, repair = f"is evaluated at t^{p:g} {instead}", f"call it with t ** {1 / p:g}"
        yield from _candidate(case, "time squared", words, repair, lambda t, p=p: t**p)
    for n in (10, 20):
        words = f"is evaluated at t rounded to {n} levels {instead}"
        yield from _candidate(case, "time rounded", words, "keep t in float32", lambda t, n=n: round(t * n) / n, factor=False)
    best = min(case.points, key=lambda level: case.few.error(at_time(case, lambda t: level)))
    found = fitted(case, lambda c: at_time(case, lambda t: c), np.geomspace(best / 2, min(2 * best, 1.0), 9))
    words = f"is evaluated at t = {found:.3g} at every noise level"
    yield from _candidate(case, "time fixed", words, "pass the t of the call on", lambda t: found, 1)
    for edge in sorted(case.points)[1:-1]:
        for side, clock in (("above", lambda t, e=edge: min(t, e)), ("below", lambda t, e=edge: max(t, e))):
            words, repair = f"knows no noise level {side} t = {edge:g}", "train it at all noise levels, or let nothing clamp t"
            yield from _candidate(case, "missing noise levels", words, repair, clock, factor=False)


def other_schedules(case: Case) -> Candidates:
    """Another noise schedule: between variance-preserving ones only the time differs at which a noise level is reached."""
    known = [VPLinear(), VPCosine(), VPLinear(0.1, 10.0), VPLinear(0.01, 20.0), VPLinear(1.0, 20.0), VPLinear(0.1, 40.0)]
    for other in known:
        if other != case.schedule:
            yield from _of_schedule(case, repr(other), other.log_snr)
    curve = {t: _noise_level(case, t) for t in case.points}
    # log alpha = -(beta_max - beta_min) t^2 / 4 - beta_min t / 2 for a linear schedule, whatever its two constants
    times = torch.tensor(list(curve), dtype=torch.float64)
    log_alpha = case.schedule.log_alpha(torch.tensor(list(curve.values()), dtype=torch.float64))
    basis = torch.stack([-times / 2 + times**2 / 4, -(times**2) / 4], -1)
    low, high = torch.linalg.lstsq(basis / log_alpha[:, None], torch.ones_like(times)[:, None]).solution[:, 0].tolist()
    if 0 < low < high:
        yield from _of_schedule(case, f"about VPLinear(beta_min={low:.2g}, beta_max={high:.3g})", VPLinear(low, high).log_snr, 2)
    c = float(np.median([level / t for t, level in curve.items()]))
    words = f"is evaluated at {c:.3g} t in place of t"
    yield from _candidate(case, "time scaled", words, f"call it with {1 / c:.3g} * t", lambda t: c * t, 1)
    p = float(np.median([math.log(level) / math.log(t) for t, level in curve.items() if t < 1.0]))
    words = f"is evaluated at t^{p:.3g} in place of t"
    yield from _candidate(case, "time squared", words, f"call it with t ** {1 / max(p, 1e-3):.3g}", lambda t: t**p, 1)
    low, high = min(curve), max(curve)
    edges = ((curve[low] > low, "below", curve[low], max), (curve[high] < high, "above", curve[high], min))
    for beyond, side, edge, limit in edges:
        if beyond:
            words, repair = f"knows no noise level {side} t = {edge:.3g}", "train it at all noise levels, or let nothing clamp t"
            clock = partial(limit, edge)
            yield from _candidate(case, "missing noise levels", words, repair, clock, 1, factor=False)
    if all(a < b for a, b in itertools.pairwise(curve[t] for t in sorted(curve))):
        shown = ", ".join(f"{curve[t]:.2f} at t = {t:g}" for t in sorted(curve))
        repair = "give the schedule that the model was trained with"
        words = f"belongs to another schedule or time, as if t were {shown}"
        yield Candidate("another schedule", words, repair, lambda x, t: case.right(x, curve[t]), False, constants=3)


def _of_schedule(case: Case, name: str, log_snr: Callable[[Tensor], Tensor], constants: int = 0) -> Candidates:
    least = float(case.schedule.log_snr(1.0))

    def clock(t: float) -> float:
        return float(case.schedule.t_from_log_snr(torch.clamp_min(log_snr(torch.tensor(t, dtype=torch.float64)), least)))

    repair = f"give FieldDebugger and the sampler the model's schedule, {name}"
    return _candidate(case, "another schedule", f"belongs to another schedule, {name}", repair, clock, constants)


def _noise_level(case: Case, t: float) -> float:
    """The time at which the right field is nearest to the given one of level t."""
    one = case.at(t)
    return min(fitted(one, lambda c: at_time(one, lambda _: c), np.geomspace(0.01, 1.0, 16)), 1.0)
