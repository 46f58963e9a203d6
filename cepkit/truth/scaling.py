"""Points and energies of your own at the scale of the noise, and back.

Noise of variance 1 covers points of about unit scale and resolves what is wider than its least level. Other points are centred
and scaled, each column by itself. Energies are only shifted, so that beta keeps its meaning.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from cepkit.data_checks import off_scale

_FAR_ENERGIES = 1e3  # spreads from 0, beyond which float32 would lose digits of their differences


@dataclass(frozen=True)
class Scaling:
    """How points and energies were moved: x = (yours - mean) / std and E = yours - zero.

    A toy made of them, its truth, and all that is trained on it live at x. `undo` leads back.

    Attributes:
        mean, std: of each column, D numbers.
        zero: subtracted from every energy.
    """

    mean: list[float]
    std: list[float]
    zero: float = 0.0

    @classmethod
    def of(cls, x: Tensor, energy: Tensor, *, blur: float = 0.0, standardize: bool | None = None) -> Self:
        """The scaling of points (n, D), float64, with energies (n,).

        Args:
            blur: standard deviation that will be added to each point.
            standardize: scale the columns (True), leave them (False), or scale them where one would not suit the noise (None).

        Raises:
            ValueError: columns too large for the noise are to be left.
        """
        mean, std = x.mean(0), x.std(0, correction=0)
        std = torch.where(std > 1e-12 * x.abs().amax(0), std, 1.0)  # a constant column is centred
        large, narrow = off_scale(x, blur)
        if standardize is False and large:
            raise ValueError(f"x: expected points of about unit scale, got {large}; leave standardize out, or pass True")
        if not (standardize or (standardize is None and (large or narrow))):
            mean, std = torch.zeros_like(mean), torch.ones_like(std)
        middle, spread = float(energy.mean()), float(energy.std(correction=0))
        return cls(mean.tolist(), std.tolist(), middle if abs(middle) > _FAR_ENERGIES * spread > 0 else 0.0)

    def __call__(self, x: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
        """Your points (..., D) and energies (...), moved to the scale of the noise."""
        return (x - x.new_tensor(self.mean)) / x.new_tensor(self.std), energy - self.zero

    def undo(self, x: Tensor) -> Tensor:
        """Points (..., D), such as samples, in your own units, float64."""
        x = x.detach().double()
        return x * x.new_tensor(self.std) + x.new_tensor(self.mean)

    def __str__(self) -> str:
        """What was done in words, empty where nothing was."""
        done = []
        if any(self.mean) or any(std != 1 for std in self.std):
            each = ", ".join(f"{mean:.4g} and {std:.4g}" for mean, std in zip(self.mean[:6], self.std[:6], strict=True))
            more = f", ... ({len(self.std)} columns)" if len(self.std) > 6 else ""
            done.append(f"each column centred by its mean and divided by its standard deviation: {each}{more}")
        if self.zero:
            done.append(f"energies shifted by {-self.zero:.6g}")
        return "; ".join(done)
