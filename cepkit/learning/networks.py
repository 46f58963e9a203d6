"""Small networks for points, a denoiser and an energy net in the units of the data, and `Fit`, a network in training.

For Gaussian data N(mean, std^2 I) the noisy points have variance v_t = alpha_t^2 std^2 + sigma_t^2 about alpha_t mean, and
everything is known: the posterior of (x_0 - mean) / std has mean u = alpha_t std (x_t - alpha_t mean) / v_t and variance
r_t^2 = sigma_t^2 / v_t. The networks work in these units and learn what differs from a Gaussian:

    inputs    (x_t - alpha_t mean) / sqrt(v_t), and sin, cos of random projections B u, damped by exp(-|B|^2 r_t^2 / 2)
    denoiser  x0_hat = mean + std (u + r_t F)                                   (preconditioning, Karras et al. 2022)
    energy    f = (1 - c_t) guess + c_t F + level(t),  c_t = (alpha_t^2 std^2 / v_t)^(3/2)
              (`GaussianGuess`, right as t -> 1)

The damped waves are E[sin(B (x_0 - mean) / std) | x_t] for Gaussian data: fine detail fades as the noise hides it. c_t falls like
alpha_t^3, the order of what the guess misses. Time enters as features of log_snr that scale and shift every layer (FiLM, Perez
et al. 2018).
"""

import copy
import math
from collections import OrderedDict
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from cepkit.diffusion.process import expand_time
from cepkit.diffusion.schedules import Schedule
from cepkit.validation import check_points

_FREQUENCIES = 4
LEVEL_FEATURES = 2 * _FREQUENCIES + 3
_WAVE_FREQUENCY = 2.0  # of the random projections B, in units of the data's spread
_LARGEST_LOG_SNR = 14.0  # beyond it x_t is x_0 to float32, and at t = 0 log_snr is infinite


