"""Random small point clouds with energies, weights and a blur, for hypothesis; and the truth about them in plain numpy."""

from dataclasses import dataclass

import numpy as np
import torch
from checks import alpha_sigma, gaussians_energy_t, gaussians_log_q
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from cepkit.truth.components import Components
from cepkit.truth.exact import Mixture


@dataclass(frozen=True)
class Cloud:
    points: np.ndarray
    energy: np.ndarray
    weight: np.ndarray
    std: float

    @property
    def log_weight(self):
        return np.log(self.weight / self.weight.sum())

    def mixture(self, *, shift=0.0, backwards=False):
        """The library's mixture, with energies shifted by a constant and points in the opposite order."""
        columns = [torch.tensor(column) for column in (self.points, self.energy + shift, self.weight)]
        points, energy, weight = (column.flip(0) if backwards else column for column in columns)
        width, mode = torch.tensor([self.std], dtype=torch.float64), torch.zeros(len(points), dtype=torch.long)
        return Mixture(Components(weight.log(), points, width, energy, mode))

    def log_q(self, x_t, t):
        return torch.from_numpy(gaussians_log_q(x_t.numpy(), t, self.points, self.std, self.log_weight))

    def energy_t(self, x_t, t, beta):
        value = gaussians_energy_t(x_t.numpy(), t, beta, self.points, self.std, self.log_weight, self.energy)
        return torch.from_numpy(value)

    def posterior(self, x_t, t):
        """Probability of each point given x_t, and the mean of x_0 given x_t and the point."""
        alpha, sigma = alpha_sigma(t)
        var = alpha**2 * self.std**2 + sigma**2
        offset = x_t.numpy()[:, None] - alpha * self.points
        probability = softmax(self.log_weight - (offset**2).sum(-1) / (2 * var), axis=-1)
        return probability, self.points + alpha * self.std**2 / var * offset


def _numbers(shape, low, high):
    return arrays(np.float64, shape, elements=st.floats(low, high, allow_subnormal=False))


@st.composite
def clouds(draw):
    n, dim = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    std = draw(st.sampled_from([0.0, 0.1, 0.5]))
    return Cloud(draw(_numbers((n, dim), -3, 3)), draw(_numbers(n, -2, 2)), draw(_numbers(n, 0.05, 1)), std)


@st.composite
def noisy_clouds(draw):
    """A cloud, points x_t to look at, a time and an inverse temperature."""
    cloud = draw(clouds())
    x_t = torch.from_numpy(draw(_numbers((5, cloud.points.shape[1]), -4, 4)))
    return cloud, x_t, draw(st.floats(0.1, 1.0)), draw(st.floats(0.0, 10.0))
