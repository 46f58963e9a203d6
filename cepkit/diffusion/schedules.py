"""Noise schedules: how much signal and how much noise at each time.

A variance-preserving diffusion writes ``x_t = alpha_t x_0 + sigma_t eps`` with
``alpha_t^2 + sigma_t^2 = 1``; t = 0 is data, t = 1 is (almost) pure noise.

- VP-linear (Song et al. 2021, arXiv 2011.13456, the schedule of the CEP paper):
  ``log alpha_t = -(beta_max - beta_min) t^2 / 4 - beta_min t / 2``
- VP-cosine (Nichol & Dhariwal 2021, arXiv 2102.09672): ``alpha_t = cos(theta_t) / cos(theta_0)``

``log_snr = 2 log(alpha_t / sigma_t)`` falls strictly from data to noise, so it can be inverted.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from cepkit.validation import check_number, check_time

# theta_0 and theta_1 - theta_0 of the cosine schedule
_START, _WHOLE_TURN = math.pi / 2 * 0.008 / 1.008, math.pi / 2 * 0.9946 / 1.008


class Schedule(ABC):
    """A variance-preserving noise schedule. Times and results have the same shape and dtype."""

    @abstractmethod
    def log_alpha(self, t: Tensor | float) -> Tensor:
        """log alpha_t, at most 0."""

    @abstractmethod
    def sigma_squared(self, t: Tensor | float) -> Tensor:
        """sigma_t^2 = 1 - alpha_t^2, computed without cancellation at small t."""

    @abstractmethod
    def t_from_log_snr(self, log_snr: Tensor | float) -> Tensor:
        """The time at which the log signal-to-noise ratio has this value.

        Raises:
            ValueError: a value below the schedule's at t = 1, or not a number.
        """

    def alpha(self, t: Tensor | float) -> Tensor:
        """Signal coefficient alpha_t in (0, 1]."""
        return self.log_alpha(t).exp()

    def sigma(self, t: Tensor | float) -> Tensor:
        """Noise standard deviation sigma_t in [0, 1)."""
        return self.sigma_squared(t).sqrt()

    def log_snr(self, t: Tensor | float) -> Tensor:
        """2 log(alpha_t / sigma_t); +inf at t = 0."""
        return 2 * self.log_alpha(t) - self.sigma_squared(t).log()

    def _reachable(self, log_snr: Tensor | float) -> Tensor:
        """Return `log_snr` as a tensor (float64 from a Python number) after checking that some t in [0, 1] has it."""
        if not isinstance(log_snr, Tensor) or not log_snr.is_floating_point():
            log_snr = torch.as_tensor(log_snr, dtype=torch.float64)
        if log_snr.device.type == "cpu" and log_snr.numel():
            least = float(self.log_snr(1.0))
            lowest = float(log_snr.detach().min())
            if not lowest >= least - 1e-5 * abs(least):
                raise ValueError(f"log_snr: expected at least {least:.6g}, its value at t = 1, got {lowest:g}")
        return log_snr


@dataclass(frozen=True)
class VPLinear(Schedule):
    """VP-linear schedule; `beta_min` and `beta_max` are noise rates, not inverse temperatures."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        check_number(self.beta_min, name="beta_min", low=1e-8)
        if not check_number(self.beta_max, name="beta_max") > self.beta_min:
            raise ValueError(f"beta_max: expected more than beta_min = {self.beta_min}, got {self.beta_max}")

    def log_alpha(self, t: Tensor | float) -> Tensor:
        t = check_time(t)
        return -t * ((self.beta_max - self.beta_min) * t / 4 + self.beta_min / 2)

    def sigma_squared(self, t: Tensor | float) -> Tensor:
        return -torch.expm1(2 * self.log_alpha(t))

    def t_from_log_snr(self, log_snr: Tensor | float) -> Tensor:
        minus_two_log_alpha = softplus(-self._reachable(log_snr), threshold=50.0)
        slope = self.beta_max - self.beta_min
        root = (self.beta_min**2 + 2 * slope * minus_two_log_alpha).sqrt()
        return 2 * minus_two_log_alpha / (self.beta_min + root)


@dataclass(frozen=True)
class VPCosine(Schedule):
    """VP-cosine schedule.

    Nichol & Dhariwal's curve reaches alpha = 0 at its end, where log_snr is not finite; time is therefore mapped to
    [0, 0.9946] of it, with DPM-Solver's value (Lu et al. 2022).
    """

    def log_alpha(self, t: Tensor | float) -> Tensor:
        return (self._turn(t) + _START).cos().log() - math.log(math.cos(_START))

    def sigma_squared(self, t: Tensor | float) -> Tensor:
        turn = self._turn(t)
        return turn.sin() * (turn + 2 * _START).sin() / math.cos(_START) ** 2

    def t_from_log_snr(self, log_snr: Tensor | float) -> Tensor:
        log_snr = self._reachable(log_snr)
        alpha_squared, sigma_squared = torch.sigmoid(log_snr), torch.sigmoid(-log_snr)
        sine = (sigma_squared + alpha_squared * math.sin(_START) ** 2).sqrt()
        cosine = alpha_squared.sqrt() * math.cos(_START)
        return (torch.atan2(sine, cosine) - _START) / _WHOLE_TURN

    def _turn(self, t: Tensor | float) -> Tensor:
        """theta_t - theta_0."""
        return _WHOLE_TURN * check_time(t)
