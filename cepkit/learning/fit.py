"""One network being fitted: its optimiser, learning-rate schedule and moving average."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


class Fit:
    """A network, its Adam optimiser (Kingma & Ba 2015), and the exponential moving average that is kept.

    Everything that a resumed fit needs is in `tensors()`; the learning rate is a function of the step alone.

    Args:
        network: changed in place by `step`.
        learning_rate: the highest; rises linearly over `warmup` steps, falls to 0 along a cosine at `steps`.
        ema: decay of the average; early on it averages over about a tenth of the steps taken.
        betas: of Adam.
        constant: keep the highest learning rate after the rise, and the decay of the average from the first step.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        learning_rate: float,
        steps: int,
        warmup: int,
        ema: float,
        betas: tuple[float, float] = (0.9, 0.99),
        constant: bool = False,
    ) -> None:
        self.network = network
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.index = 0
        self._peak, self._steps, self._warmup, self._decay, self._constant = learning_rate, steps, warmup, ema, constant
        self._parameters = dict(network.named_parameters())
        fused = all(p.device.type in ("cpu", "cuda") for p in self._parameters.values())
        self._adam = torch.optim.Adam(self._parameters.values(), lr=learning_rate, betas=betas, fused=fused)
        for parameter in self._parameters.values():  # what Adam would do at its first step; so a state can always be saved
            counter = torch.zeros((), device=parameter.device if fused else "cpu")  # torch counts on the device only when fused
            zeros = torch.zeros_like(parameter)
            self._adam.state[parameter] = {"step": counter, "exp_avg": zeros, "exp_avg_sq": zeros.clone()}

    def learning_rate(self, index: int) -> float:
        """Of step `index`, counted from 0."""
        rise = min(1.0, (index + 1) / (self._warmup + 1))
        if self._constant:
            return self._peak * rise
        return self._peak * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, index / self._steps)))

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of `loss`, and the average follows."""
        for group in self._adam.param_groups:
            group["lr"] = self.learning_rate(self.index)
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        self._adam.step()
        self.index += 1
        decay = self._decay if self._constant else min(self._decay, self.index / (self.index + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self._parameters.values()), 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, their average, and the optimiser's moments, by name."""
        found = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        found |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for name, parameter in self._parameters.items():
            found |= {f"adam.{name}.{part}": value for part, value in self._adam.state[parameter].items()}
        return found

    def load_tensors(self, tensors: dict[str, Tensor], index: int) -> None:
        """Take up what `tensors()` gave after `index` steps."""
        for prefix, module in (("network.", self.network), ("average.", self.average)):
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        for name, parameter in self._parameters.items():
            for part, value in self._adam.state[parameter].items():
                value.copy_(tensors[f"adam.{name}.{part}"])
        self.index = index
