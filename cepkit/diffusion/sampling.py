"""Samplers: from noise at t = 1 down to data, as an iterable of steps or in one call.

With the denoised point x0_hat(x_t) and, for a step from t to s < t, ``h = lambda_s - lambda_t`` of the half log
signal-to-noise ratio lambda = log(alpha / sigma):

    DDIM           x_s = (sigma_s / sigma_t) x_t - alpha_s expm1(-h) x0_hat          (Song et al. 2021; order 1)
    DPM-Solver++   the same with x0_hat replaced by (1 + 1/2r) x0_hat - (1/2r) x0_hat_before, r = h_before / h
                   (2M, Lu et al. 2022, arXiv 2211.01095; order 2)
    ancestral SDE  x_s ~ q(x_s | x_t, x_0 = x0_hat)                                  (Ho et al. 2020)

t = 0 is data: a step there ends on x0_hat. Schedules whose noise vanishes as t -> 0 stop at `t_end`, where x_t is data up to
sigma(t_end). One that keeps noise at t = 0, of a model trained on finitely many levels, goes on from `t_end` to x0_hat.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.calling import check_denoiser, check_draw, check_generator, check_levels, evaluation_mode, modules_of
from cepkit.diffusion.denoisers import Denoiser, predict
from cepkit.diffusion.process import expand_time
from cepkit.diffusion.schedules import Schedule
from cepkit.validation import check_name, check_number, check_points, check_time

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
    """The steps + 1 times from 1 down to `t_end`, evenly spaced in log_snr or in time, float64; to 0 if noise is left there.

    Raises:
        ValueError: `steps` below 1, `t_end` outside (0, 1), an unknown spacing, or a schedule that is not variance preserving.
    """
    steps = check_number(steps, name="steps", low=1, integer=True)
    t_end = check_number(t_end, name="t_end", low=1e-6, high=1 - 1e-6)
    ends = torch.tensor([1.0, t_end, 0.0], dtype=torch.float64)
    keeps_noise = bool(check_levels(schedule, ends)[1][-1] > 0)
    even = check_name(spacing, SPACINGS, name="spacing") == "time"
    first, last, _ = (ends if even else schedule.log_snr(ends)).tolist()
    times = torch.linspace(first, last, steps + 1 - keeps_noise, dtype=torch.float64)
    times = times if even else schedule.t_from_log_snr(times)
    times[-1], times[0] = t_end, 1.0
    return torch.cat([times, ends[2:]]) if keeps_noise else times


def initial_noise(
    shape: tuple[int, ...],
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Standard normal x_1 of this shape, on `device` or else the generator's."""
    shape, device = check_draw(shape, generator, dtype, device)
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
    times = time_grid(check_denoiser(denoiser).schedule, steps, t_end=t_end, spacing=spacing)
    return walk(denoiser, x, times, method=method, generator=generator)


def walk(
    denoiser: Denoiser, x: Tensor, times: Tensor, *, method: str = "dpmpp2m", generator: torch.Generator | None = None
) -> Iterator[Step]:
    """Walk down given times from any noise level, yielding every state; `times` (steps + 1,) falls strictly.

    Torch modules that the denoiser uses run in evaluation mode. Between two steps they are in the mode they were found in.

    Raises:
        ValueError: no denoiser, a schedule that is not variance preserving, an unknown method, times that do not fall or are
            fewer than two, points that are not finite, or a generator of another device.
    """
    check_name(method, METHODS, name="method")
    check_points(x, None, name="x")
    check_generator(generator, x.device)
    times = check_time(times, name="times").to("cpu", torch.float64)
    if times.ndim != 1 or len(times) < 2 or not bool((times.diff() < 0).all()):
        raise ValueError(f"times: expected at least two strictly falling times, got {times.tolist()}")
    levels = check_levels(check_denoiser(denoiser).schedule, times)
    return _walk(denoiser, x, times, levels, method, generator)


