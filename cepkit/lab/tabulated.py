"""Guidances of a `GriddedTruth` as tables, so that a panel costs one look-up for each step of the sampler.

DPS differentiates through the denoiser: its gradient is J^T grad E(x0_hat) with the Jacobian J of x0_hat(x_t). On a grid x0_hat
is known at every point, so J is a central difference over the grid's spacing. The gradient is linear in beta, so one table for
each t serves every beta. Off the grid the same difference is taken of the mixture's own x0_hat. Where an energy falls within
less than the spacing DPS has ridges that no grid resolves: single particles then end elsewhere, as after any small change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from cepkit.diffusion.denoisers import Denoiser, predict
from cepkit.diffusion.guidance import DPSGuidance, Guidance, ZeroGuidance
from cepkit.diffusion.process import eps_from_score, x0_from_eps
from cepkit.diffusion.schedules import Schedule
from cepkit.lab.gridded import GriddedTruth
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactDenoiser, ExactGuidance, MeanEnergyGuidance

Field = Callable[[Tensor, Tensor | float], Tensor]
Table = Callable[[float], Tensor]  # t -> a field at the grid's points and 1 where it holds, (3, side, side)

_ZERO_FIELD = torch.tensor([0.0, 0.0, 1.0])[:, None, None]


@dataclass(frozen=True)
class TabulatedDPS(Guidance):
    """`DPSGuidance` with the truth's own denoiser and energy, its field interpolated bilinearly from a table for each t."""

    truth: GriddedTruth
    beta: float
    schedule: Schedule

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return DPSGuidance(ExactDenoiser(self.truth, self.schedule), self.truth.energy, self.beta).energy(x_t, t)

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        if self.truth.flat:  # piecewise constant: the gradient is zero on either side of every jump
            return torch.zeros_like(x_t)
        return self.beta * self.truth.look_up(x_t, self._unit_table(float(t)), lambda x: self._off_grid(x, t))

    def table(self, t: float) -> Tensor:
        """The field at the grid's points and 1 where it holds, (3, side, side)."""
        if self.truth.flat:
            return _ZERO_FIELD
        x, y, holds = self._unit_table(t)
        return torch.stack([self.beta * x, self.beta * y, holds])

    def _unit_table(self, t: float) -> Tensor:
        """The table for beta = 1."""

        def make() -> Tensor:
            _, dx, dy, holds = self.truth.density(t, self.schedule)
            x, time = self.truth.points(), torch.tensor(t, dtype=torch.float64)
            alpha, sigma = self.schedule.alpha(time), self.schedule.sigma(time)
            x0 = x0_from_eps(eps_from_score(torch.stack([dx, dy], -1), sigma), x, alpha, sigma)
            by_y, by_x = torch.gradient(x0, spacing=self.truth.spacing, dim=(0, 1))
            field = _pulled_back(self.truth, torch.where(holds[..., None] > 0, x0, self.truth.centre), by_x, by_y)
            inner = -max_pool2d(-holds[None], 3, stride=1, padding=1)  # the differences need the neighbours
            return torch.cat([torch.where(inner > 0, field.movedim(-1, 0), 0.0), inner])

        return self.truth.keep((t, self.schedule, "DPS"), make)

    def _off_grid(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """The field for beta = 1 at points (n, 2) that these tables do not cover."""
        if self.truth.beyond is not None:
            return TabulatedDPS(self.truth.beyond, 1.0, self.schedule)(x_t, t)
        step = self.truth.spacing
        offsets = step * torch.tensor([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]]).to(x_t)
        x0, right, left, up, down = predict(ExactDenoiser(self.truth.truth, self.schedule), "x0", x_t + offsets[:, None], t)
        return _pulled_back(self.truth.truth, x0, (right - left) / (2 * step), (up - down) / (2 * step))


