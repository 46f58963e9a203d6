"""The density q_t, or that of the noised target, at every point of a grid by three matrix products.

Noise does not mix the axes, so seen at the points (x_i, y_j) of a grid every component is a product and

    q_t(x_i, y_j) = sum_k w_k A_ik B_jk,      dq_t/dx = sum_k w_k A'_ik B_jk,      dq_t/dy = sum_k w_k A_ik B'_jk

are matrix products; the noised target has the same A and B with other weights w.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import threshold

from cepkit.diffusion.schedules import Schedule
from cepkit.truth.components import Components
from cepkit.truth.exact import Mixture
from cepkit.truth.kernels import axis_kernel

_FAR = -322.0  # a factor below exp(-322) counts as zero: the product of two would leave the normal numbers
_UNDERFLOW = 1e-270  # a sum below it may have lost terms
_KEPT = 64
_NODES_KEPT, _NODES_AT_ONCE = 1500, 8192

Axes = tuple[Tensor, Tensor]
Parts = list[tuple[Tensor, ...]]  # A, A', B, B' of the header, each (side, K), a limited number of components at a time


class GridDensity:
    """Densities of a two-dimensional mixture on the grid of two axes (side,), float64."""

    def __init__(self, truth: Mixture, axes: Axes) -> None:
        self.truth, self.axes = truth, axes
        self._densities: OrderedDict[tuple, Tensor] = OrderedDict()
        self._kernels: OrderedDict[tuple, tuple[Parts, Axes]] = OrderedDict()

    def __call__(self, t: float, schedule: Schedule, beta: float | None = None) -> Tensor:
        """The log of q_t or of the noised, unnormalised target, its gradient, and 1 where they hold: (4, side, side), float64."""
        if beta is None:
            return kept(self._densities, _KEPT, (t, schedule), lambda: self._density(t, schedule, None))
        return self._density(t, schedule, beta)

    def _density(self, t: float, schedule: Schedule, beta: float | None) -> Tensor:
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
        return table if bool(holds.all()) else table.mul_(holds)

    def _kernel(self, t: float, schedule: Schedule, beta: float | None) -> tuple[Components, Parts, Axes]:
        """The components seen at time t, tilted where that moves them, their factors, and the logarithms taken out of these."""
        alpha, sigma_squared = (f(torch.tensor(t, dtype=torch.float64)) for f in (schedule.alpha, schedule.sigma_squared))
        components = self.truth.components_at(alpha, sigma_squared)
        tilted = components.quadratic != 0.0 and beta is not None
        if tilted:
            components = components.tilt(beta)

        def make() -> tuple[Parts, Axes]:
            factors = [_factors(part, self.axes, alpha, sigma_squared) for part in _split(components)]
            # taken out of the products, which then do not underflow in the tails
            highest = tuple(torch.stack([part[axis][0].amax(-1) for part in factors]).amax(0).double() for axis in range(2))
            return [_products(part, highest) for part in factors], highest

        if tilted or components.count > _NODES_KEPT:
            return components, *make()
        return components, *kept(self._kernels, _KEPT, (t, schedule), make)


def kept(values: OrderedDict, most: int, key: tuple, make: Callable[[], Any]) -> Any:
    """The value under this key, made when it is first asked for; of more than `most` the one not used for longest goes."""
    value = values.pop(key, None)
    values[key] = make() if value is None else value
    if len(values) > most:
        values.popitem(last=False)
    return values[key]


def _split(components: Components) -> list[Components]:
    cut = [slice(start, start + _NODES_AT_ONCE) for start in range(0, components.count, _NODES_AT_ONCE)]
    own = ["log_weight", "mean", "energy", "mode", *(["std"] if components.std.numel() > 1 else [])]
    return [replace(components, **{name: getattr(components, name)[part] for name in own}) for part in cut]


def _factors(components: Components, axes: Axes, alpha: Tensor, sigma_squared: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Along each axis the log density of every component and its slope, (side, K)."""
    var = alpha**2 * components.std**2 + sigma_squared
    if components.half_width is not None:  # float32 is exact enough for boxes and many times faster
        components, var, alpha = components.to(torch.empty(0)), var.float(), alpha.float()
        axes = tuple(axis.float() for axis in axes)
    return [axis_kernel(coordinates, components, axis, alpha, var) for axis, coordinates in enumerate(axes)]


def _products(factors: list[tuple[Tensor, Tensor]], highest: Axes) -> tuple[Tensor, ...]:
    """A, A', B, B' relative to the highest of each row."""
    columns = []
    for (log_density, slope), top in zip(factors, highest, strict=True):
        relative = (log_density.double() - top[:, None]).clamp_min(_FAR - 1)
        density = threshold(relative, _FAR, -math.inf).exp()  # denormal numbers are slow
        columns += [density, slope.double() * density]
    return tuple(columns)
