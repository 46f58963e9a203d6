"""Denoisers, which samplers call; each says which parametrisation it predicts.

A denoiser is any object with `schedule`, `parametrisation` ("eps", "score", "x0" or "v") and a call
``denoiser(x_t, t)`` of the shape of x_t. Guidance wraps a denoiser in a denoiser (`cepkit.diffusion.guidance.Guided`), so every
sampler works with every combination.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from cepkit.calling import call_field, check_callable, check_denoiser
from cepkit.diffusion.process import PARAMETRISATIONS, convert
from cepkit.diffusion.schedules import Schedule
from cepkit.validation import check_name


@runtime_checkable
class Denoiser(Protocol):
    """Predicts eps, score, x0 or v at x_t of shape (..., D) for a scalar `t` or one time per row."""

    @property
    def schedule(self) -> Schedule: ...

    @property
    def parametrisation(self) -> str: ...

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor: ...


@dataclass(frozen=True)
class FunctionDenoiser:
    """A denoiser made of any callable (x_t, t) -> tensor, such as a torch module, and the parametrisation that it predicts."""

    function: Callable[[Tensor, Tensor | float], Tensor]
    schedule: Schedule
    parametrisation: str

    def __post_init__(self) -> None:
        check_name(self.parametrisation, PARAMETRISATIONS, name="parametrisation")
        check_callable(self.function, "function")

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return call_field(self.function, "denoiser", x_t, t)


def predict(denoiser: Denoiser, target: str, x_t: Tensor, t: Tensor | float) -> Tensor:
    """The denoiser's prediction restated as "eps", "score", "x0" or "v", a tensor of its own in the dtype of `x_t`.

    Raises:
        ValueError: no denoiser, or one that returned something else than a tensor of the shape of `x_t`, or failed.
    """
    value = call_field(check_denoiser(denoiser), "denoiser", x_t, t)
    source = check_name(denoiser.parametrisation, PARAMETRISATIONS, name="denoiser.parametrisation")
    # a network may write its next answer over this one
    return value.clone() if source == target else convert(value, source, target, x_t, t, denoiser.schedule)