def _pulled_back(truth: GriddedTruth | Mixture, x0: Tensor, by_x: Tensor, by_y: Tensor) -> Tensor:
    """-J^T grad E(x0), shape (..., 2), from the columns of J."""
    at = x0.detach().float().requires_grad_(True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(truth.energy(at).sum(), at)
    return -torch.stack([(by_x * slope).sum(-1), (by_y * slope).sum(-1)], -1).to(x0)


def tabulated(field: Field, truth: GriddedTruth) -> Field:
    """The same field, with the sums over the truth looked up where it is one of the truth's own guidances."""
    if type(field) in (ExactGuidance, MeanEnergyGuidance) and field.truth is truth.truth:
        return replace(field, truth=truth)
    if type(field) is DPSGuidance and type(field.denoiser) is ExactDenoiser:
        own = (truth, truth.truth)
        owner = getattr(field.energy_function, "__self__", None)  # a toy or the truth, when this is their method
        if field.denoiser.truth in own and getattr(owner, "truth", owner) in own:
            return TabulatedDPS(truth, field.beta, field.denoiser.schedule)
    return field


def table_of(field: Field, truth: GriddedTruth) -> Table | None:
    """The table of this field on the grid of `truth`, or None where it has none."""
    if type(field) is ZeroGuidance:
        return lambda _t: _ZERO_FIELD
    if getattr(field, "truth", None) is not truth:
        return None
    tables: dict[type, Table] = {
        ExactGuidance: lambda t: truth.table(t, field.schedule, field.beta)[1:],
        MeanEnergyGuidance: lambda t: truth.mean_energy_table(t, field.schedule, field.beta)[1:],
        TabulatedDPS: lambda t: field.table(t),
    }
    return tables.get(type(field))


class GuidedScores:
    """score + scale * guidance of several panels at once. Looking up is linear, so one table for each panel holds the sum.

    Args:
        truth: whose score it is.
        schedule: of the score.
        fields: the guidance of each panel; one that has no table, see `table_of`, is evaluated at the points.
        hold: steps of a sampler for which such a value is kept before it is evaluated again.
        denoiser: whose score it is instead of the truth's, if given.
    """

    def __init__(
        self, truth: GriddedTruth, schedule: Schedule, fields: Sequence[Field], scale: float, *, hold: int = 1,
        denoiser: Denoiser | None = None,
    ) -> None:  # fmt: skip
        self._truth, self._schedule, self._fields, self._scale, self._hold = truth, schedule, fields, scale, hold
        self._tables = [table_of(field, truth) for field in fields]
        self._sum = torch.empty(len(fields), 3, truth.side, truth.side)
        self._calls, self._held, self._denoiser = 0, {}, denoiser

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """The guided scores at x_t (P, N, 2)."""
        exact, side = self._denoiser is None, self._truth.side
        score = self._truth.table(t, self._schedule)[1:] if exact else _ZERO_FIELD.expand(3, side, side)
        for panel, table in enumerate(self._tables):
            guidance = table(float(t)) if table else _ZERO_FIELD
            torch.add(score[:2], guidance[:2], alpha=self._scale, out=self._sum[panel, :2])
            torch.mul(score[2], guidance[2], out=self._sum[panel, 2])
        values, missing = self._truth.interpolate(self._sum, x_t)
        for panel in missing.any(-1).nonzero().flatten().tolist():
            x = x_t[panel, missing[panel]]
            values[panel, missing[panel]] = self._truth.score(x, t, self._schedule) if exact else 0.0
            if self._tables[panel]:
                values[panel, missing[panel]] += self._scale * self._fields[panel](x, t)
        for panel, table in enumerate(self._tables):
            if not table:
                if self._calls % self._hold == 0:
                    self._held[panel] = self._fields[panel](x_t[panel], t)
                values[panel] += self._scale * self._held[panel]
        self._calls += 1
        return values if exact else values + predict(self._denoiser, "score", x_t.flatten(0, 1), t).reshape(values.shape)