def level_features(alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
    """Sines and cosines of log_snr, with alpha_t, sigma_t and log_snr itself: noise levels (...) -> (..., LEVEL_FEATURES)."""
    log_snr = (2 * (alpha_t / sigma_t).log()).clamp(max=_LARGEST_LOG_SNR)
    frequency = torch.arange(1, _FREQUENCIES + 1, device=log_snr.device) * (math.pi / 32)
    phase = log_snr[..., None] * frequency.to(log_snr)
    return torch.cat([phase.sin(), phase.cos(), torch.stack([alpha_t, sigma_t, log_snr / 8], -1)], -1)


class Scaled(NamedTuple):
    """x_t in the units of Gaussian data, (..., D), and values of t alone, () or with a last axis."""

    unit: Tensor  # of variance 1
    estimate: Tensor  # u
    alpha: Tensor
    sigma: Tensor
    known: Tensor  # alpha_t^2 std^2 / v_t
    uncertainty: Tensor  # r_t
    embedded: Tensor  # the embedding of time


class _PointNetwork(nn.Module):
    """The common part of the two networks. Its raw output F is `_trunk`, (..., outputs)."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, outputs: int, schedule: Schedule, width: int, layers: int, waves: int) -> None:
        super().__init__()
        self.dim, self.schedule = dim, schedule
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("projection", torch.randn(dim, waves) * _WAVE_FREQUENCY * math.sqrt(2 / dim))
        self.time = nn.Sequential(OrderedDict(layer=nn.Linear(LEVEL_FEATURES, width), activation=nn.SiLU()))
        self.films = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(layers))
        self.first = nn.Linear(dim + 2 * waves, width, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers - 1))
        self.last = nn.Linear(width, outputs)

    def set_scale(self, mean: Tensor, std: Tensor | float) -> None:
        """Tell the network the data's mean (D,) and overall standard deviation."""
        self.mean.copy_(mean)
        self.std.copy_(torch.as_tensor(std).clamp_min(1e-6))

    def _scaled(self, x_t: Tensor, t: Tensor | float) -> Scaled:
        check_points(x_t, self.dim)
        t, x_t = expand_time(t, x_t), x_t.to(self.std.dtype)
        # a network in half precision is told the noise level with all its digits
        exact = {"device": x_t.device, "dtype": torch.promote_types(x_t.dtype, torch.float32)}
        levels = [level.to(**exact) for level in (self.schedule.alpha(t), self.schedule.sigma(t))]
        features = level_features(*(level.squeeze(-1) if level.ndim else level for level in levels))
        alpha, sigma = (level.to(x_t) for level in levels)
        signal = alpha * self.std
        inverse = 1 / (signal.square() + sigma.square())
        centred, root = x_t - alpha * self.mean, inverse.sqrt()
        embedded = self.time(features.to(x_t))
        known, uncertainty = signal.square() * inverse, sigma * root
        return Scaled(centred * root, centred * (signal * inverse), alpha, sigma, known, uncertainty, embedded)

    def _trunk(self, scaled: Scaled) -> Tensor:
        phase = scaled.estimate @ self.projection
        damping = (-0.5 * scaled.uncertainty.square() * self.projection.square().sum(0)).exp()
        h = self.first(torch.cat([scaled.unit, phase.sin() * damping, phase.cos() * damping], -1))
        for i, film in enumerate(self.films):
            scale, shift = film(scaled.embedded).chunk(2, -1)
            h = silu(torch.addcmul(shift, (self.hidden[i - 1](h) if i else h), 1 + scale))
        return self.last(h)


class MLPDenoiser(_PointNetwork):
    """A denoiser for points (..., D) that predicts x0.

    Args:
        dim: D.
        width, layers: of the hidden layers, at least 1.
        waves: number of random directions whose sines and cosines are inputs; 0 for none.
    """

    parametrisation = "x0"

    def __init__(self, dim: int, schedule: Schedule, *, width: int = 64, layers: int = 3, waves: int = 16) -> None:
        super().__init__(dim, dim, schedule, width, layers, waves)

    def forward(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """Predict at x_t (..., D) and t (scalar, or one per leading index), of the shape of x_t."""
        scaled = self._scaled(x_t, t)
        value = scaled.estimate + scaled.uncertainty * self._trunk(scaled)
        return (self.mean + self.std * value).to(x_t.dtype)


class GaussianGuess(nn.Module):
    """E_t, up to a constant, if data and target were Gaussians with their true means and covariances.

    Noise makes both Gaussian as t -> 1, so the guess is right there to second order in alpha_t, where samples alone can hardly
    tell: the field fades like alpha_t and the scatter of the labels does not. Exact at all t for Gaussian data with an energy of
    second degree.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        for name in ("data", "target"):
            self.register_buffer(f"{name}_mean", torch.zeros(dim))
            self.register_buffer(f"{name}_variance", torch.ones(dim))
            self.register_buffer(f"{name}_axes", torch.eye(dim))

    def fit(self, x: Tensor, energy: Tensor, beta: float) -> Self:
        """Take the moments of points (n, D), and of the same points weighted by exp(-beta energy)."""
        self._set("data", x.double(), torch.full_like(energy.double(), 1 / len(x)))
        self._set("target", x.double(), torch.softmax(-beta * energy.double(), 0))
        return self

    def _set(self, name: str, x: Tensor, weight: Tensor) -> None:
        mean = weight @ x
        variance, axes = torch.linalg.eigh((x - mean).T @ ((x - mean) * weight[:, None]))
        for part, value in (("mean", mean), ("variance", variance.clamp_min(0)), ("axes", axes)):
            getattr(self, f"{name}_{part}").copy_(value)

    def forward(self, x_t: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        """The guess at x_t (..., D), shape (...)."""
        return self._surprise("target", x_t, alpha_t, sigma_t) - self._surprise("data", x_t, alpha_t, sigma_t)

    def _surprise(self, name: str, x_t: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        mean, variance, axes = (getattr(self, f"{name}_{part}") for part in ("mean", "variance", "axes"))
        along = (x_t - alpha_t * mean) @ axes
        return 0.5 * (along.square() / (alpha_t.square() * variance + sigma_t.square())).sum(-1)


class MLPEnergy(_PointNetwork):
    """An energy net f(x_t, t): an intermediate energy up to a constant C(t), shape (...) for points (..., D).

    Args: as `MLPDenoiser`, and
        gaussian_guess: start from a `GaussianGuess` (fit it by `net.guess.fit(x, energy, beta)`) and learn the rest. Without,
            f is the network's raw output.
    """

    def __init__(
        self, dim: int, schedule: Schedule, *, width: int = 64, layers: int = 3, waves: int = 16, gaussian_guess: bool = False
    ) -> None:
        super().__init__(dim, 1, schedule, width, layers, waves)
        self.guess = GaussianGuess(dim) if gaussian_guess else None
        self.level = nn.Linear(width, 1) if gaussian_guess else None  # the constant C(t), which losses other than CEP must learn

    def forward(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """f at x_t (..., D) and t (scalar, or one per leading index), shape (...)."""
        scaled = self._scaled(x_t, t)
        f = self._trunk(scaled).squeeze(-1)
        if self.guess is not None:
            share = scaled.known**1.5 if scaled.known.ndim == 0 else scaled.known.squeeze(-1) ** 1.5
            guess = self.guess(x_t.to(f), scaled.alpha, scaled.sigma)
            f = share * f + (1 - share) * guess + self.level(scaled.embedded).squeeze(-1)
        return f.to(x_t.dtype)


class Fit:
    """A network in training with Adam (Kingma & Ba 2015), and the exponential moving average of its weights, which is kept.

    Args:
        network: changed in place by `step`.
        learning_rate: the highest; rises linearly over `warmup` steps, falls to 0 along a cosine at `steps`.
        ema: decay of the average; early on it averages over about a tenth of the steps taken.
        betas: of Adam.
        constant: keep the highest learning rate after the rise, and the decay of the average from the first step.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        learning_rate: float,
        steps: int,
        warmup: int,
        ema: float,
        betas: tuple[float, float] = (0.9, 0.99),
        constant: bool = False,
    ) -> None:
        self.network = network
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.index = 0
        self._peak, self._steps, self._warmup, self._decay, self._constant = learning_rate, steps, warmup, ema, constant
        self.parameters = dict(network.named_parameters())
        fused = all(p.device.type in ("cpu", "cuda") for p in self.parameters.values())
        self.adam = torch.optim.Adam(self.parameters.values(), lr=learning_rate, betas=betas, fused=fused)
        for parameter in self.parameters.values():  # as Adam does at its first step, so that a state can always be saved
            counter = torch.zeros((), device=parameter.device if fused else "cpu")  # torch counts on the device only when fused
            zeros = torch.zeros_like(parameter)
            self.adam.state[parameter] = {"step": counter, "exp_avg": zeros, "exp_avg_sq": zeros.clone()}

    def learning_rate(self, index: int) -> float:
        """Of step `index`, counted from 0."""
        rate = self._peak * min(1.0, (index + 1) / (self._warmup + 1))
        return rate if self._constant else rate * 0.5 * (1 + math.cos(math.pi * min(1.0, index / self._steps)))

    def step(self, loss: Tensor) -> None:
        """Take one step down the gradient of `loss`; the average follows."""
        for group in self.adam.param_groups:
            group["lr"] = self.learning_rate(self.index)
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()
        self.index += 1
        decay = self._decay if self._constant else min(self._decay, self.index / (self.index + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.parameters.values()), 1 - decay)
