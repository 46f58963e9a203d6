"""A Gaussian, on which the samplers' ordinary differential equation has a closed-form solution."""

import numpy as np
import torch
from checks import seeded

from cepkit.diffusion.sampling import sampling_steps
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactDenoiser

MEAN, STD = torch.tensor([[1.5, -0.7]], dtype=torch.float64), 0.5
GAUSSIAN = Mixture.from_points(MEAN, torch.zeros(1), std=STD)


def variance(schedule, t):
    return schedule.alpha(t) ** 2 * STD**2 + schedule.sigma(t) ** 2


def flow(x, schedule, t):
    """The probability-flow map of Gaussian data from time 1 to t: x_t = alpha_t m + sqrt(v_t / v_1) (x_1 - alpha_1 m)."""
    stretch = (variance(schedule, t) / variance(schedule, 1.0)).sqrt()
    return schedule.alpha(t) * MEAN + stretch * (x - schedule.alpha(1.0) * MEAN)


def error(schedule, steps, t_end=0.2, **settings):
    x = torch.randn(64, 2, generator=seeded(), dtype=torch.float64)
    *_, last = sampling_steps(ExactDenoiser(GAUSSIAN, schedule), x, steps=steps, t_end=t_end, **settings)
    return float((last.x - flow(x, schedule, t_end)).norm(dim=-1).mean())


def measured_order(schedule, counts, **settings):
    errors = [error(schedule, steps, **settings) for steps in counts]
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]
