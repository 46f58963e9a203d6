"""Components seen through noise: log densities of x_t under each component, and their gradients.

At noise level t a component without a box is a Gaussian, ``x_t | k ~ N(alpha mean_k, v_k I)`` with
``v_k = alpha^2 std_k^2 + sigma^2``. With a box of half side b it is, per axis and with d = x_t - alpha mean_k,

    I(d) / (2 alpha b),   I(d) = Phi((d + alpha b) / sqrt v) - Phi((d - alpha b) / sqrt v)

which is evaluated through the scaled complementary error function so that it keeps its relative accuracy
hundreds of standard deviations out in the tail.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from scipy import special
from torch import Tensor
from torch.nn.functional import threshold

from cepkit.truth.components import Components

_DEEP = 9.0  # exp(-81) still is a normal float32; deeper inside a box its edge no longer matters
_ERFCX_FOLD = 2.0
_ERFCX_DEGREE = 10


@cache
def _erfcx_coefficients() -> tuple[float, ...]:
    """Power-series coefficients in y = (z - 2) / (z + 2) of (1 + 2 z) erfcx(z) on z >= 0.

    The substitution is Shepherd & Laframboise's (1981); the coefficients are fitted here to SciPy's erfcx.
    """
    y = np.cos(np.pi * (np.arange(200) + 0.5) / 200)
    z = _ERFCX_FOLD * (1 + y) / (1 - y)
    fit = np.polynomial.Chebyshev.fit(y, (1 + 2 * z) * special.erfcx(z), _ERFCX_DEGREE, domain=[-1, 1])
    return tuple(fit.convert(kind=np.polynomial.Polynomial).coef.tolist())


def erfcx_positive(z: Tensor) -> Tensor:
    """exp(z^2) erfc(z) for z >= 0, differentiable.

    float64 uses torch's own; in float32, where that costs twenty times as much as an exp, a fitted polynomial
    with a relative error below 1e-6 takes its place.
    """
    if z.dtype != torch.float32:
        return torch.special.erfcx(z)
    *lower, value = (z.new_tensor(coefficient) for coefficient in _erfcx_coefficients())
    y = 1 - 2 * _ERFCX_FOLD / (z + _ERFCX_FOLD)
    for coefficient in reversed(lower):
        value = torch.addcmul(coefficient, value, y)
    return value / (1 + 2 * z)


def interval(d: Tensor, half: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """log I(d) - log(2 half), the log density of a box of half side `half` blurred by N(0, var), and its derivative.

    With low and high the distances to the two sides in units of the blur, and phi the normal density,
    I = phi(low) mass in the tail (low > 0) and I = mass within the box. All arguments broadcast; `half` and `var`
    are positive.
    """
    unit = (2 * var).rsqrt()
    # a box this narrow is a Gaussian to the precision of the dtype, and the formula below would cancel
    narrow = half * unit < (torch.finfo(d.dtype).eps / 25) ** 0.2 * math.sqrt(0.5)
    if bool(narrow.all()):
        return _narrow_interval(d, half, var)
    if bool(narrow.any()):
        pairs = zip(_narrow_interval(d, half, var), _wide_interval(d, half, var, unit), strict=True)
        log_density, slope = (torch.where(narrow, a, b) for a, b in pairs)
        return log_density, slope
    return _wide_interval(d, half, var, unit)


def _narrow_interval(d: Tensor, half: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """The Gaussian of the same variance; its error is of fourth order in half / sqrt(var)."""
    total = var + half**2 / 3
    return -(d**2) / (2 * total) - 0.5 * (2 * math.pi * total).log(), -d / total


def _wide_interval(d: Tensor, half: Tensor, var: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    side = torch.where(d < 0, -1.0, 1.0).to(d.dtype)  # sign, abs and clamp have no slope at 0, where centres and edges may lie
    distance = d * side * unit
    low, high = distance - half * unit, distance + half * unit
    within = (low <= 0).to(d.dtype)
    outward, inward = low * (1 - within), low * within  # |low| in the tail, -|low| within
    drop = torch.expm1((-4 * half * unit) * distance)  # phi(high) / phi(low) - 1
    bell = (-(inward.clamp_min(-_DEEP) ** 2)).exp()  # 1 in the tail
    near, far = bell * erfcx_positive(outward - inward), bell * erfcx_positive(high) * (1 + drop)
    mass = within * (1 - near) + 0.5 * (near - far)
    mass = mass.clamp_min(torch.finfo(d.dtype).tiny)
    log_density = (mass / (2 * half)).log() - outward**2
    return log_density, (side * (unit / math.sqrt(math.pi))) * drop * bell / mass


def axis_kernel(coordinates: Tensor, components: Components, axis: int, alpha: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """Log density of one coordinate (n,) of x_t under each component, (n, K), and its derivative."""
    offset = coordinates[:, None] - alpha * components.mean[:, axis]
    if components.half_width is not None:
        return interval(offset, alpha * components.half_width[axis], var)
    slope = -offset / var
    return 0.5 * slope * offset - 0.5 * (2 * math.pi * var).log(), slope


class AxisTables(NamedTuple):
    """`interval` of every component at the few distinct coordinates of a grid, per axis (distinct, K)."""

    log_density: list[Tensor]
    slope: list[Tensor]


def axis_tables(components: Components, x_t: Tensor, alpha: Tensor, sigma_squared: Tensor) -> tuple[AxisTables, Tensor] | None:
    """Tables for rows that repeat their coordinates, as the rows of a picture do, and each row's index (n, D) into them.

    None where nothing would be gained: no box, one time per row, scattered rows, or a gradient asked for.
    """
    half_width = components.half_width
    if half_width is None or alpha.ndim or (x_t.requires_grad and torch.is_grad_enabled()):
        return None
    distinct = [torch.unique(column, return_inverse=True) for column in x_t.unbind(-1)]
    if 4 * max(len(values) for values, _ in distinct) > len(x_t):
        return None
    var = alpha**2 * components.std**2 + sigma_squared
    columns = [axis_kernel(values, components, axis, alpha, var) for axis, (values, _) in enumerate(distinct)]
    tables = AxisTables([log for log, _ in columns], [slope for _, slope in columns])
    return tables, torch.stack([index for _, index in distinct], -1)


class NoisyView:
    """Components seen at rows x_t (n, D) through alpha and sigma^2, each 0-dim or (n, 1)."""

    def __init__(
        self,
        components: Components,
        x_t: Tensor,
        alpha: Tensor,
        sigma_squared: Tensor,
        tables: AxisTables | None = None,
        index: Tensor | None = None,
    ) -> None:
        self.components, self.x_t, self.alpha, self.sigma_squared = components, x_t, alpha, sigma_squared
        self.var = alpha**2 * components.std**2 + sigma_squared  # (1 or n, 1 or K)
        self._slopes: list[Tensor] | None = None
        if components.half_width is None:
            self.log_kernel = self._gaussians()
        elif tables is not None:
            self._slopes = [slope[row] for slope, row in zip(tables.slope, index.T, strict=True)]
            self.log_kernel = sum(log[row] for log, row in zip(tables.log_density, index.T, strict=True))
        else:
            axes = [axis_kernel(x_t[:, axis], components, axis, alpha, self.var) for axis in range(components.dim)]
            self._slopes = [slope for _, slope in axes]
            self.log_kernel = sum(log for log, _ in axes)

    def _offset(self, axis: int) -> Tensor:
        return self.x_t[:, axis, None] - self.alpha * self.components.mean[:, axis]

    def _gaussians(self) -> Tensor:
        dim = self.components.dim
        if dim <= 16:
            square = self._offset(0) ** 2
            for axis in range(1, dim):
                square = torch.addcmul(square, offset := self._offset(axis), offset)
        else:
            centres = (self.alpha if self.alpha.ndim == 0 else self.alpha[:, :, None]) * self.components.mean
            square = ((self.x_t[:, None] - centres) ** 2).sum(-1)
        return torch.addcmul(-0.5 * dim * (2 * math.pi * self.var).log(), square, -0.5 / self.var)

    def take_out_peak(self) -> Tensor:
        """Subtract the largest log kernel of each row from the others; returns it, (n,)."""
        peak = self.log_kernel.detach().amax(-1, keepdim=True)
        self.log_kernel = self.log_kernel - peak
        return peak.squeeze(-1)

    def mix(self, log_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Log density of x_t (n,) under these weights, and the posterior probabilities (n, K)."""
        logits = self.log_kernel + log_weight
        top = logits.detach().amax(-1, keepdim=True)
        # components far below the leading one count for nothing; as denormal numbers they would cost a factor of twenty
        floor = math.log(torch.finfo(logits.dtype).tiny) + 12
        mass = logits.sub_(top).clamp_min_(floor).exp_()
        graph = mass.requires_grad  # without one, the same memory serves throughout
        mass = threshold(mass, 1.01 * math.exp(floor), 0.0, inplace=not graph)
        total = mass.sum(-1, keepdim=True)
        return (total.log() + top).squeeze(-1), mass / total if graph else mass.div_(total)

    def pull(self, probability: Tensor) -> Tensor:
        """sum_k probability_k grad log kernel_k, shape (n, D)."""
        if self._slopes is not None:
            return torch.stack([(probability * slope).sum(-1) for slope in self._slopes], -1)
        if self.var.shape[-1] == 1:  # one width for all: divide the sums
            total = probability.sum(-1, keepdim=True)
            return (self.alpha * (probability @ self.components.mean) - self.x_t * total) / self.var
        scaled = probability / self.var
        return self.alpha * (scaled @ self.components.mean) - self.x_t * scaled.sum(-1, keepdim=True)

    def component_energy(self) -> tuple[Tensor, Tensor | None]:
        """E[E(x_0) | x_t, k] as (K,) or (n, K), and the factor f with gradient ``f_k mean-of-x0_k`` (None if constant)."""
        c = self.components
        if c.quadratic == 0.0:
            return c.energy, None
        keep = self.alpha * c.std**2 / self.var  # d x0_k / d x_t
        spread = c.std**2 * self.sigma_squared / self.var
        return c.energy + c.quadratic * (self._mean_square(keep) + c.dim * spread), 2 * c.quadratic * keep

    def _mean_square(self, keep: Tensor) -> Tensor:
        """|E[x_0 | x_t, k]|^2, shape (n, K)."""
        c, toward = self.components, self.sigma_squared / self.var
        cross = self.x_t @ c.mean.T
        square = self.x_t.square().sum(-1, keepdim=True)
        return keep**2 * square + 2 * keep * toward * cross + toward**2 * (c.mean**2).sum(-1)

    def pull_means(self, probability: Tensor) -> Tensor:
        """sum_k probability_k E[x_0 | x_t, k], shape (n, D)."""
        c = self.components
        scaled = probability / self.var
        kept = (scaled * c.std**2).sum(-1, keepdim=True) * self.alpha
        return self.sigma_squared * (scaled @ c.mean) + kept * self.x_t
