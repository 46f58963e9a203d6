"""Checks of the arguments of the debugger."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger.adapters import modules_of
from cepkit.debugger.slices import Slice
from cepkit.truth.exact import Mixture
from cepkit.validation import check_beta, check_number, check_points


def check_times(times: Iterable[float]) -> tuple[float, ...]:
    if not isinstance(times, Iterable) or not (values := list(times)):
        raise ValueError(f"times: expected at least one noise level in (0, 1], got {times!r}")
    return tuple(sorted({check_number(t, name="times", low=1e-4, high=1.0) for t in values}))


def check_truth(truth: object, beta: object, plane: Slice) -> tuple[Mixture | None, float]:
    """The truth and its inverse temperature, 0 without one."""
    if truth is None:
        return None, 0.0 if beta is None else check_beta(beta)
    if not isinstance(truth, Mixture):
        raise ValueError(f"truth: expected a cepkit.truth.exact.Mixture, got {type(truth).__name__}")
    if truth.dim != plane.dim:
        raise ValueError(f"truth: expected the {plane.dim} dimensions of the slice, got {truth.dim}; give slice=...")
    if beta is None:
        raise ValueError("beta: expected the inverse temperature of the truth's target, a number of at least 0, got None")
    return truth, check_beta(beta)


def check_support(support: object, plane: Slice) -> Tensor | None:
    if support is None:
        return None
    if not isinstance(support, (Tensor, np.ndarray)):
        raise ValueError(f"support: expected points of shape (m, {plane.dim}), got {type(support).__name__}")
    points = check_points(torch.as_tensor(support), plane.dim, name="support")
    if points.ndim != 2 or len(points) < 16:
        raise ValueError(f"support: expected at least 16 points, shape (m, {plane.dim}), got {tuple(points.shape)}")
    return points.detach()


def device_and_dtype(
    device: torch.device | str | None, support: Tensor | None, callables: Iterable[object]
) -> tuple[torch.device, torch.dtype]:
    parameters = (p for function in callables for module in modules_of(function) for p in module.parameters())
    example = next(parameters, torch.empty(0)) if support is None else support
    device = example.device if device is None else torch.device(device)
    return device, torch.promote_types(example.dtype, torch.float32)
