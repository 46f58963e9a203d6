"""Stages of a QGPO run, for one seed or for several side by side, each with the random numbers it would draw alone."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cepkit.learning.loop import Stage, TrainingStep
from cepkit.learning.networks import Fit
from cepkit.rl.agent.agent_networks import make_networks
from cepkit.rl.agent.qgpo_config import QGPOConfig

Seeds = tuple[int, ...] | None


class Streams:
    """One random stream, or one for each member of a stack, whose draws get a leading axis.

    Args:
        seeds: a seed, or a tuple of them. A member of seed n draws what a single run of seed n draws.
    """

    def __init__(self, seeds: int | tuple[int, ...], device: torch.device) -> None:
        self.lead = (len(seeds),) if isinstance(seeds, tuple) else ()
        self.device = device
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in (seeds if self.lead else (seeds,))]

    def __call__(self, draw: Callable[..., Tensor], *arguments: object) -> Tensor:
        """Draw by torch.rand, randn or randint with its `arguments`, (*lead, *shape)."""
        return self._stacked([draw(*arguments, generator=g, device=self.device) for g in self._generators])

    def _stacked(self, values: list[Tensor]) -> Tensor:
        return torch.stack(values) if self.lead else values[0]

    def get_state(self) -> Tensor:
        """The states, (*lead, bytes)."""
        return self._stacked([g.get_state() for g in self._generators])

    def set_state(self, state: Tensor) -> None:
        """Restore the states that `get_state` returned."""
        for generator, mine in zip(self._generators, state if self.lead else [state], strict=True):
            generator.set_state(mine.clone())  # a view into the stack would not do


class AgentStage(Stage):
    """Base of the stages of an agent: a step takes each network down the gradient of its loss in `_losses`.

    Args:
        name: of the stage and of its random stream.
        steps: how many.
        config: everything else.
        seeds: None for one run of `config.seed`; a tuple trains that many runs together.
        device: of the data.
    """

    def __init__(
        self, name: str, steps: int, config: QGPOConfig, seeds: Seeds, device: torch.device, *, save_every: int | None = None
    ) -> None:
        hint = "Lower its learning rate, or look for extreme rewards or observations"
        super().__init__(name, steps, device, hint=hint, save_every=save_every)
        self.config = config
        self.initial = config.seed if seeds is None else seeds  # of the networks' first weights
        streams = config.stream(name) if seeds is None else tuple(config.with_seed(seed).stream(name) for seed in seeds)
        self.streams = Streams(streams, device)
        self.generators["stream"] = self.streams

    @property
    def members(self) -> tuple[int, ...]:
        """() for one run, (E,) for a stack."""
        return self.streams.lead

    def make_networks(self, sizes: tuple[int, int]) -> dict[str, nn.Module]:
        """Make the networks that the stage leaves, by name; `sizes` are those of a state and an action."""
        return make_networks(self.name, sizes, self.config, self.initial)

    def add(self, part: str, network: nn.Module, *, learning_rate: float, steps: int, ema: float) -> None:
        """Register a network with its optimiser."""
        constant = self.config.decay == "constant"
        self.fits[part] = Fit(
            network.to(self.device),
            learning_rate=learning_rate,
            steps=max(steps, 1),
            warmup=0 if constant else min(100, steps // 10),
            ema=ema,
            betas=(0.9, 0.999),
            constant=constant,
        )

    def _take(self) -> TrainingStep:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed_precision):
            losses = self._losses()
        count = math.prod(self.members)
        for part, loss in losses.items():
            # a loss is the mean over members, whose weights each want the gradient of their own
            self.fits[part].step(loss * count if count > 1 else loss)
        self.index += 1
        return TrainingStep(self.name, self.index, self.steps, {part: loss.detach() for part, loss in losses.items()})

    def _losses(self) -> dict[str, Tensor]:
        raise NotImplementedError


def rows(table: Tensor, index: Tensor, lead: tuple[int, ...]) -> Tensor:
    """table[index] for a table (rows, ...) shared by all members, or (*lead, rows, ...) with one for each."""
    if not lead:
        return table[index]
    member = torch.arange(lead[0], device=index.device).reshape(-1, *(1,) * (index.ndim - 1))
    return table[member, index]
