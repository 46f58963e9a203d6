"""Random numbers for one run, or for several runs side by side that each keep the stream they would have alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Streams:
    """One random stream, or one for each member of an ensemble, whose draws get a leading axis.

    Args:
        seeds: a seed, or a tuple of them. A member of seed n draws what a single run of seed n draws.
    """

    def __init__(self, seeds: int | tuple[int, ...], device: torch.device | str) -> None:
        self.lead = (len(seeds),) if isinstance(seeds, tuple) else ()
        self.device = torch.device(device)
        every = seeds if isinstance(seeds, tuple) else (seeds,)
        self._generators = [torch.Generator(self.device).manual_seed(seed) for seed in every]

    def _draw(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        if not self.lead:
            return draw(self._generators[0])
        return torch.stack([draw(generator) for generator in self._generators])

    def randint(self, high: int, shape: tuple[int, ...]) -> Tensor:
        """Whole numbers in [0, high), (*lead, *shape)."""
        return self._draw(lambda g: torch.randint(high, shape, generator=g, device=self.device))

    def rand(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform in [0, 1), (*lead, *shape)."""
        return self._draw(lambda g: torch.rand(shape, generator=g, device=self.device))

    def randn(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal, (*lead, *shape)."""
        return self._draw(lambda g: torch.randn(shape, generator=g, device=self.device))

    def get_state(self) -> Tensor:
        """The states, (*lead, bytes)."""
        states = [generator.get_state() for generator in self._generators]
        return torch.stack(states) if self.lead else states[0]

    def set_state(self, state: Tensor) -> None:
        """Take up what `get_state` gave."""
        for generator, own in zip(self._generators, state if self.lead else [state], strict=True):
            generator.set_state(own.clone())  # a view into the stack would not do
