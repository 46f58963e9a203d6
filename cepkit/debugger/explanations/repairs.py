"""Repairs of a score that has nothing to be compared with but itself: each undoes one mistake.

A right score agrees with the exact score of its own samples. So a repair is the right one if the repaired score does.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from cepkit.debugger.explanations.case import FIRST_TIME, Candidate, Candidates, Field
from cepkit.debugger.explanations.coordinates import matrix_words
from cepkit.debugger.explanations.other_scores import conversions
from cepkit.debugger.factors import POWERS, advice, finite_rows
from cepkit.diffusion.schedules import Schedule, VPCosine, VPLinear

_SAME = 0.03  # a matrix or vector at full noise is that of a right score if it is this near


def repairs(score: Field, noise: Tensor, schedule: Schedule) -> Candidates:
    """Candidates whose fields are repaired scores.

    Args:
        noise: points (n, D) of full noise, where a right score is -x.
    """
    linear = _at_full_noise(score, noise)
    if linear is None or (abs(float(torch.linalg.det(linear[0]))) < 1e-3 and matrix_words(linear[0])):
        return  # a coordinate is missing, which nothing brings back
    for words, repair, at_noise, _, undone in conversions(schedule):
        if abs(float(linear[0].diagonal().mean()) - at_noise) < 0.5:
            yield Candidate("parametrisation", words, repair, lambda x, t, f=undone: f(score(x, t), x, t))
    yield from _linear(score, *linear)
    yield from of_size_and_time(score, schedule, torch.neg)


def of_size_and_time(field: Field, schedule: Schedule, beyond: Callable[[Tensor], Tensor]) -> Candidates:
    """Repairs of a sign, a factor, and the time of any field, which is `beyond` where it was never given."""
    yield Candidate("sign", "has the wrong sign", advice("-1"), lambda x, t: -field(x, t))
    for name, (p, q) in POWERS.items():

        def divided(x: Tensor, t: float, p=p, q=q) -> Tensor:
            return field(x, t) / float(schedule.alpha(t) ** p * schedule.sigma(t) ** q)

        yield Candidate("factor", f"has a factor of {name}", advice(name), divided)
    clocks = {  # how to call it: words of the mistake
        "1 - t": ("time reversed", "1 - t", lambda t: 1 - t),
        "2 * t": ("time scaled", "t / 2", lambda t: 2 * t),
        "t / 2": ("time scaled", "2 t", lambda t: t / 2),
        "t ** 0.5": ("time squared", "t^2", lambda t: t**0.5),
        "t ** 2": ("time squared", "the square root of t", lambda t: t**2),
    }
    for call, (cause, words, clock) in clocks.items():
        yield Candidate(cause, f"is evaluated at {words} in place of t", f"call it with {call}", _asked_at(field, clock, beyond))
    for other in (VPCosine(), VPLinear(), VPLinear(0.1, 10.0), VPLinear(0.1, 40.0)):
        if other != schedule:
            words = f"belongs to another schedule, {other!r}"
            text = f"give FieldDebugger and the sampler the model's schedule, {other!r}"
            yield Candidate("another schedule", words, text, _asked_at(field, _same_noise(schedule, other), beyond))


def of_order(field: Field, dim: int) -> Candidates:
    """Repairs of the order and signs of coordinates."""
    indices = range(dim)
    for i, j in itertools.combinations(indices, 2) if dim <= 4 else itertools.pairwise(indices):
        order = list(indices)
        order[i], order[j] = j, i
        words, repair = f"takes x{i + 1} for x{j + 1}", f"swap columns {i} and {j}"
        yield from _both_sides(field, "coordinates swapped", words, repair, lambda x, o=order: x[:, o])
    for i in indices:
        signs = torch.ones(dim).index_fill(0, torch.tensor([i]), -1.0)
        words, repair = f"has the wrong sign in x{i + 1}", f"flip column {i}"
        yield from _both_sides(field, "coordinate flipped", words, repair, lambda x, s=signs: x * s.to(x))


def _both_sides(field: Field, cause: str, words: str, repair: str, change: Callable[[Tensor], Tensor]) -> Candidates:
    yield Candidate(cause, words, f"{repair} of its result", lambda x, t: change(field(x, t)))
    yield Candidate(cause, words, f"{repair} of x_t before the call", lambda x, t: field(change(x), t))
    yield Candidate(cause, words, f"{repair} of x_t and of its result", lambda x, t: change(field(change(x), t)))


def _asked_at(field: Field, clock: Callable[[float], float], beyond: Callable[[Tensor], Tensor]) -> Field:
    # what is asked for beyond full noise was never given; there a score is nearly -x, and a guidance nearly zero
    return lambda x, t: field(x, max(clock(t), FIRST_TIME)) if clock(t) <= 1.0 else beyond(x)


def _same_noise(schedule: Schedule, other: Schedule) -> Callable[[float], float]:
    """The time at which another schedule has the noise of this one at t."""

    def clock(t: float) -> float:
        return float(
            other.t_from_log_snr(schedule.log_snr(torch.tensor(t, dtype=torch.float64)).clamp_min(float(other.log_snr(1.0))))
        )

    return clock


def _at_full_noise(score: Field, noise: Tensor) -> tuple[Tensor, Tensor] | None:
    """The matrix and the constant of score = matrix @ (-x) + constant at full noise; None where there is no score."""
    value = score(noise, 1.0)
    rows = finite_rows(value)
    if int(rows.sum()) < 4 * noise.shape[1]:
        return None
    x, value = -noise[rows].double(), value[rows].double()
    solution = torch.linalg.lstsq(torch.cat([x, torch.ones_like(x[:, :1])], -1), value).solution
    return solution[:-1].T, solution[-1]


def _linear(score: Field, matrix: Tensor, constant: Tensor) -> Candidates:
    """Repairs of what shows at full noise, where the score must be -x."""
    scale = float(matrix.diagonal().mean())
    if float(constant.norm()) > _SAME:
        words = f"has a constant drift added, ({', '.join(f'{v:.2g}' for v in constant.tolist())})"
        yield Candidate("drift", words, "subtract it", lambda x, t: score(x, t) - constant.to(x))
        words = f"is evaluated at x_t - ({', '.join(f'{v:.2g}' for v in constant.tolist())})"
        yield Candidate("input shifted", words, "centre the points as in training", lambda x, t: score(x + constant.to(x), t))
    if abs(scale - 1) > _SAME and scale > 0:
        words = f"is {scale:.3g} times too large, a temperature of {1 / scale:.3g}"
        yield Candidate("factor", words, f"divide by {scale:.3g}", lambda x, t: score(x, t) / scale)
        words = f"is evaluated at {scale:.3g} x_t"
        yield Candidate("input scaled", words, f"divide x_t by {scale:.3g}", lambda x, t: score(x / scale, t))
        words = f"is evaluated at {scale**0.5:.3g} x_t and multiplied as often"
        root = scale**0.5
        yield Candidate("input scaled", words, f"divide x_t and its result by {root:.3g}", lambda x, t: score(x / root, t) / root)
    named = matrix_words(matrix)
    if named and abs(float(torch.linalg.det(matrix))) > 0.01:
        inverse = torch.linalg.inv(matrix)
        text = "compare the order, sign and scale of its output's columns with those of x_t"
        yield Candidate(*named, text, lambda x, t: score(x, t) @ inverse.to(x).T)
        yield Candidate(*named, text.replace("output", "input"), lambda x, t: score(x @ inverse.to(x).T, t))
