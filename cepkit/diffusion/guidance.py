"""Guidance: one interface for the exact intermediate energy and for its approximations.

A guidance is an estimate of E_t(x_t) = -log E[exp(-beta E(x_0)) | x_t]; beta is inside. ``g.energy(x_t, t)`` is the
estimate and ``g(x_t, t)`` is minus its gradient, of the shape of x_t.

    exact         Theorem 3.1 of Lu et al. (2023), in closed form
    mean energy   beta E[E(x_0) | x_t], what regression learns (Diffuser, Janner et al. 2022); never below exact (Jensen)
    DPS           beta E(x0_hat(x_t)) (Chung et al. 2023)
    LGD-MC        -log mean_j exp(-beta E(x0_hat + r_t z_j)) (Song et al. 2023)
    learned       an energy net, trained by contrastive energy prediction or otherwise (`cepkit.learning`)

`Guided(denoiser, guidance, scale)` is again a denoiser. The scale multiplies -grad E_t; only scale 1 samples the target.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.calling import call_field, check_callable, check_denoiser
from cepkit.diffusion.denoisers import Denoiser, predict
from cepkit.diffusion.process import convert, expand_time
from cepkit.diffusion.schedules import Schedule
from cepkit.validation import LARGEST_INTEGER, check_beta, check_number

EnergyFunction = Callable[[Tensor], Tensor]


class Guidance(ABC):
    """An estimate of the intermediate energy E_t; an estimator defines `energy`, and its field follows."""

    @abstractmethod
    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """The estimate of E_t at x_t (..., D), shape (...)."""

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """The field -grad E_t, of the shape of x_t, by automatic differentiation unless an estimator defines it."""
        differentiable = torch.is_grad_enabled() and x_t.requires_grad
        with torch.enable_grad():
            x = x_t if differentiable else x_t.detach().requires_grad_(True)
            energy = self.energy(x, t)
            if not energy.requires_grad:
                return torch.zeros_like(x_t)
            (gradient,) = torch.autograd.grad(energy.sum(), x, create_graph=differentiable)
        return -gradient


@dataclass(frozen=True)
class ZeroGuidance(Guidance):
    """No guidance: energy and field are zero."""

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return torch.zeros_like(x_t[..., 0])

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return torch.zeros_like(x_t)


@dataclass(frozen=True)
class Guided:
    """A denoiser whose score is score + scale * guidance; any parametrisation, same signature.

    In eps form that is eps + scale sigma_t grad E_t, in x0 form x0_hat - scale (sigma_t^2 / alpha_t) grad E_t.
    """

    denoiser: Denoiser
    guidance: Callable[[Tensor, Tensor | float], Tensor]
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", check_number(self.scale, name="scale"))
        check_callable(self.guidance, "guidance")
        same_schedule(self.guidance, check_denoiser(self.denoiser).schedule, "guidance")

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    @property
    def parametrisation(self) -> str:
        return self.denoiser.parametrisation

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        score = predict(self.denoiser, "score", x_t, t) + self.scale * call_field(self.guidance, "guidance", x_t, t)
        return convert(score, "score", self.parametrisation, x_t, t, self.schedule)


@dataclass(frozen=True)
class DPSGuidance(Guidance):
    """Diffusion posterior sampling: beta E(x0_hat(x_t)), differentiated through the denoiser.

    Where the energy is piecewise constant its gradient, and so this guidance, is zero almost everywhere.
    """

    denoiser: Denoiser
    energy_function: EnergyFunction
    beta: float

    def __post_init__(self) -> None:
        check_denoiser(self.denoiser)
        check_callable(self.energy_function, "energy_function", "x -> energy")
        object.__setattr__(self, "beta", check_beta(self.beta))

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        x0 = predict(self.denoiser, "x0", x_t, t)
        return self.beta * call_field(self.energy_function, "energy_function", x0, per_point=True)


@dataclass(frozen=True)
class LGDGuidance(Guidance):
    """Loss-guided diffusion by Monte Carlo: E_t under a Gaussian cloud round x0_hat, differentiated through the denoiser.

    The cloud has standard deviation r_t = data_std sigma_t / sqrt(alpha_t^2 data_std^2 + sigma_t^2), the posterior's for
    Gaussian data of that width; data_std = 1 is the paper's choice. The same `samples` offsets, drawn once from `seed`,
    serve every point and time, so the field is smooth and can be replayed.
    """

    denoiser: Denoiser
    energy_function: EnergyFunction
    beta: float
    samples: int = 16
    data_std: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        DPSGuidance.__post_init__(self)
        for name, low, high in (("samples", 1, math.inf), ("seed", 0, LARGEST_INTEGER), ("data_std", 1e-6, math.inf)):
            value = check_number(getattr(self, name), name=name, low=low, high=high, integer=name != "data_std")
            object.__setattr__(self, name, value)

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        t_x, schedule = expand_time(t, x_t), self.denoiser.schedule
        alpha_t, sigma_t = schedule.alpha(t_x), schedule.sigma(t_x)
        radius = self.data_std * sigma_t / (alpha_t**2 * self.data_std**2 + sigma_t**2).sqrt()
        generator = torch.Generator().manual_seed(self.seed)
        cloud = torch.randn((self.samples,) + (1,) * (x_t.ndim - 1) + x_t.shape[-1:], generator=generator, dtype=torch.float64)
        x0 = predict(self.denoiser, "x0", x_t, t) + radius * cloud.to(x_t)
        energy = call_field(self.energy_function, "energy_function", x0, per_point=True)
        return math.log(self.samples) - torch.logsumexp(-self.beta * energy, 0)


@dataclass(frozen=True)
class LearnedGuidance(Guidance):
    """The guidance of an energy net f(x_t, t), by one backward pass through it for a whole batch.

    Trained by contrastive energy prediction (Lu et al. 2023, section 4.1) the net is E_t up to a constant C(t), so its energies
    at two times share no zero; its gradient is not affected.

    Args:
        energy_net: (x_t (..., D), t) -> (...), such as `cepkit.learning.networks.MLPEnergy`.
        schedule: the one it was trained with.
    """

    energy_net: Callable[[Tensor, Tensor | float], Tensor]
    schedule: Schedule

    def __post_init__(self) -> None:
        check_callable(self.energy_net, "energy_net", "(x_t, t) -> energy")
        same_schedule(self.energy_net, self.schedule, "energy_net")

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return call_field(self.energy_net, "energy_net", x_t, t, per_point=True)


def same_schedule(part: object, schedule: Schedule, name: str) -> None:
    """Refuse a network or guidance that names another schedule as its own."""
    other = getattr(getattr(part, "denoiser", part), "schedule", schedule)
    if other != schedule:
        raise ValueError(f"{name}: expected the schedule {schedule}, got one for {other}")
