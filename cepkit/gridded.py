"""The truth at the speed of a slider: a `Mixture` tabulated on a grid, one matrix product in place of a sum for each point.

Noise does not mix the axes, so seen at the points (x_i, y_j) of a grid every component is a product and

    q_t(x_i, y_j) = sum_k w_k A_ik B_jk,      dq_t/dx = sum_k w_k A'_ik B_jk,      dq_t/dy = sum_k w_k A_ik B'_jk

are matrix products; the noised target has the same A and B with other weights w (Theorem 3.1 then gives E_t and its gradient).
On the grid that is exact. Between its points values are interpolated bilinearly, and a point outside the grid, or one where
even the products relative to the largest A_i and B_j underflow, is handed to the `Mixture` itself or to a wider grid. How much
the interpolation costs is measured by whoever uses it: the truth is one call away.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, threshold

from cepkit.components import Components
from cepkit.exact import Mixture
from cepkit.kernels import axis_kernel
from cepkit.posterior import Fields
from cepkit.schedules import Schedule
from cepkit.validation import check_beta, check_number, check_points, check_time

_FAR = -322.0  # a factor below exp(-322) counts as zero: the product of two would leave the normal numbers
_UNDERFLOW = 1e-270  # a sum below it may have lost terms
_SMALL_BETA = 1e-4  # E_t is beta E[E | x_t] to first order; float64 keeps eight digits of the quotient at this beta
_KEPT_TABLES, _KEPT_KERNELS = 400, 64
_NODES_KEPT, _NODES_AT_ONCE = 1500, 8192
_ENERGY_PAIRS, _LARGEST_SIDE = 2**24, 400  # of the table of the clean energy: (point, component) pairs, and points along a side


Parts = list[tuple[Tensor, ...]]  # A, A', B, B' of the header, each (side, K), a limited number of components at a time


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
        self._densities: OrderedDict[tuple, Tensor] = OrderedDict()
        self._kernels: OrderedDict[tuple, tuple[Parts, tuple[Tensor, Tensor]]] = OrderedDict()

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
        """Between neighbouring points of the grid."""
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
        """Likewise the guidance -grad E_t."""
        return self._table(float(t), schedule, check_beta(beta)).channels[1:]

    def mean_energy_guidance_table(self, t: float, beta: float, schedule: Schedule) -> Tensor:
        """Likewise -beta grad E[E(x_0) | x_t]."""
        x, y, holds = self._table(float(t), schedule, _SMALL_BETA).channels[1:]
        factor = check_beta(beta) / _SMALL_BETA
        return torch.stack([factor * x, factor * y, holds])

    def table(self, name: str, t: float, schedule: Schedule, channels: Callable[[float], Tensor]) -> Tensor:
        """A table of one's own, made by `channels` when it is first asked for; see `look_up`."""
        return self._kept((float(t), schedule, name), lambda: channels(float(t))).channels

    def interpolate(self, tables: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Bilinear in several tables at once.

        Args:
            tables: (P, C, side, side), the last channel 1 where the others hold.
            x: points for each, (P, N, 2).

        Returns:
            (P, N, C - 1), and where these do not count, being off the grid or not held, (P, N).
        """
        place = (x - self.centre.to(x)) / self.extent
        values = grid_sample(tables.to(x), place[:, None], align_corners=True, padding_mode="border")[:, :, 0].transpose(1, 2)
        return values[..., :-1], (place.abs() > 1).any(-1) | (values[..., -1] < 0.999)

    def density(self, t: float, schedule: Schedule) -> Tensor:
        """log q_t and its gradient at the grid's points and 1 where they hold, zero elsewhere: (4, side, side), float64."""
        return self._density(float(t), schedule, None)

    def look_up(
        self,
        name: str,
        x_t: Tensor,
        t: Tensor | float,
        schedule: Schedule,
        channels: Callable[[float], Tensor],
        exact: Callable[[Tensor, Tensor | float], Tensor],
    ) -> Tensor:
        """A field of one's own at x_t, from tables that are kept under `name`, shape (..., C - 1).

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
            data = self._density(t, schedule, None)
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

    def _density(self, t: float, schedule: Schedule, beta: float | None) -> Tensor:
        """(4, side, side), float64: the log of q_t or of the noised, unnormalised target, its gradient, and 1 where they hold."""
        key = (t, schedule)
        if beta is None and key in self._densities:
            return self._densities[key]
        components, axes, highest = self._kernel(t, schedule, beta)
        log_weight = components.log_weight
        if beta is not None and components.quadratic == 0.0:
            log_weight = log_weight - beta * components.energy
        top = log_weight.amax()
        weight = (log_weight - top).exp()
        total, dx, dy = 0.0, 0.0, 0.0
        for part, w in zip(axes, weight.split(_NODES_AT_ONCE), strict=True):
            a, slope_a, b, slope_b = part
            weighted = a * w
            total, dx, dy = total + b @ weighted.T, dx + b @ (slope_a * w).T, dy + slope_b @ weighted.T
        holds = total > _UNDERFLOW
        total.clamp_min_(_UNDERFLOW)
        table = torch.empty(4, *total.shape, dtype=total.dtype)
        torch.div(dx, total, out=table[1])
        torch.div(dy, total, out=table[2])
        torch.add(total.log_(), top + highest[0] + highest[1][:, None], out=table[0])
        table[3] = holds
        if not bool(holds.all()):
            table *= holds
        if beta is None:
            self._densities[key] = table
            while len(self._densities) > _KEPT_KERNELS:
                self._densities.popitem(last=False)
        return table

    def _kernel(self, t: float, schedule: Schedule, beta: float | None) -> tuple[Components, Parts, tuple[Tensor, Tensor]]:
        """The components seen at time t, tilted where that moves them, their factors, and the logarithms taken out of these."""
        alpha, sigma_squared = (f(torch.tensor(t, dtype=torch.float64)) for f in (schedule.alpha, schedule.sigma_squared))
        components = self.truth.components_at(alpha, sigma_squared)
        tilted = components.quadratic != 0.0 and beta is not None
        if tilted:
            components = components.tilt(beta)
        key = (t, schedule, beta if tilted else None)
        if key in self._kernels:
            return components, *self._kernels[key]
        split = _split(components)
        highest = [_highest(part, self._axes(), alpha, sigma_squared) for part in split]
        highest = tuple(torch.stack(tops).amax(0) for tops in zip(*highest, strict=True))
        parts = [_products(part, self._axes(), alpha, sigma_squared, highest) for part in split]
        if components.count <= _NODES_KEPT and not tilted:
            self._kernels[key] = parts, highest
            while len(self._kernels) > _KEPT_KERNELS:
                self._kernels.popitem(last=False)
        return components, parts, highest

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
        """Bilinear in a table; `exact` answers for the points at which it does not hold."""
        rows = x.reshape(-1, 2)
        place = (rows - self.centre.to(rows)) / self.extent
        channels = table.channels[first:last] if table.everywhere else table.channels[first:]  # the last says where they hold
        values = grid_sample(channels.to(rows)[None], place[None, None], align_corners=True, padding_mode="border")[0, :, 0].T
        looked_up = values[:, : last - first]
        distance = place.detach().abs()
        if float(distance.amax()) > 1 or not table.everywhere:
            outside = (distance > 1).any(-1)
            if not table.everywhere:
                outside = outside | (values[:, -1].detach() < 0.999)
            if bool(outside.any()):
                looked_up = looked_up.index_put((outside,), exact(rows[outside]).reshape(-1, last - first))
        return looked_up.reshape(*x.shape[:-1], last - first)


class _Table(NamedTuple):
    """What is looked up: channels (C, side, side), float32, the last 1 where the others hold."""

    channels: Tensor
    everywhere: bool

    @classmethod
    def of(cls, channels: Tensor) -> _Table:
        return cls(channels.float(), bool((channels[-1] == 1).all()))


def _split(components: Components) -> list[Components]:
    cut = [slice(start, start + _NODES_AT_ONCE) for start in range(0, components.count, _NODES_AT_ONCE)]
    own = ["log_weight", "mean", "energy", "mode", *(["std"] if components.std.numel() > 1 else [])]
    return [replace(components, **{name: getattr(components, name)[part] for name in own}) for part in cut]


def _factors(
    components: Components, axes: tuple[Tensor, Tensor], alpha: Tensor, sigma_squared: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Along each axis the log density of every component and its slope, (side, K)."""
    var = alpha**2 * components.std**2 + sigma_squared
    if components.half_width is not None:  # float32 is exact enough for boxes and many times faster
        components, var, alpha = components.to(torch.empty(0)), var.float(), alpha.float()
        axes = tuple(axis.float() for axis in axes)
    for axis, coordinates in enumerate(axes):
        yield axis_kernel(coordinates, components, axis, alpha, var)


def _highest(components: Components, axes: tuple[Tensor, Tensor], alpha: Tensor, sigma_squared: Tensor) -> tuple[Tensor, Tensor]:
    """The largest log density along each axis (side,): taken out of the products, which then do not underflow in the tails."""
    return tuple(log_density.amax(-1).double() for log_density, _ in _factors(components, axes, alpha, sigma_squared))


def _products(
    components: Components,
    axes: tuple[Tensor, Tensor],
    alpha: Tensor,
    sigma_squared: Tensor,
    highest: tuple[Tensor, Tensor],
) -> tuple[Tensor, ...]:
    columns = []
    for (log_density, slope), top in zip(_factors(components, axes, alpha, sigma_squared), highest, strict=True):
        relative = (log_density.double() - top[:, None]).clamp_min(_FAR - 1)
        density = threshold(relative, _FAR, -math.inf).exp()  # denormal numbers are slow
        columns += [density, slope.double() * density]
    return tuple(columns)
