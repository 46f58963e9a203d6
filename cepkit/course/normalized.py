"""The constant C(t) that contrastive training leaves free, fixed from data alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.diffusion.guidance import Guidance, one_per_point, same_schedule
from cepkit.diffusion.process import perturb
from cepkit.diffusion.schedules import Schedule
from cepkit.validation import check_beta, check_points


@dataclass(frozen=True)
class NormalizedGuidance(Guidance):
    """A learned guidance whose energies at different times share one zero, the exact one's; its field is unchanged.

    Averaged over the noised data, exp(-E_t) gives E_{q_t}[exp(-E_t)] = E[exp(-beta E)], the same number at every t. That fixes
    the constant C(t) which contrastive training leaves free; no truth is needed, only data.

    Args:
        guidance: any guidance, right up to a constant for each t.
        x: clean points (n, D), a few thousand.
        energy_of_x: their energies (n,).
    """

    guidance: Guidance
    x: Tensor
    energy_of_x: Tensor
    beta: float
    schedule: Schedule

    def __post_init__(self) -> None:
        check_beta(self.beta)
        check_points(self.x, None, name="x")
        one_per_point(self.energy_of_x, self.x, "energy_of_x")
        same_schedule(self.guidance, self.schedule, "guidance")

    def constant(self, t: Tensor | float) -> Tensor:
        """What is added at time t, a scalar: log E_{q_t}[exp(-f)] - log E[exp(-beta E)]."""
        generator = torch.Generator(self.x.device).manual_seed(0)  # the same noise at every call
        x_t = perturb(self.x, t, self.schedule, generator=generator).x_t
        with torch.no_grad():
            log_weight = torch.stack([-self.guidance.energy(x_t, t), -self.beta * self.energy_of_x])
        noisy, clean = torch.logsumexp(log_weight, -1)
        return noisy - clean

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        if isinstance(t, Tensor) and t.ndim:
            raise ValueError(f"t: expected one time for all points, got shape {tuple(t.shape)}")
        return self.guidance.energy(x_t, t) + self.constant(t)

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.guidance(x_t, t)
