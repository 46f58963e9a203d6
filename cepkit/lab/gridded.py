"""The truth at the speed of a slider: a `Mixture` tabulated on a grid, one matrix product in place of a sum for each point.

On the grid log q_t and that of the noised target are exact (`cepkit.lab.grid_density`). Theorem 3.1 gives E_t and its
gradient from the two. Between its points values are interpolated bilinearly. A point outside the grid, or so far out that even
the products underflow, is handed to the `Mixture` itself or to a wider grid. How much the interpolation costs is measured by
whoever uses it: the truth is one call away.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from cepkit.diffusion.schedules import Schedule
from cepkit.lab.grid_density import GridDensity, kept
from cepkit.truth.exact import Mixture

_SMALL_BETA = 1e-4  # E_t is beta E[E | x_t] to first order; float64 keeps eight digits of the quotient at this beta
_KEPT_TABLES = 400
_ENERGY_PAIRS, _LARGEST_SIDE = 2**24, 400  # of the table of the clean energy: (point, component) pairs, and points along a side


class GriddedTruth:
    """A two-dimensional `Mixture` with the same methods at one time, answered from tables that are made when first asked for.

    A table holds its fields at the grid's points and, as its last channel, 1 where they hold: (C + 1, side, side), float32, rows
    from bottom to top. Results follow the dtype of `x_t` and are differentiable in it.

    Args:
        truth: the mixture.
        centre, extent: the grid covers [-extent, extent]^2 around `centre`.
        side: points along each axis.
        beyond: tables of a larger square that answer for points outside this one, in place of the mixture.

    Attributes:
        density: (t, schedule, beta or None) -> the logarithm of a density and its gradient on the grid, see `GridDensity`.
    """

    def __init__(
        self,
        truth: Mixture,
        *,
        centre: tuple[float, float] = (0.0, 0.0),
        extent: float = 4.5,
        side: int = 128,
        beyond: "GriddedTruth | None" = None,
    ) -> None:
        self.truth, self.beyond, self.side, self.extent = truth, beyond, side, extent
        self.centre = torch.tensor(centre, dtype=torch.float64)
        self.density = GridDensity(truth, self._axes(side))
        self._tables: OrderedDict[tuple, Tensor] = OrderedDict()

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
        return self._field("log_q", x_t, t, schedule)[..., 0]

    def score(self, x_t: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
        """grad log q_t(x_t), shape (..., 2)."""
        return self._field("score", x_t, t, schedule)

    def energy_t(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """E_t(x_t), shape (...)."""
        return self._field("energy_t", x_t, t, schedule, beta)[..., 0]

    def guidance(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """-grad E_t(x_t), shape (..., 2)."""
        return self._field("guidance", x_t, t, schedule, beta)

    def mean_energy_t(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """beta E[E(x_0) | x_t], shape (...): the derivative of E_t with respect to beta at 0."""
        return beta / _SMALL_BETA * self.energy_t(x_t, t, _SMALL_BETA, schedule)

    def mean_energy_guidance(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """-beta grad E[E(x_0) | x_t], shape (..., 2)."""
        return beta / _SMALL_BETA * self.guidance(x_t, t, _SMALL_BETA, schedule)

    def energy(self, x0: Tensor) -> Tensor:
        """The clean energy, shape (...), looked up unless the components have no noise of their own: then it has jumps."""
        components = self.truth.components()
        if float(components.std.min()) == 0.0:
            return self.truth.energy(x0)

        def make() -> Tensor:
            side = min(max(int((_ENERGY_PAIRS / components.count) ** 0.5), self.side), _LARGEST_SIDE)
            clean = self.truth.energy(self.points(side).float())
            return torch.stack([clean, torch.ones_like(clean)])

        return self.look_up(x0, self.keep(("energy",), make), self.truth.energy)[..., 0]

    def points(self, side: int | None = None) -> Tensor:
        """The points of the grid, or of a grid of another `side`, (side, side, 2), float64, rows from bottom to top."""
        return torch.stack(torch.meshgrid(*self._axes(side or self.side), indexing="xy"), -1)

    # -- tables --------------------------------------------------------------------------------------------------

    def table(self, t: Tensor | float, schedule: Schedule, beta: float | None = None) -> Tensor:
        """The table of log q_t and the score, or of E_t and the guidance."""

        def make() -> Tensor:
            data = self.density(float(t), schedule)
            if beta is None:
                return data
            target = self.density(float(t), schedule, beta)
            table = torch.empty(data.shape)  # written in place: large temporaries cost more than the arithmetic
            torch.sub(data[0], target[0], out=table[0])
            torch.sub(target[1:3], data[1:3], out=table[1:3])
            torch.mul(data[3], target[3], out=table[3])
            return table

        return self.keep((float(t), schedule, beta), make)

    def mean_energy_table(self, t: Tensor | float, schedule: Schedule, beta: float) -> Tensor:
        """The table of the mean energy and its guidance."""
        *fields, holds = self.table(t, schedule, _SMALL_BETA)
        return torch.stack([*(beta / _SMALL_BETA * field for field in fields), holds])

    def keep(self, key: tuple, make: Callable[[], Tensor]) -> Tensor:
        """The table under this key, made when it is first asked for."""
        return kept(self._tables, _KEPT_TABLES, key, lambda: make().float())

    def look_up(self, x: Tensor, table: Tensor, exact: Callable[[Tensor], Tensor]) -> Tensor:
        """The fields of a table at points (..., 2), shape (..., C); `exact` answers for the points at which it does not hold."""
        rows = x.reshape(-1, 2)
        (values,), (missing,) = self.interpolate(table[None], rows[None])
        if bool(missing.any()):
            values = values.index_put((missing,), exact(rows[missing]).reshape(-1, values.shape[-1]))
        return values.reshape(*x.shape[:-1], -1)

    def interpolate(self, tables: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Interpolate several tables (P, C + 1, side, side) bilinearly, each at its own points (P, N, 2).

        Returns:
            (P, N, C), and where these do not count, being off the grid or not held, (P, N).
        """
        place = (x - self.centre.to(x)) / self.extent
        values = grid_sample(tables.to(x), place[:, None], align_corners=True, padding_mode="border")[:, :, 0].transpose(1, 2)
        off = (place.detach().abs() > 1).any(-1)
        return values[..., :-1], off | (values[..., -1].detach() < 0.999)

    def _field(self, name: str, x_t: Tensor, t: Tensor | float, schedule: Schedule, beta: float | None = None) -> Tensor:
        """The field of this name, from the first channel of its table or the next two, shape (..., 1) or (..., 2)."""
        exact, rest = getattr(self.beyond or self.truth, name), (schedule,) if beta is None else (beta, schedule)
        table = self.table(t, schedule, beta)
        table = table[::3] if name in ("log_q", "energy_t") else table[1:]
        return self.look_up(x_t, table, lambda x: exact(x, t, *rest))

    def _axes(self, side: int) -> tuple[Tensor, Tensor]:
        offsets = torch.linspace(-self.extent, self.extent, side, dtype=torch.float64)
        return self.centre[0] + offsets, self.centre[1] + offsets
