"""Mistakes in space: coordinates that are swapped, flipped, dropped or rescaled, and points in other units."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger.explanations.case import FIRST_TIME, Candidate, Candidates, Case, Field, fitted
from cepkit.debugger.factors import finite_rows, rms
from cepkit.truth.exact import Mixture

_SNAP = 0.04  # an entry of a fitted matrix is taken for 0 or 1 if it is this near
_DRAWS = 2048  # points that stand for a mixture in other units
_ROUNDS, _STEP = 10, 0.05  # of the search for a shift
_MOST_DIMENSIONS = 12  # up to which all pairs of input coordinates are tried


def of_the_output(case: Case) -> Candidates:
    """One matrix between the right field and the given one, at all levels."""
    given, exact = [], []
    for t, right in case.exact.items():
        rows = finite_rows(right, case.given[t])
        size = max(rms(right[rows]), 1e-30)
        given.append(case.given[t][rows].double() / size)
        exact.append(right[rows].double() / size)
    g, r = torch.cat(given), torch.cat(exact)
    if len(r) < 4 * case.dim:
        return
    matrix = torch.linalg.lstsq(r, g).solution.T  # given = matrix @ right
    named = matrix_words(matrix)
    if named:
        snapped, text = _snapped(matrix), "compare the order, sign and scale of its output's columns with those of x_t"
        yield Candidate(*named, text, lambda x, t: case.right(x, t) @ snapped.to(x).T, constants=2)


def _snapped(matrix: Tensor) -> Tensor:
    """The matrix with entries that are nearly 0 or 1 or -1 set to these."""
    matrix = torch.where(matrix.abs() < _SNAP, 0.0, matrix)
    return torch.where((matrix.abs() - 1).abs() < _SNAP, matrix.sign(), matrix)


def matrix_words(matrix: Tensor) -> tuple[str, str] | None:
    """The cause and the words of a matrix that is not nearly a multiple of the identity."""
    matrix = _snapped(matrix)
    diagonal, off = matrix.diagonal(), matrix - matrix.diagonal().diag()
    eye = torch.eye(len(matrix), dtype=matrix.dtype)
    if torch.allclose(matrix, diagonal.mean() * eye, atol=2 * _SNAP * float(matrix.abs().max())):
        return None
    one_each = bool(((matrix != 0).sum(0) <= 1).all()) and bool(((matrix != 0).sum(1) <= 1).all())
    if not bool(off.any()):
        zero, negative = diagonal == 0, diagonal < 0
        if bool(zero.any()):
            return "coordinate dropped", f"is zero in {_names(zero)}"
        if bool(negative.any()) and torch.allclose(diagonal.abs(), diagonal.abs().mean() * torch.ones_like(diagonal), rtol=0.1):
            return "coordinate flipped", f"has the wrong sign in {_names(negative)}"
        scales = ", ".join(f"{value:.3g}" for value in diagonal.tolist())
        return "coordinate scaled", f"has its coordinates multiplied by {scales}"
    if one_each:
        places = [int(row.abs().argmax()) + 1 for row in matrix]
        return "coordinates swapped", f"has its coordinates in another order, {', '.join(f'x{i}' for i in places)}"
    size = float(matrix.square().sum() / len(matrix)) ** 0.5
    if torch.allclose(matrix @ matrix.T, size**2 * eye, atol=0.1 * size**2):
        angle = (
            f" by {math.degrees(math.atan2(float(matrix[1, 0]), float(matrix[0, 0]))):.0f} degrees" if len(matrix) == 2 else ""
        )
        return "rotated", f"is rotated{angle}"
    return "rotated", f"is a linear map of it, {np.array2string(matrix.numpy(), precision=2)}"


def _names(which: Tensor) -> str:
    return " and ".join(f"x{i + 1}" for i in torch.nonzero(which)[:, 0].tolist())


def of_the_input(case: Case) -> Candidates:
    """Coordinates that are taken for others before the field is computed."""
    indices = range(case.dim)
    pairs = list(itertools.combinations(indices, 2)) if case.dim <= _MOST_DIMENSIONS else list(itertools.pairwise(indices))
    for i, j in pairs:
        order = list(indices)
        order[i], order[j] = j, i
        words = f"takes x{i + 1} for x{j + 1}"
        repair = f"swap columns {i} and {j} of x_t before the call"
        yield from _both(case, "coordinates swapped", words, repair, lambda x, o=order: x[:, o])
    for i in indices:
        one = torch.ones(case.dim).index_fill(0, torch.tensor([i]), -1.0)
        words, repair = f"takes x{i + 1} for its negative", f"flip column {i} of x_t before the call"
        yield from _both(case, "coordinate flipped", words, repair, lambda x, s=one: x * s.to(x))
        none = one.clamp_min(0.0)
        words, repair = f"does not look at x{i + 1}", f"pass column {i} of x_t on"
        yield from _both(case, "coordinate dropped", words, repair, lambda x, s=none: x * s.to(x))


def _both(case: Case, cause: str, words: str, repair: str, change) -> Candidates:
    """The change of the input alone, and of input and output, as a model of changed data would have it."""
    yield Candidate(cause, words, repair, lambda x, t: case.right(change(x), t))
    yield Candidate(cause, words, repair + ", and of its result", lambda x, t: change(case.right(change(x), t)))


def other_units(case: Case) -> Candidates:
    """A model of points in other units, or points that are scaled or shifted before the call."""
    grid = np.geomspace(1 / 8, 8, 25)
    scale = fitted(case, lambda c: lambda x, t: case.right(c * x, t), grid)
    yield Candidate(
        "input scaled",
        f"is evaluated at {scale:.3g} x_t",
        f"divide x_t by {scale:.3g}",
        lambda x, t: case.right(scale * x, t),
        constants=1,
    )
    unit = fitted(case, lambda s: in_units(case, s), grid)
    words = f"is of a model whose data were divided by {unit:.3g}"
    repair = f"give it points of the scale that it was trained on: data / {unit:.3g}, noise of the same schedule"
    yield Candidate("input scaled", words, repair, in_units(case, unit), constants=1)
    if case.mixture is not None:
        yield from _standardised(case)


def _standardised(case: Case) -> Candidates:
    """Points that are standardised before the call, and a model of data whose columns were."""
    x, energy = case.mixture.sample(_DRAWS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if not bool((x.std(0) > 0).all()):
        return
    mean, trusted = x.mean(0), case.trusting(Mixture.from_points(x, energy))
    for name, spread in (("column by column", x.std(0)), ("by one number", x.std())):

        def again(x: Tensor, t: float, spread=spread) -> Tensor:
            return case.right((x - mean.to(x)) / spread.to(x), t)

        words = f"is evaluated at points that were standardised once more, {name}"
        yield Candidate("input scaled", words, "pass x_t on as it is", again)
        repair = "pass x_t on as it is, and leave the result as it is"
        yield Candidate("input scaled", words, repair, lambda x, t, s=spread, f=again: f(x, t) / s.to(x))
        if trusted is not None:
            words = f"is of a model whose data were standardised, {name}"
            repair = "standardise points as in training, and divide its score by the standard deviations"
            field = case.field_of(Mixture.from_points((x - mean) / spread, energy))
            yield Candidate("input scaled", words, repair, field, True, trusted)


def shifted(case: Case) -> Candidates:
    """Points that are shifted before the call, or data that were."""
    for words, signal in (("is evaluated at x_t", False), ("is of a model whose data are shifted", True)):

        def moved(shift: Tensor, signal=signal) -> Field:
            return lambda x, t: case.right(x - (float(case.schedule.alpha(t)) if signal else 1.0) * shift.to(x), t)

        shift = _best_shift(case.few, moved)
        named = ", ".join(f"{value:.3g}" for value in shift.tolist())
        text = f"{words} by ({named})" if signal else f"{words} - ({named})"
        yield Candidate("input shifted", text, "centre the points as in training", moved(shift), False, constants=2)


def _best_shift(case: Case, moved: Callable[[Tensor], Field]) -> Tensor:
    """The shift (D,) that fits best, by the Gauss-Newton method with finite differences."""
    shift = torch.zeros(case.dim, dtype=torch.float64)
    levels = sorted(case.points, reverse=True)
    for i in range(_ROUNDS):
        rests, slopes = [], []
        for t in levels[: 1 + i]:  # the smoothest first
            x = case.points[t]
            here = moved(shift)(x, t)
            size = max(rms(here), 1e-30)
            rests.append(((case.given[t] - here) / size).double().flatten())
            steps = _STEP * torch.eye(case.dim, dtype=torch.float64)
            slopes.append(torch.stack([((moved(shift + s)(x, t) - here) / (_STEP * size)).double().flatten() for s in steps], -1))
        rest, slope = torch.cat(rests), torch.cat(slopes)
        rows = finite_rows(rest[:, None], slope)
        if int(rows.sum()) < case.dim:
            break
        # few rows whose slope is huge must not decide
        weight = 1 / (1 + slope[rows].norm(dim=-1, keepdim=True) + rest[rows, None].abs())
        shift = shift + torch.linalg.lstsq(weight * slope[rows], weight * rest[rows, None]).solution[:, 0]
    return shift


def in_units(case: Case, unit: float) -> Field:
    """The right field of a model of y_0 = x_0 / unit, noised as y_t = alpha_t y_0 + sigma_t eps.

    unit y_t has alpha_t of signal x_0 and unit sigma_t of noise, which after a factor is the x of another time.
    """

    def field(y: Tensor, t: float) -> Tensor:
        schedule, at = case.schedule, torch.tensor(t, dtype=torch.float64)
        least = float(schedule.log_snr(1.0))
        log_snr = (schedule.log_snr(at) - 2 * math.log(unit)).clamp_min(least)
        other = min(max(float(schedule.t_from_log_snr(log_snr)), FIRST_TIME), 1.0)
        ratio = float(schedule.alpha(other) / schedule.alpha(t))
        return ratio * unit * case.right(ratio * unit * y, other)

    return field
