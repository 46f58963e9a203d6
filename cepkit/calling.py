"""What a user hands in to be sampled with.

Callables are called with copies, and what they return is checked before anything is computed with it. Noise levels, sizes,
devices and generators are checked before the first call.
"""

import contextlib
import functools
import inspect
import math
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cepkit.validation import LARGEST_INTEGER, check_memory, check_number

_DEPTH = 7  # of references from a callable to a module
_LONG = 1000  # a list with more entries holds data


class FieldFault(NamedTuple):
    """One mistake of a returned value: its kind, what was expected and what came, in words."""

    kind: str  # "type", "dtype", "shape" or "device"
    expected: str
    came: str


def field_fault(value: object, x: Tensor, *, per_point: bool = False) -> FieldFault | None:
    """The mistake of a value returned at points x (..., D), or None for a real tensor of their shape and device.

    Args:
        per_point: one number for each point is expected, shape (...), as of an energy.
    """
    shape = x.shape[:-1] if per_point else x.shape
    expected = f"one energy per point, shape {tuple(shape)}" if per_point else f"a tensor of the shape of x_t {tuple(shape)}"
    if not isinstance(value, Tensor):
        return FieldFault("type", expected, type(value).__name__)
    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        layout = "quantised" if value.is_quantized else "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
        return FieldFault("type", f"{expected}, an ordinary one", f"a {layout} tensor")
    if value.shape != shape:
        return FieldFault("shape", expected, str(tuple(value.shape)))
    if not value.dtype.is_floating_point:
        return FieldFault("dtype", "real floating-point numbers", str(value.dtype))
    if value.device != x.device:
        return FieldFault("device", f"a tensor on {x.device}, as x_t is", f"one on {value.device}")
    return None


def check_field(value: object, x: Tensor, name: str, *, per_point: bool = False) -> Tensor:
    """Return a value at points x (..., D) in their dtype after checking it, see `field_fault`."""
    if (fault := field_fault(value, x, per_point=per_point)) is not None:
        raise ValueError(f"{name}: expected {fault.expected}, got {fault.came}")
    return value if value.dtype == x.dtype else value.to(x.dtype)


def check_callable(function: Callable, name: str, wanted: str = "(x_t, t) -> tensor") -> None:
    """Refuse what cannot be called."""
    if not callable(function):
        raise ValueError(f"{name}: expected a callable {wanted}, got {type(function).__name__}")


def check_denoiser(denoiser: Callable) -> Callable:
    """Return a denoiser after checking that it can be called and has a schedule and a parametrisation."""
    missing = [name for name in ("schedule", "parametrisation") if getattr(denoiser, name, None) is None]
    if missing or not callable(denoiser):
        came = type(denoiser).__name__ + (f" without {' and '.join(missing)}" if callable(denoiser) else "")
        raise ValueError(f"denoiser: expected one such as FunctionDenoiser(function, VPLinear(), 'eps'), got {came}")
    return denoiser


def call_field(function: Callable, name: str, x: Tensor, *time: Tensor | float, per_point: bool = False) -> Tensor:
    """Call a user's function (x_t, t), or (x_0), with copies that it may change, and check what it returns.

    The classes of this library leave their arguments alone and are called without copies.

    Raises:
        ValueError: it returned something else, or raised one of Python's own exceptions, which is then the cause. A ValueError of
            its own, an error of the operating system and every exception of another library pass as they are.
    """
    try:
        if type(function).__module__.startswith("cepkit."):
            value = function(x, *time)
        else:
            value = function(x.clone(), *(t.clone() if isinstance(t, Tensor) else t for t in time))
    except Exception as error:
        if isinstance(error, (ValueError, OSError, MemoryError)) or type(error).__module__ != "builtins":
            raise
        arguments, advice = "x_t, t" if time else "x", advice_for(function, x, error)
        raise ValueError(f"{name}: expected a callable ({arguments}) -> tensor, got {words_of(error)}{advice}") from error
    return check_field(value, x, name, per_point=per_point)


def check_preserving(alpha: Tensor, sigma: Tensor) -> None:
    """Refuse noise levels that are not variance preserving, or without signal, where no prediction of noise says what x_0 is."""
    if alpha.device.type != "cpu" or not alpha.numel():
        return
    low, high = torch.aminmax((alpha.square() + sigma.square()).detach())
    if not (float(low) > 0.999 and float(high) < 1.001 and float(alpha.detach().min()) > 0):
        right = (alpha > 0) & ((alpha.square() + sigma.square() - 1).abs() < 1e-3)
        first = int(right.flatten().int().argmin())
        came = " and ".join(
            f"{name}_t = {float(part.flatten()[first]):.4g}" for name, part in (("alpha", alpha), ("sigma", sigma))
        )
        raise ValueError(f"schedule: expected alpha_t > 0 and alpha_t^2 + sigma_t^2 = 1 at every t, got {came}")


