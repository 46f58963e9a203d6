"""The forward process ``x_t = alpha_t x_0 + sigma_t eps`` and four ways to state the same prediction.

A denoiser may predict the noise ``eps``, the ``score`` = grad log q_t(x_t), the clean point ``x0`` or
the velocity ``v = alpha_t eps - sigma_t x_0``. Any two of them differ by the linear relations below;
this module holds the only copy of each.

    score = -eps / sigma_t          x0 = (x_t - sigma_t eps) / alpha_t          eps = alpha_t v + sigma_t x_t
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cepkit.calling import check_generator, check_preserving
from cepkit.diffusion.schedules import Schedule
from cepkit.validation import check_name, check_points, check_time, check_time_shape

PARAMETRISATIONS = ("eps", "score", "x0", "v")


class Perturbed(NamedTuple):
    """A noised point and the noise that made it, both of the shape of x_0."""

    x_t: Tensor
    eps: Tensor


def expand_time(t: Tensor | float, x: Tensor) -> Tensor:
    """Reshape `t` (a scalar, or one time per leading index of `x`) so that it multiplies `x`."""
    t = check_time(t)
    if t.ndim:
        check_time_shape(t, x.shape[: t.ndim] if t.ndim < x.ndim else x.shape[:-1])
        t = t.reshape(t.shape + (1,) * (x.ndim - t.ndim))
    return t.to(dtype=x.dtype, device=x.device) if t.ndim else t


def perturb(
    x0: Tensor, t: Tensor | float, schedule: Schedule, *, noise: Tensor | None = None, generator: torch.Generator | None = None
) -> Perturbed:
    """Draw x_t ~ q(x_t | x_0).

    Args:
        x0: clean points, shape (..., D).
        t: scalar, or one time per leading index of `x0`.
        noise: the eps to use, of the shape of `x0`; drawn from `generator` when absent.

    Raises:
        ValueError: `x0` is not a finite float tensor, `noise` has another shape, or `t` is outside [0, 1].
    """
    check_points(x0, None, name="x0")
    check_generator(generator, x0.device)
    if noise is None:
        noise = torch.randn(x0.shape, dtype=x0.dtype, device=x0.device, generator=generator)
    elif noise.shape != x0.shape:
        raise ValueError(f"noise: expected the shape of x0 {tuple(x0.shape)}, got {tuple(noise.shape)}")
    t = expand_time(t, x0)
    return Perturbed(schedule.alpha(t) * x0 + schedule.sigma(t) * noise, noise)


def score_from_eps(eps: Tensor, sigma_t: Tensor) -> Tensor:
    """score = -eps / sigma_t."""
    return -eps / sigma_t


def eps_from_score(score: Tensor, sigma_t: Tensor) -> Tensor:
    """eps = -sigma_t score."""
    return -sigma_t * score


def x0_from_eps(eps: Tensor, x_t: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
    """x0 = (x_t - sigma_t eps) / alpha_t, Tweedie's formula when eps is the posterior mean."""
    return (x_t - sigma_t * eps) / alpha_t


def eps_from_x0(x0: Tensor, x_t: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
    """eps = (x_t - alpha_t x0) / sigma_t."""
    return (x_t - alpha_t * x0) / sigma_t


def convert(value: Tensor, source: str, target: str, x_t: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
    """Restate a prediction in another parametrisation.

    Args:
        value: the prediction at `x_t`, of its shape.
        source, target: two of "eps", "score", "x0", "v".

    Raises:
        ValueError: an unknown parametrisation, a prediction of another shape, or "v" where alpha_t^2 + sigma_t^2 is not 1.
    """
    if value.shape != x_t.shape:
        raise ValueError(f"value: expected the shape of x_t {tuple(x_t.shape)}, got {tuple(value.shape)}")
    check_name(source, PARAMETRISATIONS, name="source")
    check_name(target, PARAMETRISATIONS, name="target")
    if source == target:
        return value
    t = expand_time(t, x_t)
    alpha_t, sigma_t = schedule.alpha(t), schedule.sigma(t)
    if "v" in (source, target):
        check_preserving(alpha_t, sigma_t)
    if source == "score":
        eps = eps_from_score(value, sigma_t)
    elif source == "x0":
        eps = eps_from_x0(value, x_t, alpha_t, sigma_t)
    elif source == "v":
        eps = alpha_t * value + sigma_t * x_t
    else:
        eps = value
    if target == "score":
        return score_from_eps(eps, sigma_t)
    if target == "x0":
        return x0_from_eps(eps, x_t, alpha_t, sigma_t)
    if target == "v":
        return (eps - sigma_t * x_t) / alpha_t
    return eps
