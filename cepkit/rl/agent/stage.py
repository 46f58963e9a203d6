"""A stage of a run: an iterable of named steps that can be watched, stopped, saved and taken up again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cepkit.learning.fit import Fit
from cepkit.learning.loop import CHECK_EVERY, NARROW, NonFiniteLoss, one_thread
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.agent.streams import Streams

Seeds = tuple[int, ...] | None


@dataclass(frozen=True)
class StageStep:
    """What one step did.

    Attributes:
        stage: its name.
        index: steps of the stage taken so far, 1 after the first.
        steps: how many there are.
        losses: 0-dim tensors on the training device by name, the mean over the members of an ensemble.
    """

    stage: str
    index: int
    steps: int
    losses: dict[str, Tensor]


class Stage:
    """What the stages share. A stage computes its losses in `_losses` and `Stage` steps the networks.

    Args:
        name: of the stage and of its random stream.
        steps: how many.
        config: everything else.
        seeds: None for one run of `config.seed`; a tuple trains that many runs together, each with its own random stream.
        device: of the data.
    """

    def __init__(self, name: str, steps: int, config: QGPOConfig, seeds: Seeds, device: torch.device) -> None:
        self.name, self.steps, self.config, self.seeds, self.device = name, steps, config, seeds, device
        self.index = 0
        own = config.stream(name) if seeds is None else tuple(config.with_seed(seed).stream(name) for seed in seeds)
        self.streams = Streams(own, device)
        self.fits: dict[str, Fit] = {}
        self._recent: list[tuple[int, str, Tensor]] = []

    @property
    def members(self) -> tuple[int, ...]:
        """() for one run, (E,) for an ensemble."""
        return self.streams.lead

    @property
    def initial(self) -> int | tuple[int, ...]:
        """The seeds of the networks' first weights."""
        return self.config.seed if self.seeds is None else self.seeds

    @property
    def finished(self) -> bool:
        return self.index >= self.steps

    def add(self, part: str, network: nn.Module, *, learning_rate: float, steps: int, ema: float) -> Fit:
        """Enter a network to be trained."""
        constant = self.config.decay == "constant"
        warmup = 0 if constant else min(100, steps // 10)
        fit = Fit(
            network.to(self.device),
            learning_rate=learning_rate,
            steps=max(steps, 1),
            warmup=warmup,
            ema=ema,
            betas=(0.9, 0.999),
            constant=constant,
        )
        if self.config.compile:
            for each in (network, fit.average):
                each.trunk = torch.compile(each.trunk)
        self.fits[part] = fit
        return fit

    def __iter__(self) -> Iterator[StageStep]:
        """Go on to the last step, yielding each; iterating again after stopping early goes on from there.

        Raises:
            NonFiniteLoss: a loss or weight is NaN or infinite.
        """
        narrow = max((p.shape[-1] for fit in self.fits.values() for p in fit.network.parameters()), default=0) <= 2 * NARROW
        while not self.finished:
            with one_thread(self.device.type == "cpu" and narrow):
                losses = self._take()
            self.index += 1
            self._recent += [(self.index, part, loss) for part, loss in losses.items()]
            if self.index % CHECK_EVERY == 0 or self.finished:
                self.check_finite()
            yield StageStep(self.name, self.index, self.steps, losses)

    def _take(self) -> dict[str, Tensor]:
        """One step: each network down the gradient of its loss."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed_precision):
            losses = self._losses()
        count = math.prod(self.members)
        for part, loss in losses.items():
            # a loss is the mean over members, whose weights each want the gradient of their own
            self.fits[part].step(loss * count if count > 1 else loss)
        return {part: loss.detach() for part, loss in losses.items()}

    def _losses(self) -> dict[str, Tensor]:
        raise NotImplementedError

    def check_finite(self) -> None:
        """Raise `NonFiniteLoss` if a loss since the last look is NaN or infinite."""
        recent, self._recent = self._recent, []
        values = torch.stack([loss.float() for _, _, loss in recent]).tolist() if recent else []
        for (index, part, _), value in zip(recent, values, strict=True):
            if not math.isfinite(value):
                raise NonFiniteLoss(
                    f"{self.name} stage stopped at step {index}: the {part} loss is {value}. Lower its learning rate, or look "
                    "for extreme rewards or observations"
                )

    def tensors(self) -> dict[str, Tensor]:
        """All that is needed to go on: weights, averages, optimisers and the random stream, by name."""
        self.check_finite()
        found: dict[str, Tensor] = {}
        for part, fit in self.fits.items():
            if not bool(torch.stack([weight.isfinite().all() for weight in fit.network.parameters()]).all()):
                raise NonFiniteLoss(f"{self.name} stage stopped at step {self.index}: a weight of {part} is not finite")
            found |= {f"{part}.{name}": value for name, value in fit.tensors().items()}
        return found | {"stream": self.streams.get_state()}

    def load_tensors(self, tensors: dict[str, Tensor], index: int) -> None:
        """Take up what `tensors()` gave after `index` steps."""
        self.streams.set_state(tensors["stream"].cpu())
        for part, fit in self.fits.items():
            prefix = f"{part}."
            mine = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            fit.load_tensors(mine, self._fit_index(part, index))
        self.index = index

    def _fit_index(self, part: str, index: int) -> int:
        """Steps that the network `part` has taken after `index` steps of the stage."""
        return index


def rows(table: Tensor, index: Tensor, lead: tuple[int, ...]) -> Tensor:
    """table[index] for a table (rows, ...) shared by all members, or (*lead, rows, ...) with one for each."""
    if not lead:
        return table[index]
    member = torch.arange(lead[0], device=index.device).reshape(-1, *(1,) * (index.ndim - 1))
    return table[member, index]