def check_levels(schedule: object, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return a schedule's alpha and sigma at these times after checking that samplers can walk there."""
    if not all(callable(getattr(schedule, name, None)) for name in ("alpha", "sigma", "log_snr", "t_from_log_snr")):
        raise ValueError(f"schedule: expected a cepkit Schedule such as VPLinear(), got {type(schedule).__name__}")
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    check_preserving(alpha, sigma)
    return alpha, sigma


def check_generator(generator: torch.Generator | None, device: torch.device) -> None:
    """Refuse what is no generator, or one that draws on another kind of device."""
    if not isinstance(generator, torch.Generator | None):
        raise ValueError(f"generator: expected a torch.Generator or None, got {generator!r}")
    if generator is not None and generator.device.type != device.type:
        raise ValueError(f"generator: expected one on {device.type}, where the points are, got one on {generator.device}")


def check_draw(
    shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype, device: torch.device | str | None
) -> tuple[tuple[int, ...], torch.device]:
    """Return the sizes and the device of points to be drawn, the generator's device where none is given."""
    if not isinstance(shape, (tuple, list)) or len(shape) == 0:
        raise ValueError(f"shape: expected a tuple of sizes such as (2000, 2), got {shape!r}")
    shape = tuple(check_number(size, name="shape", low=0, high=LARGEST_INTEGER, integer=True) for size in shape)
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype: expected torch.float32 or torch.float64, got {dtype!r}")
    given = generator.device if device is None and isinstance(generator, torch.Generator) else device
    try:
        device = torch.empty(0, device=given).device
    except (RuntimeError, TypeError, AssertionError) as error:  # an unknown name, an unknown kind, or one that is not built in
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: expected a device of this machine such as 'cpu', got {given!r} ({reason})") from error
    check_generator(generator, device)
    if device.type == "cpu" and (size := math.prod(shape) * dtype.itemsize) > 1e8:
        check_memory(size, "shape")
    return shape, device


def words_of(error: BaseException) -> str:
    """The type of an exception and the first line of its message, even if its message cannot be printed."""
    return "".join(traceback.format_exception_only(error)).splitlines()[0][:200]


def advice_for(function: Callable, x_t: Tensor, error: Exception) -> str:
    """What to do about an exception of a user's function, as the end of a sentence; empty if nothing is known."""
    if isinstance(error, RuntimeError) and not torch.is_grad_enabled() and "does not require grad" in words_of(error):
        return "; samplers call it with gradients off, so it needs `with torch.enable_grad():` inside"
    for parameter in (p for module in modules_of(function) for p in module.parameters()):
        if parameter.dtype != x_t.dtype or parameter.device != x_t.device:
            own, given = (f"{tensor.dtype} on {tensor.device}" for tensor in (parameter, x_t))
            return f"; its weights are {own} and x_t is {given} (cepkit.debugger.from_module follows the dtype of a network)"
    return ""


def modules_of(function: object) -> list[nn.Module]:
    """The torch modules that a callable is or uses, each followed by its parts.

    They are looked for in attributes, lists, mappings, the owner of a method, partials, closures, default arguments and globals.
    """
    found, seen, layer = {}, {}, [function]
    for _ in range(_DEPTH):
        layer = [item for item in layer if id(item) not in seen]
        seen |= {id(item): item for item in layer}  # kept alive, so that no other takes its id
        found |= {id(part): part for item in layer if isinstance(item, nn.Module) for part in item.modules()}
        layer = [item for owner in layer if not isinstance(owner, nn.Module | Tensor | type) for item in _held(owner)]
    return list(found.values())


def _held(owner: object) -> list[object]:
    """The objects that this one refers to, where a torch module may be among them."""
    if isinstance(owner, list | tuple | set | frozenset):
        return list(owner) if len(owner) <= _LONG else []
    if isinstance(owner, dict):
        return list(owner.values()) if len(owner) <= _LONG else []
    if inspect.ismethod(owner):
        return [owner.__self__, owner.__func__]
    if inspect.ismodule(owner) or str(getattr(owner, "__module__", "")).split(".")[0] == "torch":
        return []
    held = list(getattr(owner, "__dict__", {}).values())
    if isinstance(owner, functools.partial):
        held += [owner.func, *owner.args, *owner.keywords.values()]
    elif inspect.isfunction(owner):
        held += [*(owner.__defaults__ or ()), *(owner.__kwdefaults__ or {}).values()]
        for cell in owner.__closure__ or ():
            with contextlib.suppress(ValueError):  # a variable that has no value yet
                held.append(cell.cell_contents)
        held += [owner.__globals__[name] for name in _names(owner.__code__) if name in owner.__globals__]
    return held


def _names(code: CodeType) -> set[str]:
    """The names in a function's code and in the functions that it defines."""
    return set(code.co_names).union(*(_names(inner) for inner in code.co_consts if inspect.iscode(inner)))


@contextlib.contextmanager
def evaluation_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put these modules, but not their parts, in evaluation mode on the way in, and back in the mode they had on the way out."""
    training = [module for module in modules if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Compute on one CPU thread, where `wanted`: for small tensors more are no faster, and far slower on a busy machine."""
    threads = torch.get_num_threads()
    if not wanted or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
