"""Measures of the fields along the sampler's times and of the finished samples, both against the mixture itself.

Generators that pause with `yield`, like those of `cepkit.lab.simulation`.
"""

from collections import OrderedDict
from collections.abc import Generator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from cepkit.diffusion.schedules import Schedule
from cepkit.lab.grid_density import kept
from cepkit.lab.gridded import GriddedTruth
from cepkit.lab.panels import Guard
from cepkit.truth.fields import ExactGuidance
from cepkit.truth.metrics import NEGLIGIBLE, ErrorProbe, mmd2, mmd2_null_band, mode_masses, relative_error, total_variation
from cepkit.truth.toys import Toy

_PROBE_POINTS, _LARGEST_SAMPLE, _KEPT_PROBES = 256, 1000, 400
_NAN = torch.tensor(torch.nan)


class FieldMeasures(NamedTuple):
    """Over p_t at each time: root mean square lengths of the score (T,) and of each guidance (P, T), and relative errors of the
    guidances (P, T). NaN where an estimator failed or, for errors, where the exact guidance is negligible beside the score."""

    times: list[float]
    score: Tensor
    guidance: Tensor
    errors: Tensor


class SampleMeasures(NamedTuple):
    """Of the finished samples: MMD^2 to exact ones (P,) and its floor, the largest of 200 between two exact sets of these sizes,
    which exact samples exceed once or twice in a hundred times; total variation of the mode masses (P,; NaN for a toy of one
    mode); averages of the energy (P,) and the target's."""

    mmd2: Tensor
    floor: float
    modes: Tensor
    energy: Tensor
    target_energy: float


class Measures:
    """Measures on one toy; those that do not depend on the guidance are kept between calls.

    Args:
        gridded: the toy's tables, whose exact guidance is measured as the mixture's.
    """

    def __init__(self, toy: Toy, gridded: GriddedTruth, schedule: Schedule) -> None:
        self._toy, self._gridded, self._schedule = toy, gridded, schedule
        self._probes: OrderedDict[tuple, ErrorProbe] = OrderedDict()
        self._targets: dict[tuple[float, int], tuple[Tensor, float]] = {}

    def fields(self, guards: Sequence[Guard], beta: float, times: list[float]) -> Generator[None, None, FieldMeasures]:
        """Measure the fields at these times, at points of p_t."""
        exact_guidance = ExactGuidance(self._gridded, beta, self._schedule)
        rows = []
        for t in times:
            probe = kept(self._probes, _KEPT_PROBES, (t, beta), partial(self._probe, t, beta))
            (x,), (exact,), (score,) = probe.points, probe.exact, probe.score
            score_size, exact_size = _size(score), _size(exact)
            sizes, errors = [], []
            for guard in guards:  # the truth itself is measured as such, not as looked up
                field = exact if guard.field == exact_guidance else guard(x, t)
                sizes.append(_size(field) if guard.works else _NAN)
                comparable = guard.works and exact_size > NEGLIGIBLE * score_size
                errors.append(relative_error(field, exact, score) if comparable else _NAN)
            rows.append((score_size, torch.stack(sizes), torch.stack(errors)))
            yield
        return FieldMeasures(times, *(torch.stack(column, -1) for column in zip(*rows, strict=True)))

    def samples(self, samples: Tensor, beta: float) -> Generator[None, None, SampleMeasures]:
        """Measure finished samples (P, N, 2) against exact draws of the target."""
        exact, floor = self._target(beta, max(2, min(samples.shape[1], _LARGEST_SAMPLE)))
        yield
        target = self._toy.truth.tilt(beta)
        masses = target.mode_masses()
        rows = []
        for x in samples[:, :_LARGEST_SAMPLE]:
            distance = mmd2(x, exact) if len(x) > 1 else _NAN
            yield
            modes = total_variation(mode_masses(x, target), masses) if len(masses) > 1 else _NAN
            yield
            rows.append(torch.stack([distance.double(), modes.double(), self._mean_energy(x)]))
            yield
        distances, modes, energies = torch.stack(rows).T
        return SampleMeasures(distances, floor, modes, energies, float(self._mean_energy(exact)))

    def _mean_energy(self, x: Tensor) -> Tensor:
        """In the units of the data."""
        return self._toy.energy(x).mean().double() + (self._toy.scaling.zero if self._toy.scaling else 0.0)

    def _probe(self, t: float, beta: float) -> ErrorProbe:
        generator = torch.Generator().manual_seed(1)
        return ErrorProbe(self._toy.truth, beta, self._schedule, times=(t,), n=_PROBE_POINTS, generator=generator)

    def _target(self, beta: float, n: int) -> tuple[Tensor, float]:
        """Exact samples, and how far n further ones may be from them by chance."""
        if (beta, n) not in self._targets:
            target, generator = self._toy.truth.tilt(beta), torch.Generator().manual_seed(2)
            exact, other = (target.sample(_LARGEST_SAMPLE, generator=generator)[0] for _ in range(2))
            self._targets[beta, n] = (exact, mmd2_null_band(other[:n], exact, generator=generator).largest)
        return self._targets[beta, n]


def _size(field: Tensor) -> Tensor:
    """The root mean square length of vectors (n, 2)."""
    return field.square().sum(-1).mean().sqrt()
