"""Samplers: from noise at t = 1 down to data, as an iterable of steps or in one call.

With the denoised point x0_hat(x_t) and, for a step from t to s < t, ``h = lambda_s - lambda_t`` of the half log
signal-to-noise ratio lambda = log(alpha / sigma):

    DDIM           x_s = (sigma_s / sigma_t) x_t - alpha_s expm1(-h) x0_hat          (Song et al. 2021; order 1)
    DPM-Solver++   the same with x0_hat replaced by (1 + 1/2r) x0_hat - (1/2r) x0_hat_before, r = h_before / h
                   (2M, Lu et al. 2022, arXiv 2211.01095; order 2)
    ancestral SDE  x_s ~ q(x_s | x_t, x_0 = x0_hat)                                  (Ho et al. 2020)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.denoisers import Denoiser, predict
from cepkit.schedules import Schedule
from cepkit.validation import check_name, check_number, check_points

METHODS = ("dpmpp2m", "ddim", "sde")
SPACINGS = ("log_snr", "time")


@dataclass(frozen=True)
class Step:
    """The state of a sampler after `index` of its steps.

    Attributes:
        index: 0 is the initial noise.
        t: the time of `x`, a Python float.
        x: the points x_t, of the sample's shape.
        x0_hat: the denoised points predicted on the way here (None at index 0).
    """

    index: int
    t: float
    x: Tensor
    x0_hat: Tensor | None


def time_grid(schedule: Schedule, steps: int, *, t_end: float = 1e-3, spacing: str = "log_snr") -> Tensor:
    """The steps + 1 times from 1 down to `t_end`, evenly spaced in log_snr or in time, float64.

    Raises:
        ValueError: `steps` below 1, `t_end` outside (0, 1), or an unknown spacing.
    """
    steps = check_number(steps, name="steps", low=1, integer=True)
    t_end = check_number(t_end, name="t_end", low=1e-6, high=1 - 1e-6)
    if check_name(spacing, SPACINGS, name="spacing") == "time":
        return torch.linspace(1.0, t_end, steps + 1, dtype=torch.float64)
    ends = schedule.log_snr(torch.tensor([1.0, t_end], dtype=torch.float64))
    times = schedule.t_from_log_snr(torch.linspace(ends[0], ends[1], steps + 1, dtype=torch.float64))
    times[0], times[-1] = 1.0, t_end
    return times


def initial_noise(
    shape: tuple[int, ...],
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Standard normal x_1 of this shape, on `device` or else the generator's."""
    if device is None and generator is not None:
        device = generator.device
    return torch.randn(shape, generator=generator, dtype=dtype, device=device)


def sampling_steps(
    denoiser: Denoiser,
    x: Tensor,
    *,
    steps: int = 25,
    method: str = "dpmpp2m",
    t_end: float = 1e-3,
    spacing: str = "log_snr",
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Walk from x at t = 1 to `t_end`, yielding every state, the initial one included.

    Args:
        x: the initial noise, (..., D).
        method: "dpmpp2m", "ddim" or "sde"; only the last draws noise, from `generator`.
        spacing: "log_snr" or "time", see `time_grid`.

    Raises:
        ValueError: an unknown method or spacing, a number out of range, or points that are not finite.
    """
    check_name(method, METHODS, name="method")
    check_points(x, None, name="x")
    schedule = denoiser.schedule
    times = time_grid(schedule, steps, t_end=t_end, spacing=spacing)
    return _walk(denoiser, x, times, method, generator)


def _walk(denoiser: Denoiser, x: Tensor, times: Tensor, method: str, generator: torch.Generator | None) -> Iterator[Step]:
    schedule = denoiser.schedule
    alpha, sigma, half_log_snr = schedule.alpha(times), schedule.sigma(times), schedule.log_snr(times) / 2
    yield Step(0, float(times[0]), x, None)
    x0_before: Tensor | None = None
    for i in range(len(times) - 1):
        with torch.no_grad():
            x0_hat = predict(denoiser, "x0", x, times[i])
            h = half_log_snr[i + 1] - half_log_snr[i]
            if method == "sde":
                # q(x_s | x_t, x_0) = N(shrink x_t - alpha_s expm1(-2h) x_0, -expm1(-2h) sigma_s^2)
                fresh = -torch.expm1(-2 * h)
                shrink = (-h).exp() * sigma[i + 1] / sigma[i]
                noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
                x = shrink * x + alpha[i + 1] * fresh * x0_hat + sigma[i + 1] * fresh.sqrt() * noise
            else:
                prediction = x0_hat
                if method == "dpmpp2m" and x0_before is not None:
                    weight = h / (2 * (half_log_snr[i] - half_log_snr[i - 1]))
                    prediction = (1 + weight) * x0_hat - weight * x0_before
                x = sigma[i + 1] / sigma[i] * x - alpha[i + 1] * torch.expm1(-h) * prediction
            x0_before = x0_hat
        yield Step(i + 1, float(times[i + 1]), x, x0_hat)


def sample(
    denoiser: Denoiser,
    shape: tuple[int, ...],
    schedule: Schedule | None = None,
    *,
    steps: int = 25,
    method: str = "dpmpp2m",
    t_end: float = 1e-3,
    spacing: str = "log_snr",
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw samples of this shape in one call; the same `generator` state gives the same samples.

    Args:
        schedule: may be given for readability; it must then be the denoiser's own.

    Raises:
        ValueError: as `sampling_steps`, or `schedule` differs from the denoiser's.
    """
    if schedule is not None and schedule != denoiser.schedule:
        raise ValueError(f"schedule: expected the denoiser's own {denoiser.schedule}, got {schedule}")
    x = initial_noise(shape, generator=generator, dtype=dtype, device=device)
    for step in sampling_steps(denoiser, x, steps=steps, method=method, t_end=t_end, spacing=spacing, generator=generator):
        x = step.x
    return x
