"""Components of a mixture: each has a weight, a place, a width and an energy.

Component k draws ``x_0 = mean_k + half_width * U[-1, 1]^D + std_k z`` and has the energy
``E(x_0) = energy_k + quadratic |x_0|^2``. Multiplying the density by exp(-beta E) (*tilting*) maps such
components onto such components: constant energies change the weights alone; with a quadratic energy
completing the square gives, with ``r = 1 / (1 + 2 beta quadratic std^2)``,

    std'^2 = std^2 r,   mean' = mean r,   log weight' = log weight - beta energy + (D/2) log r - beta quadratic |mean|^2 r
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Components:
    """K components in D dimensions, as plain tensors of one dtype and device.

    Attributes:
        log_weight: (K,), not necessarily normalised.
        mean: (K, D).
        std: (K,) or (1,) where all components share it; 0 for points.
        energy: (K,), the constant part of the energy.
        mode: (K,) integers, the mode of the distribution each component belongs to.
        half_width: (D,) half sides of the box jitter, or None.
        quadratic: factor of |x_0|^2 in the energy; only without a box.
    """

    log_weight: Tensor
    mean: Tensor
    std: Tensor
    energy: Tensor
    mode: Tensor
    half_width: Tensor | None = None
    quadratic: float = 0.0

    @property
    def count(self) -> int:
        return self.mean.shape[0]

    @property
    def dim(self) -> int:
        return self.mean.shape[1]

    def tilt(self, beta: float) -> Self:
        """The components of q_0 exp(-beta E), weights left unnormalised.

        Raises:
            ValueError: the quadratic energy falls so steeply that the tilted density has no finite mass.
        """
        log_weight = self.log_weight - beta * self.energy
        if self.quadratic == 0.0:
            return replace(self, log_weight=log_weight)
        growth = 1 + 2 * beta * self.quadratic * self.std**2
        if bool((growth <= 0).any()):
            limit = float(-1 / (2 * self.quadratic * self.std.max() ** 2))
            raise ValueError(f"beta: expected less than {limit:.6g}, where exp(-beta E) stops being integrable, got {beta:g}")
        shrink = 1 / growth
        square = (self.mean**2).sum(-1)
        return replace(
            self,
            log_weight=log_weight + self.dim / 2 * shrink.log() - beta * self.quadratic * square * shrink,
            mean=self.mean * shrink[:, None],
            std=self.std * shrink.sqrt(),
        )

    def normalised(self) -> Self:
        """The same components with weights that sum to one."""
        return replace(self, log_weight=torch.log_softmax(self.log_weight, 0))

    def to(self, like: Tensor) -> Self:
        """The same components in the dtype and on the device of `like`."""

        def move(value: Tensor) -> Tensor:
            return value.to(device=like.device, dtype=like.dtype)

        return replace(
            self,
            log_weight=move(self.log_weight),
            mean=move(self.mean),
            std=move(self.std),
            energy=move(self.energy),
            mode=self.mode.to(like.device),
            half_width=None if self.half_width is None else move(self.half_width),
        )

    def draw(self, n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Draw n points (n, D) and their energies (n,)."""
        device = self.mean.device
        weight = torch.softmax(self.log_weight, 0)
        index = torch.searchsorted(
            weight.cumsum(0), torch.rand(n, dtype=weight.dtype, device=device, generator=generator)
        ).clamp_(max=self.count - 1)
        x = self.mean[index]
        if self.half_width is not None:
            uniform = torch.rand(x.shape, dtype=x.dtype, device=device, generator=generator)
            x = x + (2 * uniform - 1) * self.half_width
        noise = torch.randn(x.shape, dtype=x.dtype, device=device, generator=generator)
        x = x + noise * self.std.expand(self.count)[index, None]
        return x, self.energy[index] + self.quadratic * (x**2).sum(-1)


PAIRS_PER_CHUNK = {"cpu": 2**16}  # what stays in a core's cache
PAIRS_ON_ACCELERATOR = 2**24

Result = Tensor | tuple[Tensor, ...]


def by_chunks(formula: Callable[..., Result], x: Tensor, components: Components, *per_row: Tensor) -> Result:
    """Apply `formula` to chunks of the rows of x (..., D) and of each `per_row` tensor (rows, ...), and restore the shape."""
    rows, batch = x.reshape(-1, x.shape[-1]), x.shape[:-1]
    cost = components.count * (1 if components.dim <= 16 else components.dim)
    size = max(1, PAIRS_PER_CHUNK.get(x.device.type, PAIRS_ON_ACCELERATOR) // cost)
    pieces = zip(rows.split(size), *(value.split(size) for value in per_row), strict=True)
    chunks = (formula(*piece) for piece in pieces)
    result = _join(chunks) if torch.is_grad_enabled() and x.requires_grad else _fill(chunks, len(rows))
    if isinstance(result, tuple):
        return tuple(column.reshape(batch + column.shape[1:]) for column in result)
    return result.reshape(batch + result.shape[1:])


def _join(chunks: Iterable[Result]) -> Result:
    """Join the chunks, differentiably."""
    chunks = list(chunks)
    if isinstance(chunks[0], tuple):
        return tuple(torch.cat(column) for column in zip(*chunks, strict=True))
    return torch.cat(chunks)


def _fill(chunks: Iterable[Result], count: int) -> Result:
    """Join the chunks in preallocated tensors: thousands of small results between large temporaries fragment the heap."""
    columns: tuple[Tensor, ...] = ()
    start = 0
    for chunk in chunks:
        parts = chunk if isinstance(chunk, tuple) else (chunk,)
        columns = columns or tuple(part.new_empty((count, *part.shape[1:])) for part in parts)
        for column, part in zip(columns, parts, strict=True):
            column[start : start + len(part)] = part
        start += len(parts[0])
    return columns if isinstance(chunk, tuple) else columns[0]
