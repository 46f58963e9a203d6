"""Small networks for points: a denoiser and an energy net on one trunk, both scaled by what is known of the data.

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

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from cepkit.diffusion.process import PARAMETRISATIONS, convert, expand_time
from cepkit.diffusion.schedules import Schedule
from cepkit.validation import check_name, check_number, check_points

_FREQUENCIES = 4
_LARGEST_LOG_SNR = 14.0  # beyond it x_t is x_0 to float32, and at t = 0 log_snr is infinite


class LevelFeatures(nn.Module):
    """Noise levels (...) to features (..., size): sines and cosines of log_snr, with alpha_t, sigma_t and log_snr itself."""

    size = 2 * _FREQUENCIES + 3

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequency", torch.arange(1, _FREQUENCIES + 1) * (math.pi / 32), persistent=False)

    def forward(self, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        log_snr = (2 * (alpha_t / sigma_t).log()).clamp(max=_LARGEST_LOG_SNR)
        phase = log_snr[..., None] * self.frequency
        level = torch.stack([alpha_t, sigma_t, log_snr / 8], -1)
        return torch.cat([phase.sin(), phase.cos(), level], -1)


class TimeEmbedding(nn.Module):
    """Noise levels (...) to vectors (..., width): their features through one layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = LevelFeatures()
        self.layer = nn.Linear(self.features.size, width)

    def forward(self, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        return silu(self.layer(self.features(alpha_t, sigma_t)))


class Scaled(NamedTuple):
    """x_t in the units of Gaussian data, (..., D), and what depends on t alone, () or with a last axis of 1."""

    unit: Tensor  # of variance 1
    estimate: Tensor  # u
    alpha: Tensor
    sigma: Tensor
    known: Tensor  # alpha_t^2 std^2 / v_t
    uncertainty: Tensor  # r_t

    @property
    def level(self) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t without the last axis."""
        return (self.alpha.squeeze(-1), self.sigma.squeeze(-1)) if self.alpha.ndim else (self.alpha, self.sigma)


class _PointNetwork(nn.Module):
    """What the two networks share: data scale, time embedding, trunk. `_trunk` returns the raw output F, (..., out)."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, dim: int, out: int, schedule: Schedule, *, width: int, layers: int, waves: int, frequency: float, condition_dim: int
    ) -> None:
        super().__init__()
        self.dim, self.schedule = check_number(dim, name="dim", low=1, integer=True), schedule
        width = check_number(width, name="width", low=1, integer=True)
        layers = check_number(layers, name="layers", low=1, integer=True)
        waves = check_number(waves, name="waves", low=0, integer=True)
        self.condition_dim = check_number(condition_dim, name="condition_dim", low=0, integer=True)
        frequency = check_number(frequency, name="frequency", low=0.0)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("projection", torch.randn(dim, waves) * frequency * math.sqrt(2 / dim))
        self.time = TimeEmbedding(width)
        self.films = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(layers))
        self.first = nn.Linear(dim + 2 * waves, width, bias=False)
        self.condition = nn.Linear(condition_dim, width, bias=False) if condition_dim else None
        self.hidden = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers - 1))
        self.last = nn.Linear(width, out)

    def set_scale(self, mean: Tensor, std: Tensor | float) -> None:
        """Tell the network the data's mean (D,) and overall standard deviation."""
        self.mean.copy_(mean)
        self.std.copy_(torch.as_tensor(std).clamp_min(1e-6))

    def _scaled(self, x_t: Tensor, t: Tensor | float) -> Scaled:
        check_points(x_t, self.dim)
        t, x_t = expand_time(t, x_t), x_t.to(self.std.dtype)
        alpha, sigma = self.schedule.alpha(t).to(x_t), self.schedule.sigma(t).to(x_t)
        signal = alpha * self.std
        inverse = 1 / (signal.square() + sigma.square())
        centred, root = x_t - alpha * self.mean, inverse.sqrt()
        return Scaled(centred * root, centred * (signal * inverse), alpha, sigma, signal.square() * inverse, sigma * root)

    def _trunk(self, scaled: Scaled, embedded: Tensor, condition: Tensor | None) -> Tensor:
        phase = scaled.estimate @ self.projection
        damping = (-0.5 * scaled.uncertainty.square() * self.projection.square().sum(0)).exp()
        h = self.first(torch.cat([scaled.unit, phase.sin() * damping, phase.cos() * damping], -1))
        condition = self._checked(condition, h)
        if self.condition is not None:
            h = h + self.condition(condition)
        for i, film in enumerate(self.films):
            scale, shift = film(embedded).chunk(2, -1)
            h = silu(torch.addcmul(shift, (self.hidden[i - 1](h) if i else h), 1 + scale))
        return self.last(h)

    def _checked(self, condition: Tensor | None, like: Tensor) -> Tensor | None:
        """The condition, one for all or one per leading index of the points, shaped to go with them."""
        if not self.condition_dim:
            if condition is not None:
                raise ValueError("condition: expected none, for this network has condition_dim = 0, got one")
            return None
        shape = () if condition is None else tuple(condition.shape)
        if shape[-1:] != (self.condition_dim,) or len(shape) > like.ndim or shape[:-1] != like.shape[: len(shape) - 1]:
            wanted = f"({self.condition_dim},), or that after leading axes of the points' {tuple(like.shape[:-1])}"
            raise ValueError(f"condition: expected shape {wanted}, got {None if condition is None else shape}")
        return condition.to(like).reshape(shape[:-1] + (1,) * (like.ndim - len(shape)) + shape[-1:])


