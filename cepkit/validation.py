"""Checks at the public boundary: each failure is a `ValueError` that names the argument, what was expected and what came."""

import difflib
import importlib
import math
from collections.abc import Iterable
from types import ModuleType

import numpy as np
import psutil
import torch
from torch import Tensor

LARGEST_INTEGER = 2**53  # what JSON and a float hold exactly


def check_time(t: Tensor | float, *, name: str = "t") -> Tensor:
    """Return `t` as a tensor after checking that every entry lies in [0, 1].

    A Python number becomes a 0-dim float64 tensor, which mixes with any dtype and device without promoting it. Values on an
    accelerator are not read back (that would stall the device); their shape is still checked by the callers.
    """
    if not isinstance(t, Tensor):
        try:
            t = torch.as_tensor(t, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{name}: expected a number or tensor in [0, 1], got {t!r}") from error
    if not t.is_floating_point():
        t = t.to(torch.float64)
    if t.device.type == "cpu" and t.numel():
        values = t.detach()
        low, high = (float(values.min()), float(values.max())) if t.ndim else (float(values),) * 2
        if not (low >= 0.0 and high <= 1.0):
            raise ValueError(f"{name}: expected times in [0, 1] (0 is data, 1 is noise), got values from {low} to {high}")
    return t


def check_points(x: Tensor, dim: int | None, *, name: str = "x_t") -> Tensor:
    """Return `x` after checking that it is a finite float32 or float64 tensor of shape (..., dim)."""
    if not isinstance(x, Tensor):
        raise ValueError(f"{name}: expected a torch.Tensor of shape (..., {dim or 'D'}), got {type(x).__name__}")
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name}: expected float32 or float64, got {x.dtype}")
    if x.ndim == 0 or (dim is not None and x.shape[-1] != dim):
        raise ValueError(f"{name}: expected shape (..., {dim or 'D'}), got {tuple(x.shape)}")
    if x.device.type == "cpu" and not bool(torch.isfinite(x.detach()).all()):
        count = int((~torch.isfinite(x.detach())).sum())
        raise ValueError(f"{name}: expected finite values, got {count} NaN or infinite of {x.numel()}")
    return x


def one_per_point(energy: Tensor, x: Tensor, name: str) -> Tensor:
    """Return `energy` after checking that it holds one number for each point of `x`."""
    if not isinstance(energy, Tensor) or energy.shape != x.shape[:-1]:
        got = tuple(energy.shape) if isinstance(energy, Tensor) else type(energy).__name__
        raise ValueError(f"{name}: expected one energy per point, shape {tuple(x.shape[:-1])}, got {got}")
    return energy


def check_time_shape(t: Tensor, batch: torch.Size, *, name: str = "t") -> Tensor:
    """Return `t` after checking that it is a scalar or has exactly the shape `batch`."""
    if t.ndim and t.shape != batch:
        raise ValueError(f"{name}: expected a scalar or shape {tuple(batch)}, one time per row, got {tuple(t.shape)}")
    return t


def as_float64(value: object, name: str) -> Tensor:
    """A float64 copy of a tensor or of anything NumPy reads as real numbers."""
    try:
        array = value if isinstance(value, Tensor) else np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected a rectangular array of numbers, got a ragged {type(value).__name__}") from error
    if array.is_complex() if isinstance(array, Tensor) else array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, got {type(value).__name__} of {array.dtype}")
    if isinstance(array, Tensor):
        return array.detach().to(dtype=torch.float64, copy=True)
    return torch.from_numpy(np.array(array, dtype=np.float64))


def check_number(value: float, *, name: str, low: float = -math.inf, high: float = math.inf, integer: bool = False) -> float:
    """Return `value` as a finite float (or int) after checking that it lies in [low, high]."""
    wanted = "an integer" if integer else "a finite number"
    if math.isfinite(high):
        wanted += f" in [{low:g}, {high:g}]"
    elif math.isfinite(low):
        wanted += f" of at least {low:g}"
    try:
        if isinstance(value, (str, bytes, bool, np.bool_)):
            raise TypeError
        number = float(value)
        if integer and isinstance(value, (int, np.integer)):
            number = int(value)  # a float loses digits beyond 2^53
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name}: expected {wanted}, got {value!r}") from error
    if not math.isfinite(number) or not low <= number <= high or (integer and number != int(number)):
        raise ValueError(f"{name}: expected {wanted}, got {value!r}")
    return int(number) if integer else number


def check_beta(beta: float) -> float:
    """Return the inverse temperature as a finite float of at least 0."""
    return check_number(beta, name="beta", low=0.0)


def check_name(value: str, known: Iterable[str], *, name: str) -> str:
    """Return `value` if it is one of `known`; the error lists them and the nearest one."""
    known = list(known)
    if value in known:
        return value
    near = difflib.get_close_matches(str(value), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}{hint}")


def check_memory(size: float, name: str) -> None:
    """Refuse what needs more than the memory that is free, with both numbers; `size` is in bytes."""
    free = psutil.virtual_memory().available
    if size > free:
        found = f"{size / 1e9:,.1f} GB" if size < 1e15 else f"{size / 1e9:.1e} GB"
        raise ValueError(f"{name}: expected at most the {free / 1e9:,.1f} GB of memory that are free here, got {found}")


def import_extra(module: str) -> ModuleType:
    """Import an optional module of the extra `rl`.

    Raises:
        ValueError: it does not import; the message says why, and how to add it.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # not only when it is absent: MuJoCo raises others where MUJOCO_GL does not fit the machine
        package, why = module.split(".")[0].replace("_", "-"), f"{type(error).__name__}: {error}"
        raise ValueError(
            f"this needs the package {package}, which does not import ({why}); add it with: pip install -e '.[rl]'"
        ) from error
