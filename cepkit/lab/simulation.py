"""Particles under several estimators from the same noise, maps of every field along the sampler's times, and measures.

Each is a generator that pauses with `yield` every few milliseconds and returns its result (see `finish`), so that a view can
drop work that a newer setting has made stale. Sums over the data are looked up in a `GriddedTruth`; the measures compare with
the mixture itself.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from cepkit import plots
from cepkit.calling import check_denoiser
from cepkit.diffusion.denoisers import Denoiser, FunctionDenoiser
from cepkit.diffusion.sampling import METHODS, initial_noise, time_grid, walk
from cepkit.diffusion.schedules import VPLinear
from cepkit.lab.gridded import GriddedTruth
from cepkit.lab.measures import FieldMeasures, Measures, SampleMeasures
from cepkit.lab.panels import Estimators, Guard
from cepkit.lab.tabulated import Field, GuidedScores, table_of
from cepkit.settings import Configuration, setting
from cepkit.truth.metrics import reference_size
from cepkit.truth.toys import Toy
from cepkit.validation import LARGEST_INTEGER

TABLE_SIDE, COARSE_SIDE = 112, 45
MAP_SIDE = 49  # odd, so that every second point is a symmetric grid of arrows
PREVIEW_PARTICLES, _PREVIEW_HOLD = 200, 3
_WIDER = 4.0  # times as far out as the finest tables reach others, for particles that DPS sends far out
FARTHEST = 1e3  # particles are evaluated no further out than this
_VISIBLE_DEPTH = 12.0


def finish(work: Generator[None, None, Any]) -> Any:
    """Run a generator to its end and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value


@dataclass(frozen=True)
class SampleSettings(Configuration):
    """The settings on which a sample depends.

    Attributes:
        scale: guidance scale s.
        beta: inverse temperature.
        steps, method: of the sampler.
        particles: how many.
        seed: of the noise, the same in every panel.
    """

    scale: float = setting(1.0)
    beta: float = setting(3.0, low=0.0)
    steps: int = setting(25, low=1, high=200)
    method: str = setting("dpmpp2m", choices=METHODS)
    particles: int = setting(2000, low=1, high=20_000)
    seed: int = setting(0, low=0, high=LARGEST_INTEGER)


class Paths(NamedTuple):
    """Particles at every time of the sampler: x is (P, T, N, 2) for P panels, `times` falls from 1."""

    times: list[float]
    x: Tensor
    failures: list[str]


class Maps(NamedTuple):
    """Pictures at each time, rows from bottom to top: target is (T, S, S) in [0, 1], NaN nowhere; energies (P, T, S, S) up to a
    constant for each time, NaN where q_t is negligible or there is none; errors likewise, relative to the exact field's size.
    On every second point: the score (T, A, A, 2) and the guidance (P, T, A, A, 2), at scale 1; `size` (T,) is the score's typical
    length over p_t, beside which a force counts."""

    times: list[float]
    target: Tensor
    data: Tensor
    energies: Tensor
    errors: Tensor
    size: Tensor
    score: Tensor
    guidance: Tensor
    failures: list[str]


