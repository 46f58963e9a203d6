"""Shapes to begin a drawing with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cepkit.validation import check_name

EXTENT = 4.0
SHAPES = ("ring", "two moons", "smiley", "random blobs")
_SHAPE_POINTS = 600


def starting_shape(name: str, extent: float = EXTENT, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Points (n, 2) inside [-extent, extent]^2 and energies (n,) in [0, 1] to begin a drawing with.

    Raises:
        ValueError: an unknown name.
    """
    check_name(name, SHAPES, name="shape")
    part = torch.arange(_SHAPE_POINTS) % 6
    u = torch.rand(_SHAPE_POINTS, generator=generator)
    around = _circle(2 * math.pi * u)
    if name == "ring":
        x, energy = 0.65 * around, (1 - around[:, 1]) / 2
    elif name == "two moons":
        arc, upper = 0.42 * _circle(math.pi * u) - torch.tensor([0.2, 0.1]), part % 2
        x, energy = torch.where(upper[:, None] == 1, arc, -arc), upper
    elif name == "smiley":  # three shares for the face, one for each eye and the mouth: about as dense everywhere
        mouth = 0.4 * _circle(math.pi * (1.15 + 0.7 * u))
        eyes = torch.tensor([0.25, 0.25]) * torch.stack([2 * part - 7, torch.ones_like(part)], -1)
        x = torch.where(part[:, None] < 3, 0.75 * around, torch.where(part[:, None] < 5, eyes, mouth))
        energy = torch.tensor([1.0, 1.0, 1.0, 0.5, 0.5, 0.0])[part]
    else:
        x = (1.4 * torch.rand((6, 2), generator=generator) - 0.7)[part]
        x, energy = x + 0.04 * torch.randn((_SHAPE_POINTS, 2), generator=generator), part / 5
    x = x + 0.02 * torch.randn((_SHAPE_POINTS, 2), generator=generator)
    return (extent * x).clamp(-extent, extent), energy.float()


def _circle(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], -1)
