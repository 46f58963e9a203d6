"""The truth at the speed of a slider: a `Mixture` tabulated on a grid, one matrix product in place of a sum for each point.

On the grid log q_t and that of the noised target are exact (`cepkit.lab.grid_density`). Theorem 3.1 gives E_t and its
gradient from the two. Between its points values are interpolated bilinearly. A point outside the grid, or so far out that even
the products underflow, is handed to the `Mixture` itself or to a wider grid. How much the interpolation costs is measured by
whoever uses it: the truth is one call away.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from cepkit.diffusion.schedules import Schedule
from cepkit.lab.grid_density import GridDensity
from cepkit.truth.exact import Mixture
from cepkit.truth.posterior import Fields
from cepkit.validation import check_beta, check_number, check_points, check_time

_SMALL_BETA = 1e-4  # E_t is beta E[E | x_t] to first order; float64 keeps eight digits of the quotient at this beta
_KEPT_TABLES = 400
_ENERGY_PAIRS, _LARGEST_SIDE = 2**24, 400  # of the table of the clean energy: (point, component) pairs, and points along a side


class GriddedTruth:
    """A two-dimensional `Mixture` with the same methods, answered from tables that are made when first asked for.

    Results follow the dtype of `x_t` and are differentiable in it. A time for each point is passed on to the mixture.

    Args:
        truth: the mixture.
        centre, extent: the grid covers [-extent, extent]^2 around `centre`.
        side: points along each axis.
        beyond: tables of a larger square that answer for points outside this one, in place of the mixture.
    """

    def __init__(
        self,
        truth: Mixture,
        *,
        centre: tuple[float, float] = (0.0, 0.0),
        extent: float = 4.5,
        side: int = 128,
        beyond: GriddedTruth | None = None,
    ) -> None:
        if truth.dim != 2:
            raise ValueError(f"truth: expected a two-dimensional mixture, got {truth.dim} dimensions")
        self.truth, self.beyond = truth, beyond
        self._elsewhere = truth if beyond is None else beyond
        self.side = check_number(side, name="side", low=2, integer=True)
        self.extent = check_number(extent, name="extent", low=1e-6)
        self.centre = torch.tensor(centre, dtype=torch.float64)
        self._tables: OrderedDict[tuple, _Table] = OrderedDict()
        self._density = GridDensity(truth, self._axes())

    @property
    def dim(self) -> int:
        return 2

    @property
    def flat(self) -> bool:
        """Whether the clean energy is constant but for jumps."""
        components = self.truth.components()
        return components.quadratic == 0.0 and float(components.std.max()) == 0.0

    @property
    def spacing(self) -> float:
        """The distance between neighbouring points of the grid."""
        return 2 * self.extent / (self.side - 1)

    def tilt(self, beta: float) -> Mixture:
        """The target; see `Mixture.tilt`."""
        return self.truth.tilt(beta)

    def log_q(self, x_t: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
        """log q_t(x_t), shape (...)."""
        return self._look(x_t, t, schedule, None, self._elsewhere.log_q, 0, 1)[..., 0]

    def score(self, x_t: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
        """grad log q_t(x_t), shape (..., 2)."""
        return self._look(x_t, t, schedule, None, self._elsewhere.score, 1, 3)

    def energy_t(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """E_t(x_t), shape (...)."""
        return self._look(x_t, t, schedule, beta, self._elsewhere.energy_t, 0, 1)[..., 0]

    def guidance(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """-grad E_t(x_t), shape (..., 2)."""
        return self._look(x_t, t, schedule, beta, self._elsewhere.guidance, 1, 3)

    def fields(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Fields:
        """log q_t, score, E_t and guidance."""
        data = (method(x_t, t, schedule) for method in (self.log_q, self.score))
        return Fields(*data, *(method(x_t, t, beta, schedule) for method in (self.energy_t, self.guidance)))

    def mean_energy_t(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """beta E[E(x_0) | x_t], shape (...): the derivative of E_t with respect to beta at 0."""
        factor = check_beta(beta) / _SMALL_BETA
        return factor * self._look(x_t, t, schedule, _SMALL_BETA, self._elsewhere.energy_t, 0, 1)[..., 0]

    def mean_energy_guidance(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """-beta grad E[E(x_0) | x_t], shape (..., 2)."""
        factor = check_beta(beta) / _SMALL_BETA
        return factor * self._look(x_t, t, schedule, _SMALL_BETA, self._elsewhere.guidance, 1, 3)

    def energy(self, x0: Tensor) -> Tensor:
        """The clean energy, shape (...), looked up unless the components have no noise of their own: then it has jumps."""
        components = self.truth.components()
        if float(components.std.min()) == 0.0:
            return self.truth.energy(x0)

        def channels() -> Tensor:
            side = min(max(int((_ENERGY_PAIRS / components.count) ** 0.5), self.side), _LARGEST_SIDE)
            clean = self.truth.energy(self.points(side).float())
            return torch.stack([clean, torch.ones_like(clean)])

        return self._interpolate(check_points(x0, 2, name="x0"), self._kept(("energy",), channels), self.truth.energy, 0, 1)[
            ..., 0
        ]

    def points(self, side: int | None = None) -> Tensor:
        """The points of the grid, or of a grid of another `side`, (side, side, 2), float64, rows from bottom to top."""
        axes = self._axes(side)
        x, y = torch.meshgrid(*axes, indexing="xy")
        return torch.stack([x, y], -1)

    def score_table(self, t: float, schedule: Schedule) -> Tensor:
        """The score at the grid's points and 1 where it holds: (3, side, side), float32."""
        return self._table(float(t), schedule, None).channels[1:]

    def guidance_table(self, t: float, beta: float, schedule: Schedule) -> Tensor:
        """The guidance -grad E_t, likewise."""
        return self._table(float(t), schedule, check_beta(beta)).channels[1:]

    def mean_energy_guidance_table(self, t: float, beta: float, schedule: Schedule) -> Tensor:
        """The field -beta grad E[E(x_0) | x_t], likewise."""
        x, y, holds = self._table(float(t), schedule, _SMALL_BETA).channels[1:]
        factor = check_beta(beta) / _SMALL_BETA
        return torch.stack([factor * x, factor * y, holds])

    def table(self, name: str, t: float, schedule: Schedule, channels: Callable[[float], Tensor]) -> Tensor:
        """A table of the caller's, made by `channels` when it is first asked for; see `look_up`."""
        return self._kept((float(t), schedule, name), lambda: channels(float(t))).channels

    def interpolate(self, tables: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Interpolate bilinearly in several tables at once.

        Args:
            tables: (P, C, side, side), the last channel 1 where the others hold.
            x: points for each, (P, N, 2).

        Returns:
            (P, N, C - 1), and where these do not count, being off the grid or not held, (P, N).
        """
        values, off = self._sample(tables, x)
        return values[..., :-1], off | (values[..., -1] < 0.999)

    def density(self, t: float, schedule: Schedule) -> Tensor:
        """log q_t and its gradient at the grid's points and 1 where they hold, zero elsewhere: (4, side, side), float64."""
        return self._density(float(t), schedule)

    def look_up(
        self,
        name: str,
        x_t: Tensor,
        t: Tensor | float,
        schedule: Schedule,
        channels: Callable[[float], Tensor],
        exact: Callable[[Tensor, Tensor | float], Tensor],
    ) -> Tensor:
        """A field of the caller's at x_t, from tables that are kept under `name`, shape (..., C - 1).

        Args:
            channels: t -> (C, side, side), values at the grid's points; the last channel is 1 where the others hold.
            exact: (x_t, t) -> the same without a table, for points at which it does not hold.
        """
        check_points(x_t, 2)
        t = check_time(t)
        if t.ndim or not x_t.numel():
            return exact(x_t, t)
        table = self._kept((float(t), schedule, name), lambda: channels(float(t)))
        return self._interpolate(x_t, table, lambda x: exact(x, t), 0, len(table.channels) - 1)

    # -- tables --------------------------------------------------------------------------------------------------

    def _axes(self, side: int | None = None) -> tuple[Tensor, Tensor]:
        offsets = torch.linspace(-self.extent, self.extent, side or self.side, dtype=torch.float64)
        return self.centre[0] + offsets, self.centre[1] + offsets

    def _table(self, t: float, schedule: Schedule, beta: float | None) -> _Table:
        """log q_t and the score, or E_t and the guidance."""

        def channels() -> Tensor:
            data = self._density(t, schedule)
            if beta is None:
                return data
            target = self._density(t, schedule, beta)
            table = torch.empty(data.shape)  # written in place: large temporaries cost more than the arithmetic
            torch.sub(data[0], target[0], out=table[0])
            torch.sub(target[1:3], data[1:3], out=table[1:3])
            torch.mul(data[3], target[3], out=table[3])
            return table

        return self._kept((t, schedule, beta), channels)

    def _kept(self, key: tuple, channels: Callable[[], Tensor]) -> _Table:
        if key not in self._tables:
            self._tables[key] = _Table.of(channels())
            while len(self._tables) > _KEPT_TABLES:
                self._tables.popitem(last=False)
        self._tables.move_to_end(key)
        return self._tables[key]

    # -- looking up ----------------------------------------------------------------------------------------------

    def _look(
        self, x_t: Tensor, t: Tensor | float, schedule: Schedule, beta: float | None, exact: Callable, first: int, last: int
    ) -> Tensor:
        """Channels first to last of a table at the points x_t, shape (..., last - first); `exact` answers where there is none."""
        check_points(x_t, 2)
        rest = (schedule,) if beta is None else (check_beta(beta), schedule)
        t = check_time(t)
        if t.ndim or not x_t.numel():
            return exact(x_t, t, *rest).reshape(*x_t.shape[:-1], last - first)
        return self._interpolate(x_t, self._table(float(t), schedule, beta), lambda x: exact(x, t, *rest), first, last)

    def _interpolate(self, x: Tensor, table: _Table, exact: Callable[[Tensor], Tensor], first: int, last: int) -> Tensor:
        """Interpolate bilinearly in a table; `exact` answers for the points at which it does not hold."""
        rows = x.reshape(-1, 2)
        channels = table.channels[first:last] if table.everywhere else table.channels[first:]  # the last says where they hold
        (values,), (off,) = self._sample(channels[None], rows[None])
        looked_up = values[:, : last - first]
        outside = off if table.everywhere else off | (values[:, -1].detach() < 0.999)
        if bool(outside.any()):
            looked_up = looked_up.index_put((outside,), exact(rows[outside]).reshape(-1, last - first))
        return looked_up.reshape(*x.shape[:-1], last - first)

    def _sample(self, tables: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tables (P, C, side, side) at points (P, N, 2): (P, N, C), and which points lie off the grid, (P, N)."""
        place = (x - self.centre.to(x)) / self.extent
        values = grid_sample(tables.to(x), place[:, None], align_corners=True, padding_mode="border")[:, :, 0]
        return values.transpose(1, 2), (place.detach().abs() > 1).any(-1)


class _Table(NamedTuple):
    """A table to look up in: channels (C, side, side), float32, the last 1 where the others hold."""

    channels: Tensor
    everywhere: bool

    @classmethod
    def of(cls, channels: Tensor) -> _Table:
        return cls(channels.float(), bool((channels[-1] == 1).all()))
