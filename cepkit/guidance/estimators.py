"""The exact guidance and the estimators that need no training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.denoisers import Denoiser, ExactDenoiser, predict
from cepkit.exact import Mixture
from cepkit.guidance.base import Guidance, one_per_point
from cepkit.process import expand_time
from cepkit.schedules import Schedule
from cepkit.toys import Toy
from cepkit.validation import check_beta, check_number

EnergyFunction = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ExactGuidance(Guidance):
    """The exact intermediate energy of a `Mixture` at inverse temperature `beta`."""

    truth: Mixture
    beta: float
    schedule: Schedule

    def __post_init__(self) -> None:
        self.truth.tilt(self.beta)  # refuses a beta that cannot be normalised

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.truth.energy_t(x_t, t, self.beta, self.schedule)

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.truth.guidance(x_t, t, self.beta, self.schedule)


@dataclass(frozen=True)
class MeanEnergyGuidance(Guidance):
    """The exact mean energy beta E[E(x_0) | x_t]: the limit of least-squares regression on noisy points ("MSE")."""

    truth: Mixture
    beta: float
    schedule: Schedule

    def __post_init__(self) -> None:
        check_beta(self.beta)

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.truth.mean_energy_t(x_t, t, self.beta, self.schedule)

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.truth.mean_energy_guidance(x_t, t, self.beta, self.schedule)


@dataclass(frozen=True)
class DPSGuidance(Guidance):
    """Diffusion posterior sampling: beta E(x0_hat(x_t)), differentiated through the denoiser.

    Where the energy is piecewise constant its gradient, and so this guidance, is zero almost everywhere.
    """

    denoiser: Denoiser
    energy_function: EnergyFunction
    beta: float

    def __post_init__(self) -> None:
        check_beta(self.beta)

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        x0 = predict(self.denoiser, "x0", x_t, t)
        return self.beta * one_per_point(self.energy_function(x0), x0, "energy_function")


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
        check_beta(self.beta)
        check_number(self.samples, name="samples", low=1, integer=True)
        check_number(self.data_std, name="data_std", low=1e-6)
        check_number(self.seed, name="seed", low=0, integer=True)

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        t_x, schedule = expand_time(t, x_t), self.denoiser.schedule
        alpha_t, sigma_t = schedule.alpha(t_x), schedule.sigma(t_x)
        radius = self.data_std * sigma_t / (alpha_t**2 * self.data_std**2 + sigma_t**2).sqrt()
        generator = torch.Generator().manual_seed(self.seed)
        cloud = torch.randn((self.samples,) + (1,) * (x_t.ndim - 1) + x_t.shape[-1:], generator=generator, dtype=torch.float64)
        x0 = predict(self.denoiser, "x0", x_t, t) + radius * cloud.to(x_t)
        energy = one_per_point(self.energy_function(x0), x0, "energy_function")
        return math.log(self.samples) - torch.logsumexp(-self.beta * energy, 0)


def toy_estimators(toy: Toy, beta: float, schedule: Schedule) -> dict[str, Guidance]:
    """The estimators that need no training, by the names used in the course, each with perfect ingredients.

    DPS and LGD-MC get the exact denoiser and the toy's clean energy, so that what remains is the method's own error.
    """
    denoiser = ExactDenoiser(toy.truth, schedule)
    return {
        "exact": ExactGuidance(toy.truth, beta, schedule),
        "mean energy": MeanEnergyGuidance(toy.truth, beta, schedule),
        "DPS": DPSGuidance(denoiser, toy.energy, beta),
        "LGD-MC": LGDGuidance(denoiser, toy.energy, beta),
    }
