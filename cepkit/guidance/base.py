"""What a guidance is, sums and multiples of it, and the guided denoiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.denoisers import Denoiser, predict
from cepkit.process import convert
from cepkit.schedules import Schedule
from cepkit.validation import check_number


class Guidance(ABC):
    """An estimate of the intermediate energy; adds (`a + b`) and scales (`2.0 * a`)."""

    @abstractmethod
    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """The estimate of E_t at x_t (..., D), shape (...)."""

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """-grad energy, of the shape of x_t; by automatic differentiation unless an estimator knows better."""
        differentiable = torch.is_grad_enabled() and x_t.requires_grad
        with torch.enable_grad():
            x = x_t if differentiable else x_t.detach().requires_grad_(True)
            energy = self.energy(x, t)
            if not energy.requires_grad:
                return torch.zeros_like(x_t)
            (gradient,) = torch.autograd.grad(energy.sum(), x, create_graph=differentiable)
        return -gradient

    def __add__(self, other: Guidance) -> Guidance:
        return SumGuidance((self, other)) if isinstance(other, Guidance) else NotImplemented

    def __mul__(self, factor: float) -> Guidance:
        return ScaledGuidance(self, factor) if isinstance(factor, (int, float)) else NotImplemented

    __rmul__ = __mul__


@dataclass(frozen=True)
class ZeroGuidance(Guidance):
    """No guidance: energy and field are zero."""

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return torch.zeros_like(x_t[..., 0])

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return torch.zeros_like(x_t)


@dataclass(frozen=True)
class SumGuidance(Guidance):
    """The sum of several guidances. Summing exact E_t of two energies is not the exact E_t of their sum, except at t = 0."""

    parts: tuple[Guidance, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("parts: expected at least one guidance, got none")

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return torch.stack([part.energy(x_t, t) for part in self.parts]).sum(0)

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return torch.stack([part(x_t, t) for part in self.parts]).sum(0)


@dataclass(frozen=True)
class ScaledGuidance(Guidance):
    """A guidance times a number: the guidance scale as part of the guidance. Not the same as changing beta."""

    guidance: Guidance
    factor: float

    def __post_init__(self) -> None:
        check_number(self.factor, name="factor")

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.factor * self.guidance.energy(x_t, t)

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.factor * self.guidance(x_t, t)


@dataclass(frozen=True)
class Guided:
    """A denoiser whose score is score + scale * guidance; any parametrisation, same signature.

    In eps form that is eps + scale sigma_t grad E_t, in x0 form x0_hat - scale (sigma_t^2 / alpha_t) grad E_t.
    """

    denoiser: Denoiser
    guidance: Callable[[Tensor, Tensor | float], Tensor]
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_number(self.scale, name="scale")
        if not callable(self.guidance):
            raise ValueError(f"guidance: expected a callable (x_t, t) -> tensor, got {type(self.guidance).__name__}")
        same_schedule(self.guidance, self.denoiser.schedule, "guidance")

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    @property
    def parametrisation(self) -> str:
        return self.denoiser.parametrisation

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        score = predict(self.denoiser, "score", x_t, t) + self.scale * self.guidance(x_t, t)
        return convert(score, "score", self.parametrisation, x_t, t, self.schedule)


def one_per_point(energy: Tensor, x: Tensor, name: str) -> Tensor:
    """`energy` after checking that it holds one number for each point of `x`."""
    if not isinstance(energy, Tensor) or energy.shape != x.shape[:-1]:
        got = tuple(energy.shape) if isinstance(energy, Tensor) else type(energy).__name__
        raise ValueError(f"{name}: expected one energy per point, shape {tuple(x.shape[:-1])}, got {got}")
    return energy


def same_schedule(part: object, schedule: Schedule, name: str) -> None:
    """Refuse a network or guidance that says it is for another schedule."""
    other = getattr(part, "schedule", schedule)
    if other != schedule:
        raise ValueError(f"{name}: expected the schedule {schedule}, got one for {other}")