class Simulation:
    """A toy, the estimators to compare on it, and the denoiser they all share.

    Args:
        toy: two-dimensional.
        estimators: names or a mapping, see `cepkit.lab.panels.Estimators`.
        denoiser: the exact one when absent.
        beta: at which networks are trained.
        train_steps: optimiser steps of each network.

    Raises:
        ValueError: a toy of other dimension, an unknown name, a value that is not callable, or no denoiser.
    """

    def __init__(
        self, toy: Toy, estimators: Iterable[str] | Mapping[str, Field | None], *, denoiser: Denoiser | None = None,
        beta: float = 3.0, train_steps: int = 1000,
    ) -> None:  # fmt: skip
        if toy.dim != 2:
            raise ValueError(f"toy: expected a two-dimensional toy to draw, got {toy.dim} dimensions")
        self.toy, self._denoiser = toy, denoiser if denoiser is None else check_denoiser(denoiser)
        self.schedule = VPLinear() if denoiser is None else denoiser.schedule
        # noise at t = 1 lies round the origin, and a point outside all tables costs as much as a thousand inside
        reach = max(1.3 * toy.extent, 4.2 + max(abs(c) for c in toy.centre))
        wider = GriddedTruth(toy.truth, centre=toy.centre, extent=_WIDER * reach, side=TABLE_SIDE)
        square = {"centre": toy.centre, "extent": reach, "beyond": wider}
        self.gridded, self._coarse = (GriddedTruth(toy.truth, side=side, **square) for side in (TABLE_SIDE, COARSE_SIDE))
        tables = replace(toy, truth=self.gridded)
        self.estimators = Estimators(tables, estimators, self.schedule, beta=beta, train_steps=train_steps)
        self._measures = Measures(toy, self.gridded, self.schedule)

    def on(self, toy: Toy) -> Self:
        """The same panels on another toy, with its exact denoiser; networks are yet to be trained there."""
        mine = self.estimators
        other = type(self)(toy, mine.given, beta=mine.trained_at, train_steps=mine.train_steps)
        other.estimators.choose(mine.names)
        return other

    def times(self, steps: int) -> Tensor:
        """The sampler's times, (steps + 1,)."""
        return time_grid(self.schedule, steps)

    # -- particles -----------------------------------------------------------------------------------------------

    def paths(self, settings: SampleSettings, *, preview: bool = False, coarse: bool = False) -> Generator[None, None, Paths]:
        """Sample the particles of these settings under every estimator.

        Args:
            preview: only the first particles, and a guidance that has no table is kept for some steps of the sampler.
            coarse: look the toy's guidances up in coarser tables, which are quicker to make for a new beta.
        """
        guards = self.estimators.guards(settings.beta, self._coarse if coarse else None)
        times = self.times(settings.steps)
        noise = initial_noise((settings.particles, 2), generator=torch.Generator().manual_seed(settings.seed))
        noise, hold = (noise[:PREVIEW_PARTICLES], _PREVIEW_HOLD) if preview else (noise, 1)
        x = yield from self._sample(guards, noise, times, settings, coarse=coarse, hold=hold)
        return Paths(times.tolist(), x, [guard.failure for guard in guards])

    def drop(self, points: list[list[float]], start: int, settings: SampleSettings) -> Generator[None, None, Tensor]:
        """The paths (P, T - start, N, 2), under every estimator, of N particles put down at the time of index `start`."""
        guards, times, x = self.estimators.guards(settings.beta), self.times(settings.steps)[start:], torch.tensor(points)
        if len(times) < 2:
            return x.expand(len(guards), 1, -1, -1)
        return (yield from self._sample(guards, x, times, settings))

    def _sample(
        self, guards: list[Guard], x: Tensor, times: Tensor, settings: SampleSettings, *, coarse: bool = False, hold: int = 1
    ) -> Generator[None, None, Tensor]:
        """The sampler's states (P, T, N, 2) from x (N, 2)."""
        truth = self._coarse if coarse else self.gridded
        groups = [[guard] for guard in guards] if settings.method == "sde" else [guards]  # fresh noise too is the same in all
        columns = []
        for group in groups:
            # the tables know a field by its class; a guard is for those that they do not know
            fields = [guard.field if table_of(guard.field, truth) else guard for guard in group]
            scores = GuidedScores(truth, self.schedule, fields, settings.scale, hold=hold, denoiser=self._denoiser)
            # a particle sent far out is drawn nowhere instead of overflowing
            bounded = FunctionDenoiser(lambda x_t, t, f=scores: f(x_t.clamp(-FARTHEST, FARTHEST), t), self.schedule, "score")
            start, generator = x.expand(len(group), -1, -1), torch.Generator().manual_seed(settings.seed)
            states = []
            for step in walk(bounded, start, times, method=settings.method, generator=generator):
                states.append(step.x)
                yield
            columns.append(torch.stack(states, 1))
        return torch.cat(columns)

    # -- maps ----------------------------------------------------------------------------------------------------

    def maps(self, beta: float, times: list[float]) -> Generator[None, None, Maps]:
        """Draw every field at these times."""
        guards, x = self.estimators.guards(beta), plots.picture_points(self.toy, MAP_SIDE)
        columns = []
        for t in times:
            columns.append(self._maps_at(x, t, beta, guards))
            yield
        target, data, size, score, *panels = (torch.stack(column) for column in zip(*columns, strict=True))
        energies, errors, guidance = (values.transpose(0, 1) for values in panels)
        return Maps(times, target, data, energies, errors, size, score, guidance, [guard.failure for guard in guards])

    def _maps_at(self, x: Tensor, t: float, beta: float, guards: list[Guard]) -> tuple[Tensor, ...]:
        truth, schedule = self.gridded, self.schedule
        log_q, score, exact = truth.log_q(x, t, schedule), truth.score(x, t, schedule), truth.guidance(x, t, beta, schedule)
        log_p = log_q - truth.energy_t(x, t, beta, schedule)
        visible = log_q > log_q.max() - _VISIBLE_DEPTH
        weight = torch.softmax(log_q.flatten(), 0).reshape(log_q.shape)
        on_target = torch.softmax(log_p.flatten(), 0).reshape(log_p.shape)
        typical, size = reference_size(exact, score, on_target), reference_size(score, score, on_target)
        energies, errors, fields = [], [], []
        for guard in guards:
            field, energy = guard(x, t), guard.energy(x, t)
            if not guard.works:
                field, energy = torch.full_like(x, torch.nan), None
            if energy is None:
                energy = torch.full_like(log_q, torch.nan)
            energies.append(torch.where(visible, energy - (weight * energy).sum(), torch.nan))
            errors.append(torch.where(visible, (field - exact).norm(dim=-1) / typical, torch.nan))
            fields.append(torch.nan_to_num(field)[::2, ::2])
        pictures = ((density - density.max()).div(2).exp() for density in (log_p, log_q))
        return *pictures, size, score[::2, ::2], torch.stack(energies), torch.stack(errors), torch.stack(fields)

    # -- measures ------------------------------------------------------------------------------------------------

    def measure_fields(self, beta: float, times: list[float]) -> Generator[None, None, FieldMeasures]:
        """Measure every field at these times, at points of p_t."""
        return self._measures.fields(self.estimators.guards(beta, look_up=False), beta, times)

    def measure_samples(self, paths: Paths, beta: float) -> Generator[None, None, SampleMeasures]:
        """Measure the samples at the end of the paths against exact draws of the target."""
        return self._measures.samples(paths.x[:, -1].clamp(-FARTHEST, FARTHEST).contiguous(), beta)
