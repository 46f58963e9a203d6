"""What the lab measures: the fields along the sampler's times, and the finished samples, both against the mixture itself.

Generators that pause with `yield`, like those of `cepkit.lab.simulation`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cepkit.diffusion.denoisers import Denoiser, predict
from cepkit.diffusion.schedules import Schedule
from cepkit.lab.panels import Guard
from cepkit.truth.fields import ExactGuidance
from cepkit.truth.gridded import GriddedTruth
from cepkit.truth.metrics import ErrorProbe, kernel_bandwidths, mmd2, mode_masses, relative_error, total_variation
from cepkit.truth.toys import Toy

_PROBE_POINTS, _MEASURED, _FLOOR_SETS, _KEPT_PROBES = 256, 1000, 5, 400


class Along(NamedTuple):
    """Over p_t at each time: root mean square lengths of the score (T,) and of each guidance (P, T), and relative errors of the
    guidances (P, T); NaN where an estimator failed or, for errors, where nothing is to be guided (beta = 0)."""

    times: list[float]
    score: Tensor
    guidance: Tensor
    errors: Tensor


class Finished(NamedTuple):
    """Of the finished samples: MMD^2 to exact ones (P,) and the largest between exact sets, total variation of the mode masses
    (P,; NaN for a toy of one mode), mean energies (P,) and the target's."""

    mmd2: Tensor
    mmd2_floor: float
    mode_error: Tensor
    mean_energy: Tensor
    target_energy: float


class Measures:
    """Measures on one toy; what does not depend on the guidance is kept between calls.

    Args:
        gridded: the toy's tables, whose exact guidance is measured as the mixture's.
        denoiser: whose score is measured.
    """

    def __init__(self, toy: Toy, gridded: GriddedTruth, denoiser: Denoiser, schedule: Schedule) -> None:
        self._toy, self._gridded, self._denoiser, self._schedule = toy, gridded, denoiser, schedule
        self._probes: dict[tuple, ErrorProbe] = {}
        self._targets: dict[float, tuple[Tensor, Tensor, float]] = {}

    def along(self, guards: Sequence[Guard], beta: float, times: list[float]) -> Generator[None, None, Along]:
        """The fields at these times, at points of p_t."""
        rows = []
        for t in times:
            rows.append(self._measure_fields(t, beta, guards))
            yield
        return Along(times, *(torch.stack(column, -1) for column in zip(*rows, strict=True)))

    def finished(self, samples: Tensor, beta: float) -> Generator[None, None, Finished]:
        """Finished samples (P, N, 2) against exact draws of the target."""
        exact, bandwidths, floor = yield from self._target(beta)
        target = self._toy.truth.tilt(beta)
        rows = []
        for x in samples[:, :_MEASURED]:
            distance = mmd2(x, exact, bandwidths=bandwidths) if len(x) > 1 else torch.tensor(torch.nan)
            yield
            wanted = target.mode_masses()
            modes = total_variation(mode_masses(x, target), wanted) if len(wanted) > 1 else torch.tensor(torch.nan).double()
            yield
            rows.append(torch.stack([distance.double(), modes, self._toy.energy(x).mean().double()]))
            yield
        distances, modes, energies = torch.stack(rows).T
        return Finished(distances, floor, modes, energies, float(self._toy.energy(exact).mean()))

    def _measure_fields(self, t: float, beta: float, guards: Sequence[Guard]) -> tuple[Tensor, Tensor, Tensor]:
        key = (t, beta)
        if key not in self._probes:
            if len(self._probes) > _KEPT_PROBES:
                self._probes.clear()
            self._probes[key] = ErrorProbe(
                self._toy.truth, beta, self._schedule, times=(t,), n=_PROBE_POINTS, generator=torch.Generator().manual_seed(1)
            )
        (x,), (exact,) = self._probes[key].points, self._probes[key].exact
        norms, errors = [], []
        for guard in guards:
            field = exact if self._is_exact(guard, beta) else guard(x, t)
            known = guard.field is not None and guard.failure is None
            norms.append(_size(field) if known else torch.tensor(torch.nan))
            errors.append(relative_error(field, exact) if known and beta > 0 else torch.tensor(torch.nan))
        return _size(predict(self._denoiser, "score", x, t)), torch.stack(norms), torch.stack(errors)

    def _is_exact(self, guard: Guard, beta: float) -> bool:
        """Whether this is the truth itself, which is measured as such and not as looked up."""
        return isinstance(guard.field, ExactGuidance) and guard.field == ExactGuidance(self._gridded, beta, self._schedule)

    def _target(self, beta: float) -> Generator[None, None, tuple[Tensor, Tensor, float]]:
        """Exact samples, the kernel's bandwidths, and the largest MMD^2 of further exact sets."""
        if beta not in self._targets:
            target, generator = self._toy.truth.tilt(beta), torch.Generator().manual_seed(2)
            exact = target.sample(_MEASURED, generator=generator)[0]
            bandwidths = kernel_bandwidths(exact)
            floors = []
            for _ in range(_FLOOR_SETS):
                other = target.sample(_MEASURED, generator=generator)[0]
                floors.append(float(mmd2(other, exact, bandwidths=bandwidths)))
                yield
            self._targets[beta] = (exact, bandwidths, max(floors))
        return self._targets[beta]


def _size(field: Tensor) -> Tensor:
    """The root mean square length of vectors (n, 2)."""
    return field.square().sum(-1).mean().sqrt()
