"""The six two-dimensional toys of the CEP paper (section 5.1 and its code).

Each toy is x_0 = curve or centre + box jitter + Gaussian noise, with a label e (a reward, high is good) that becomes the
energy E = 1 - e. `sample` follows the recipe itself; `truth` is the same distribution as a closed-form `Mixture`.
The two are written independently, so that Monte Carlo over the one checks the other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from cepkit.data_checks import few_points
from cepkit.truth.components import Components
from cepkit.truth.exact import Mixture
from cepkit.truth.quadrature import circle_nodes, interval_nodes, spacing, spiral_nodes
from cepkit.truth.scaling import Scaling
from cepkit.validation import check_name, check_number

Recipe = Callable[[int, torch.Generator | None], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Toy:
    """A data distribution with an energy, its exact truth, and the square in which to draw it.

    Attributes:
        name: what plots call it.
        truth: the closed-form `Mixture`.
        extent: the pictures show [-extent, extent]^2 around `centre`.
        scaling: how points of your own were moved to the scale of the noise, and the way back; None for the paper's toys.
        about: how they were read and scaled, in words.
    """

    name: str
    truth: Mixture
    recipe: Recipe
    extent: float = 4.5
    centre: tuple[float, ...] = (0.0, 0.0)
    scaling: Scaling | None = field(default=None, compare=False)
    about: str = ""

    @property
    def dim(self) -> int:
        return self.truth.dim

    def energy(self, x: Tensor) -> Tensor:
        """E[E | x_0 = x] for clean points (..., D); see `Mixture.energy`."""
        return self.truth.energy(x)

    def sample(
        self, n: int, *, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Draw n points (n, D) and their energies (n,) by the toy's own recipe."""
        n = check_number(n, name="n", low=0, integer=True)
        x, energy = self.recipe(n, generator)
        return x.to(dtype), energy.to(dtype)

    def few_points(self, beta: float) -> str:
        """In words, that this beta leaves too few points of your own their weight, and one that leaves more; else empty."""
        c = self.truth.components()
        return "" if self.scaling is None else few_points(c.energy, beta, c.log_weight)

    def __repr__(self) -> str:
        return f"Toy({self.name!r}, dim={self.dim}{f': {self.about}' if self.about else ''})"


def _uniform(n: int, generator: torch.Generator | None, dim: int | None = None) -> Tensor:
    shape = (n,) if dim is None else (n, dim)
    return torch.rand(shape, generator=generator, dtype=torch.float64, device=_device(generator))


def _normal(n: int, generator: torch.Generator | None) -> Tensor:
    return torch.randn((n, 2), generator=generator, dtype=torch.float64, device=_device(generator))


def _pick(n: int, count: int, generator: torch.Generator | None) -> Tensor:
    return torch.randint(count, (n,), generator=generator, device=_device(generator))


def _device(generator: torch.Generator | None) -> torch.device:
    return torch.device("cpu") if generator is None else generator.device


def _components(pieces: list[tuple], std: float, *, half_width: float | None = None, quadratic: float = 0.0) -> Components:
    """Join (weights, means, energies) pieces, one mode each, into float64 components."""
    weight, mean, energy = (torch.from_numpy(np.concatenate(column)) for column in zip(*pieces, strict=True))
    mode = torch.cat([torch.full((len(piece[0]),), index) for index, piece in enumerate(pieces)])
    half = None if half_width is None else torch.full((2,), half_width, dtype=torch.float64)
    return Components(weight.log(), mean, torch.tensor([std], dtype=torch.float64), energy, mode, half, quadratic)


# -- 8gaussians: equal blobs on a circle, better and better the further round ------------------------------------

_DIAGONAL = 1 / math.sqrt(2)
_COMPASS = [
    (0, 1), (-_DIAGONAL, _DIAGONAL), (-1, 0), (-_DIAGONAL, -_DIAGONAL),
    (0, -1), (_DIAGONAL, -_DIAGONAL), (1, 0), (_DIAGONAL, _DIAGONAL),
]  # fmt: skip
_GAUSSIANS = np.array(_COMPASS, dtype=np.float64) * 4 / 1.414
_GAUSSIANS_STD = 0.5 / 1.414