def ddim_step(x_t: Tensor, x0_hat: Tensor, t: Tensor | float, s: Tensor | float, schedule: Schedule) -> Tensor:
    """The deterministic step from x_t at time t to time s < t that keeps the denoised point and the predicted noise.

    Raises:
        ValueError: a time outside [0, 1], or `s` not below `t`.
    """
    t, s, h = _step_size(x_t, t, s, schedule)
    return schedule.sigma(s) / schedule.sigma(t) * x_t - schedule.alpha(s) * torch.expm1(-h) * x0_hat


def _step_size(x: Tensor, t: Tensor | float, s: Tensor | float, schedule: Schedule) -> tuple[Tensor, Tensor, Tensor]:
    """Return t and s shaped to multiply `x`, and h."""
    t, s = expand_time(t, x), expand_time(s, x)
    if x.device.type == "cpu" and not bool((s < t).all()):
        raise ValueError(f"s: expected times below t, got s up to {float(s.max()):g} with t down to {float(t.min()):g}")
    return t, s, (schedule.log_snr(s) - schedule.log_snr(t)) / 2


def ancestral_step(
    x_t: Tensor,
    x0_hat: Tensor,
    t: Tensor | float,
    s: Tensor | float,
    schedule: Schedule,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A draw of x_s ~ q(x_s | x_t, x_0 = x0_hat), for s < t.

    Its mean is e^-h (sigma_s / sigma_t) x_t - alpha_s expm1(-2h) x0_hat and its variance -expm1(-2h) sigma_s^2.

    Raises:
        ValueError: a time outside [0, 1], or `s` not below `t`.
    """
    t, s, h = _step_size(x_t, t, s, schedule)
    fresh = -torch.expm1(-2 * h)
    sigma_s = schedule.sigma(s)
    noise = torch.randn(x_t.shape, generator=generator, dtype=x_t.dtype, device=x_t.device)
    kept = (-h).exp() * sigma_s / schedule.sigma(t)
    return kept * x_t + schedule.alpha(s) * fresh * x0_hat + sigma_s * fresh.sqrt() * noise


def _walk(
    denoiser: Denoiser, x: Tensor, times: Tensor, levels: tuple[Tensor, Tensor], method: str, generator: torch.Generator | None
) -> Iterator[Step]:
    (alpha, sigma), schedule, modules = levels, denoiser.schedule, modules_of(denoiser)
    h = schedule.log_snr(times).diff() / 2
    kept, fresh = sigma[1:] / sigma[:-1], -alpha[1:] * torch.expm1(-h)
    x0_before, reached = None, times.tolist()
    yield Step(0, reached[0], x, None)
    for i, (t, s) in enumerate(itertools.pairwise(times)):
        with torch.no_grad():
            with evaluation_mode(modules):
                x0_hat = predict(denoiser, "x0", x, t)
            if reached[i + 1] == 0:
                x = x0_hat
            elif method == "sde":
                x = ancestral_step(x, x0_hat, t, s, schedule, generator=generator)
            else:
                ahead = x0_hat
                if method == "dpmpp2m" and x0_before is not None:
                    weight = h[i] / (2 * h[i - 1])
                    ahead = (1 + weight) * x0_hat - weight * x0_before
                x = kept[i] * x + fresh[i] * ahead
            x0_before = x0_hat
        yield Step(i + 1, reached[i + 1], x, x0_hat)


def sample(
    denoiser: Denoiser,
    shape: tuple[int, ...],
    *,
    steps: int = 25,
    method: str = "dpmpp2m",
    t_end: float = 1e-3,
    spacing: str = "log_snr",
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw samples of this shape in one call, with the settings and errors of `sampling_steps`; refuse what is not finite."""
    x = initial_noise(shape, generator=generator, dtype=dtype, device=device)
    for step in sampling_steps(denoiser, x, steps=steps, method=method, t_end=t_end, spacing=spacing, generator=generator):
        x = step.x
    return check_points(x, None, name="samples of this denoiser")
