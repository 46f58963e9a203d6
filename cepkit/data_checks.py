"""Whether points suit noise of variance 1, and energies suit a beta: what does not is refused, or said in words."""

import math
import warnings

import torch
from torch import Tensor

_LARGE, _NARROW = 20.0, 0.05  # root mean square of a column that noise at t = 1 covers, and the spread that the least resolves
_DIGITS = 0.01  # steps of the energies, in units of their spread
_ENOUGH, _SHARE = 50, 0.25  # effective points, or this share of fewer than 200
_WAY_OUT = "cepkit.from_points(x, energy) scales them and leads back"


def check_suitable(x: Tensor, energy: Tensor, beta: float) -> None:
    """Check points (n, D) and energies (n,) before training on them.

    Warns of a column too narrow for the noise, of energies whose dtype has rounded away how they differ, and of a beta that
    leaves too few points.

    Raises:
        ValueError: a column too large for the noise.
    """
    large, narrow = off_scale(x)
    if large:
        raise ValueError(f"x: expected points of about unit scale, got {large}; {_WAY_OUT}")
    energy = energy.detach()
    step, spread = float(energy.abs().max()) * torch.finfo(energy.dtype).eps, float(energy.double().std(correction=0))
    rounded = (
        f"energy: {energy.dtype} keeps steps of {step:.2g} of energies that differ by {spread:.2g}; pass float64, or subtract a "
        "constant first, which changes nothing"
    )
    texts = (narrow and f"x: {narrow}; {_WAY_OUT}", rounded if step > _DIGITS * spread > 0 else "", few_points(energy, beta))
    for text in filter(None, texts):
        warnings.warn(text, stacklevel=3)


def off_scale(x: Tensor, blur: float = 0.0) -> tuple[str, str]:
    """In words, the column of points (n, D), each blurred, that is too large for noise of variance 1, and the one too narrow."""
    x = x.detach().double()
    size, spread = (x.square().mean(0) + blur**2).sqrt(), x.std(0, correction=0)
    moving = spread > 1e-6 * x.abs().amax(0)  # a column that is constant, but for rounding, may stay
    wide = torch.where(moving, (spread**2 + blur**2).sqrt(), math.inf)
    i, j = int(size.argmax()), int(wide.argmin())
    large = f"a root mean square of {size[i]:.3g} in column {i}, which the noise at t = 1 does not cover"
    narrow = f"a spread of {wide[j]:.3g} in column {j}, which the least noise hides"
    return large if size[i] > _LARGE else "", narrow if wide[j] < _NARROW else ""


def effective_sample_size(log_weight: Tensor) -> Tensor:
    """(sum w)^2 / sum w^2 over the last axis: how many equally weighted samples the weights exp(log_weight) are worth."""
    weight = torch.softmax(log_weight, -1)
    return 1 / weight.square().sum(-1)


def few_points(energy: Tensor, beta: float, log_weight: Tensor | float = 0.0) -> str:
    """In words, that exp(-beta E) leaves too few of many points to learn from, and a beta that leaves more; else empty.

    Args:
        energy: (n,).
        log_weight: of the points before, (n,) or equal.
    """

    def left(beta: float) -> float:
        return float(effective_sample_size(log_weight - beta * (energy - energy.amin()).double()))

    low, high, found, all_points = 0.0, beta, left(beta), left(0.0)
    enough = min(_ENOUGH, _SHARE * all_points)
    if found >= enough or all_points < _ENOUGH:
        return ""
    for _ in range(60):
        low, high = ((low + high) / 2, high) if left((low + high) / 2) >= enough else (low, (low + high) / 2)
    return (
        f"beta = {beta:g} leaves weight to about {found:.2g} of {len(energy):,} points, too few to learn from: "
        f"the target is hardly more than these. beta = {0.95 * low:.2g} would leave {enough:.0f} or more"
    )