class MLPDenoiser(_PointNetwork):
    """A denoiser for points of shape (..., D): any parametrisation, with or without a condition.

    Args:
        dim: D.
        parametrisation: what a call returns; the network inside always predicts what a Gaussian would not know.
        width, layers: of the hidden layers.
        waves: number of random directions whose sines and cosines are inputs; 0 for none. `frequency` is their scale.
        condition_dim: size of an extra input of each call, such as a state in reinforcement learning: of shape (condition_dim,)
            or with leading axes of the points, as t has, (G, condition_dim) for points (G, K, D).

    Raises:
        ValueError: a size that is not a positive integer, or an unknown parametrisation; in a call, points of another
            dimension, or a condition that is missing, of another shape or not asked for.
    """

    def __init__(
        self,
        dim: int,
        schedule: Schedule,
        *,
        parametrisation: str = "x0",
        width: int = 64,
        layers: int = 3,
        waves: int = 16,
        frequency: float = 2.0,
        condition_dim: int = 0,
    ) -> None:
        super().__init__(
            dim, dim, schedule, width=width, layers=layers, waves=waves, frequency=frequency, condition_dim=condition_dim
        )
        self.parametrisation = check_name(parametrisation, PARAMETRISATIONS, name="parametrisation")

    def forward(self, x_t: Tensor, t: Tensor | float, condition: Tensor | None = None) -> Tensor:
        """The prediction at x_t (..., D) and t (scalar, or one per leading index), of the shape of x_t."""
        scaled = self._scaled(x_t, t)
        value = scaled.estimate + scaled.uncertainty * self._trunk(scaled, self.time(*scaled.level), condition)
        x0_hat = (self.mean + self.std * value).to(x_t.dtype)
        return convert(x0_hat, "x0", self.parametrisation, x_t, t, self.schedule)


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

    def fit(self, x: Tensor, energy: Tensor, beta: float) -> GaussianGuess:
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

    Raises:
        ValueError: as `MLPDenoiser`.
    """

    def __init__(
        self,
        dim: int,
        schedule: Schedule,
        *,
        width: int = 64,
        layers: int = 3,
        waves: int = 16,
        frequency: float = 2.0,
        condition_dim: int = 0,
        gaussian_guess: bool = False,
    ) -> None:
        super().__init__(
            dim, 1, schedule, width=width, layers=layers, waves=waves, frequency=frequency, condition_dim=condition_dim
        )
        self.guess = GaussianGuess(dim) if gaussian_guess else None
        self.level = nn.Linear(width, 1) if gaussian_guess else None  # the constant C(t), which losses other than CEP must learn

    def forward(self, x_t: Tensor, t: Tensor | float, condition: Tensor | None = None) -> Tensor:
        """f at x_t (..., D) and t (scalar, or one per leading index), shape (...)."""
        scaled = self._scaled(x_t, t)
        embedded = self.time(*scaled.level)
        f = self._trunk(scaled, embedded, condition).squeeze(-1)
        if self.guess is not None:
            share = scaled.known**1.5
            share = share.squeeze(-1) if share.ndim else share
            guess = self.guess(x_t.to(f), scaled.alpha, scaled.sigma)
            f = share * f + (1 - share) * guess + self.level(embedded).squeeze(-1)
        return f.to(x_t.dtype)
