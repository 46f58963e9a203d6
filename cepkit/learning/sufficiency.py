"""Whether a training sufficed: its guidance beside the exact mean energy, an approximation that it is to improve on.

In many dimensions points lie far apart, as islands when there is little noise. The exact guidance then changes from island to
island, and a network draws a smooth slope through all of them, however long it is trained.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from cepkit.diffusion.guidance import LearnedGuidance
from cepkit.truth.exact import Mixture
from cepkit.truth.metrics import ErrorProbe

Truth = Mixture | None
_NEAR = 0.05  # an error below this passes, whatever the mean energy's
_SURE = 3  # dimensions in which a few hundred points sufficed
_PLACES, _VALUES = 512, 10**8  # where to look at each time; at fewer places where the truth has many values


def shortfall(times: Sequence[float], errors: Sequence[float], mean_energy: Sequence[float]) -> str:
    """Say where a learned guidance is further from the exact one than the mean energy is, or than none; empty if nowhere.

    Args:
        times: noise levels, rising.
        errors, mean_energy: of the learned guidance and of the exact mean energy at each, as an `ErrorProbe` measures them.
    """
    rows = list(zip(times, errors, mean_energy, strict=True))
    short = [row for row in rows if not row[1] <= max(min(row[2], 1), _NEAR)]
    if not short:
        return ""
    where = f"t <= {short[-1][0]:g}" if short == rows[: len(short)] else "t = " + ", ".join(f"{t:g}" for t, _, _ in short)
    amounts = ", ".join(f"{error:.2g} at t = {t:g} (mean energy: {least:.2g})" for t, error, least in short)
    return (
        f"at {where} the learned guidance is worse than the exact mean energy or than no guidance: its error is {amounts}; 0 is "
        "exact and 1 is as bad as none. Points that lie closer together, more blur of each (std) or more steps may help. "
        "ExactGuidance(truth, beta, schedule) needs no training"
    )


def judge(guidance: LearnedGuidance, x: Tensor, beta: float, truth: Truth) -> None:
    """Warn where a guidance learned from points (n, D) falls short or, in many dimensions, that without a truth nobody knows."""
    dim, said = x.shape[1], ""
    if truth is not None:
        n = min(_PLACES, max(32, _VALUES // (truth.components().count * dim)))
        generator = torch.Generator(x.device).manual_seed(0)
        probe = ErrorProbe(truth, beta, guidance.schedule, n=n, generator=generator)
        said = shortfall(probe.times, probe(guidance).tolist(), probe.mean_energy.tolist())
    elif dim > _SURE:
        said = f"in {dim} dimensions the learned guidance may be worse than none at small t; truth=toy.truth lets it be measured"
    if said:
        warnings.warn(said, stacklevel=3)