def _gaussians() -> Toy:
    labels = np.arange(8) / 7
    pieces = [(np.full(1, 1 / 8), centre[None], np.array([1 - label])) for centre, label in zip(_GAUSSIANS, labels, strict=True)]

    def recipe(n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        k = _pick(n, 8, generator)
        centres = torch.from_numpy(_GAUSSIANS).to(k.device)
        return centres[k] + _GAUSSIANS_STD * _normal(n, generator), 1 - k.double() / 7

    return Toy("8gaussians", Mixture(_components(pieces, _GAUSSIANS_STD)), recipe)


# -- moons: scikit-learn's two half circles, scaled ----------------------------------------------------------------


def _half_circle(angle, lower):
    """Points (..., 2) on the upper arc or, where `lower` is 1, on the lower one."""
    cos, sin = (np.cos, np.sin) if isinstance(angle, np.ndarray) else (torch.cos, torch.sin)
    stack = np.stack if isinstance(angle, np.ndarray) else torch.stack
    sign = 1 - 2 * lower
    return stack([2 * (lower + sign * cos(angle)) - 1, 2 * (lower * 0.5 + sign * sin(angle)) - 0.2], -1)


def _moons() -> Toy:
    std = 0.2

    def rule(blur: float) -> Components:
        angle, weight = interval_nodes(0.0, math.pi, spacing(blur, std, 2.0) / 2)
        arcs = [(weight / (2 * math.pi), _half_circle(angle, lower), np.full_like(angle, 1.0 - lower)) for lower in (0, 1)]
        return _components(arcs, std)

    def recipe(n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        lower = _pick(n, 2, generator).double()
        x = _half_circle(math.pi * _uniform(n, generator), lower)
        return x + std * _normal(n, generator), 1 - lower

    return Toy("moons", Mixture(rule), recipe)


# -- swissroll: the only toy whose energy is a function of the noisy point, E = 1 - |x|^2 / 9 -----------------------


def _swissroll() -> Toy:
    std = 0.2
    low, high = 1.5 * math.pi, 4.5 * math.pi

    def rule(blur: float) -> Components:
        v, dv = spiral_nodes(low, high, spacing(blur, std, 2.0) * 5)
        curve = np.stack([v * np.cos(v), v * np.sin(v)], -1) / 5
        return _components([(dv / (high - low), curve, np.ones_like(v))], std, quadratic=-1 / 9)

    def recipe(n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        v = 1.5 * math.pi * (1 + 2 * _uniform(n, generator))
        x = torch.stack([v * v.cos(), v * v.sin()], -1) / 5 + std * _normal(n, generator)
        return x, 1 - (x**2).sum(-1) / 9

    return Toy("swissroll", Mixture(rule), recipe)


# -- rings: four circles of equal mass --------------------------------------------------------------------------

_RADII = (3.0, 2.25, 1.5, 0.75)
_RING_LABELS = (0.667, 0.333, 1.0, 0.0)


def _rings() -> Toy:
    std = 0.08

    def rule(blur: float) -> Components:
        pieces = []
        for radius, label in zip(_RADII, _RING_LABELS, strict=True):
            angle, weight = circle_nodes(radius, spacing(blur, std, radius))
            circle = radius * np.stack([np.cos(angle), np.sin(angle)], -1)
            pieces.append((weight / (8 * math.pi), circle, np.full_like(angle, 1 - label)))
        return _components(pieces, std)

    def recipe(n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        k = _pick(n, 4, generator)
        radius, label = (torch.tensor(values, dtype=torch.float64, device=k.device)[k] for values in (_RADII, _RING_LABELS))
        angle = 2 * math.pi * _uniform(n, generator)
        x = torch.stack([angle.cos(), angle.sin()], -1) * radius[:, None]
        return x + std * _normal(n, generator), 1 - label

    return Toy("rings", Mixture(rule), recipe)


# -- checkerboard: eight uniform squares, no noise at all ----------------------------------------------------------


def _checkerboard() -> Toy:
    corners = [(column, row + 2 * (column in (-2, 2))) for column in (-4, -2, 0, 2) for row in (0, -4)]
    pieces = [
        (np.full(1, 1 / 8), np.array([[left + 1.0, bottom + 1.0]]), np.array([0.0 if left in (-4, 0) else 1.0]))
        for left, bottom in corners
    ]

    def recipe(n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        first = 4 * _uniform(n, generator) - 2
        column = first.floor()
        second = _uniform(n, generator) - 2 * _pick(n, 2, generator) + column.remainder(2)
        good = (column == -2) | (column == 0)
        return 2 * torch.stack([first, second], -1), 1 - good.double()

    return Toy("checkerboard", Mixture(_components(pieces, 0.0, half_width=1.0)), recipe, extent=5.0)


# -- 2spirals: two arms with box jitter and noise, better towards the middle -----------------------------------------


def _two_spirals() -> Toy:
    std, box, last = 0.1, 0.5, 3 * math.pi

    def rule(blur: float) -> Components:
        n, dn = spiral_nodes(0.0, last, spacing(blur, std, 2.0) * 3)
        arm = (np.stack([-n * np.cos(n), n * np.sin(n)], -1) + box / 2) / 3
        weight, energy = n * dn / last**2, 1 - np.clip(1 - n / 10, 0, 1)
        return _components([(weight, arm, energy), (weight, -arm, energy)], std, half_width=box / 6)

    def recipe(n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        angle = last * _uniform(n, generator).sqrt()
        arm = torch.stack([-angle * angle.cos(), angle * angle.sin()], -1) + box * _uniform(n, generator, 2)
        x = (1 - 2 * _pick(n, 2, generator))[:, None] * arm / 3
        return x + std * _normal(n, generator), 1 - (1 - angle / 10).clamp(0, 1)

    return Toy("2spirals", Mixture(rule), recipe)


_MAKERS = {
    "8gaussians": _gaussians,
    "moons": _moons,
    "swissroll": _swissroll,
    "rings": _rings,
    "checkerboard": _checkerboard,
    "2spirals": _two_spirals,
}
TOYS: tuple[str, ...] = tuple(_MAKERS)


def make_toy(name: str) -> Toy:
    """One of the paper's six toys by name.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    return _MAKERS[check_name(name, TOYS, name="name")]()
