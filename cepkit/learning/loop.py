"""The training loop: an iterable of named steps that can be watched, stopped, saved and taken up again.

training = Training(x, energy, TrainingConfig(beta=3.0))
losses = [step.energy_loss for step in training]
training.guidance, training.denoiser          # at any moment, from the moving average of the weights
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cepkit.diffusion.guidance import LearnedGuidance, one_per_point
from cepkit.diffusion.process import perturb
from cepkit.learning.config import PARTS, TrainingConfig
from cepkit.learning.fit import Fit
from cepkit.learning.losses import Info, cep_loss, denoising_loss, exp_energy_loss, mean_energy_loss, pooled_energy
from cepkit.learning.networks import MLPDenoiser, MLPEnergy
from cepkit.validation import check_points

NARROW = 128  # networks up to this width train on one CPU thread
CHECK_EVERY = 25  # reading losses back stalls a GPU, so they are looked at this often there


class NonFiniteLoss(ValueError):
    """A loss or a weight became NaN or infinite; names the term and the step."""


@dataclass(frozen=True)
class TrainingStep:
    """What one step did.

    Attributes:
        index: steps taken so far, 1 after the first.
        denoiser_loss, energy_loss: 0-dim tensors on the training device, None for a network that is not trained.
        info: what the losses report beside, see `cepkit.learning.losses`.
        learning_rate: of this step.
    """

    index: int
    denoiser_loss: Tensor | None
    energy_loss: Tensor | None
    info: Info
    learning_rate: float


def build_networks(dim: int, config: TrainingConfig) -> dict[str, nn.Module]:
    """The networks of a configuration, freshly initialised from its seed, by part."""
    made: dict[str, nn.Module] = {}
    size = {"width": config.width, "layers": config.layers, "waves": config.waves}
    with torch.random.fork_rng(devices=[]):
        for part in config.parts:
            torch.manual_seed(config.seed)
            if part == "denoiser":
                made[part] = MLPDenoiser(dim, config.schedule, **size)
            else:
                guess = config.gaussian_guess and config.objective != "MSE"
                made[part] = MLPEnergy(dim, config.schedule, gaussian_guess=guess, **size)
    return made


class Training:
    """Denoiser and energy net in training on points with energies; iterate to train.

    Each network has a random stream of its own, so leaving one out does not change the other. On a CPU, networks of up to
    `NARROW` hidden units take their steps on one thread: more are no faster, and several times slower when a core is busy.

    Args:
        x: clean points (n, D), float32 or float64; trained in float32 on the device of `x`.
        energy: their energies (n,), low is good.
        config: everything else.

    Raises:
        ValueError: shapes that do not fit or values that are not finite. While iterating, `NonFiniteLoss`.
    """

    def __init__(self, x: Tensor, energy: Tensor, config: TrainingConfig) -> None:
        self.config = config
        self.x, self.energy = _check_data(x, energy)
        self._fits: dict[str, Fit] = {}
        self._generators: dict[str, torch.Generator] = {}
        self._recent: list[tuple[int, str, Tensor]] = []
        # log mean exp(-beta E): keeps the labels near 1 whatever the energies' level
        self.log_scale = float(torch.logsumexp(-config.beta * self.energy.double(), 0) - math.log(len(self.energy)))
        for part, network in build_networks(self.x.shape[1], config).items():
            network.set_scale(self.x.mean(0), self.x.std(correction=0))
            if isinstance(network, MLPEnergy) and network.guess is not None:
                network.guess.fit(self.x, self.energy, config.beta)
            self._fits[part] = Fit(
                network.to(self.x.device),
                learning_rate=config.learning_rate,
                steps=config.steps,
                warmup=config.warmup,
                ema=config.ema,
            )
            self._generators[part] = torch.Generator(self.x.device).manual_seed(len(PARTS) * config.seed + PARTS.index(part))

    @property
    def index(self) -> int:
        """Steps taken so far."""
        return min(fit.index for fit in self._fits.values())

    @property
    def denoiser(self) -> MLPDenoiser:
        """The denoiser as it stands: the moving average, updated in place while training goes on."""
        return self._average("denoiser")

    @property
    def energy_net(self) -> MLPEnergy:
        """The energy net as it stands, likewise."""
        return self._average("energy")

    @property
    def guidance(self) -> LearnedGuidance:
        """The energy net's guidance as it stands."""
        return LearnedGuidance(self.energy_net, self.config.schedule)

    def _average(self, part: str) -> nn.Module:
        if part not in self._fits:
            raise ValueError(f"parts: expected {part!r} among the trained networks, got {self.config.parts}")
        return self._fits[part].average

    def __iter__(self) -> Iterator[TrainingStep]:
        """Train to the last step, yielding each; after stopping early or an interrupt, iterating again goes on from there."""
        losses: dict[str, Callable] = {"denoiser": self._denoiser_loss, "energy": self._energy_loss}
        while self.index < self.config.steps:
            index = self.index
            found: dict[str, Tensor] = {}
            info: Info = {}
            rate = next(iter(self._fits.values())).learning_rate(index)
            with one_thread(self.x.device.type == "cpu" and self.config.width <= NARROW):
                for part, fit in self._fits.items():
                    if fit.index > index:  # an interrupt came after this network's step and before the other's
                        continue
                    loss, more = losses[part](fit.network)
                    fit.step(loss)
                    found[part] = loss.detach()
                    info |= more
                    self._recent.append((fit.index, part, found[part]))
            if self.x.device.type == "cpu" or self.index % CHECK_EVERY == 0 or self.index == self.config.steps:
                self.check_finite()
            yield TrainingStep(self.index, found.get("denoiser"), found.get("energy"), info, rate)

    def _draw(self, part: str, groups: int, samples: int) -> tuple[Tensor, Tensor, Tensor]:
        """Times (groups,) and points (groups, samples, D) with energies (groups, samples)."""
        generator, device = self._generators[part], self.x.device
        jitter = torch.rand((), generator=generator, device=device)
        u = (torch.arange(groups, device=device) + jitter) / groups
        t = self.config.t_min + (1 - self.config.t_min) * u.square()
        index = torch.randint(len(self.x), (groups, samples), generator=generator, device=device)
        return t, self.x[index], self.energy[index]

    def _denoiser_loss(self, network: MLPDenoiser) -> tuple[Tensor, Info]:
        t, x0, _ = self._draw("denoiser", self.config.denoiser_groups, self.config.denoiser_samples)
        noised = perturb(x0, t, self.config.schedule, generator=self._generators["denoiser"])
        return denoising_loss(network, noised, t)

    def _energy_loss(self, network: MLPEnergy) -> tuple[Tensor, Info]:
        config = self.config
        t, x0, energy = self._draw("energy", config.groups, config.contrasts)
        x_t = perturb(x0, t, config.schedule, generator=self._generators["energy"]).x_t
        f = network(x_t, t)
        if config.pooled:
            energy = pooled_energy(energy, x0, x_t, t, config.beta, config.schedule, exponential=config.objective != "MSE")
        if config.objective == "MSE":
            return mean_energy_loss(f, energy, config.beta)
        if config.objective == "exp-MSE":
            return exp_energy_loss(f, energy, config.beta, log_scale=self.log_scale)
        return cep_loss(f, energy, config.beta, labels=config.labels, log_scale=self.log_scale)

    def check_finite(self) -> None:
        """Raise `NonFiniteLoss` if a loss since the last look is NaN or infinite."""
        recent, self._recent = self._recent, []
        values = torch.stack([loss for _, _, loss in recent]).tolist() if recent else []
        for (index, part, _), value in zip(recent, values, strict=True):
            if not math.isfinite(value):
                raise NonFiniteLoss(
                    f"training stopped at step {index}: the {self._term(part)} loss is {value}. Lower the learning rate "
                    f"({self.config.learning_rate:g}) or look for extreme energies (beta is {self.config.beta:g})"
                )

    def _term(self, part: str) -> str:
        return "denoising" if part == "denoiser" else self.config.objective

    def tensors(self) -> dict[str, Tensor]:
        """All that is needed to go on: weights, averages, optimiser and random streams, by name."""
        self.check_finite()
        found: dict[str, Tensor] = {}
        for part, fit in self._fits.items():
            if not bool(torch.stack([weight.isfinite().all() for weight in fit.network.parameters()]).all()):
                raise NonFiniteLoss(f"training stopped at step {fit.index}: a weight of the {part} network is not finite")
            found |= {f"{part}.{name}": value for name, value in fit.tensors().items()}
            found[f"{part}.generator"] = self._generators[part].get_state()
        return found

    def load_tensors(self, tensors: dict[str, Tensor], index: int) -> None:
        """Take up what `tensors()` gave after `index` steps."""
        for part, fit in self._fits.items():
            prefix = f"{part}."
            mine = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            self._generators[part].set_state(mine.pop("generator"))
            fit.load_tensors(mine, index)


@contextmanager
def one_thread(wanted: bool) -> Iterator[None]:
    """Compute on one CPU thread if `wanted`, and with as many as before afterwards."""
    before = torch.get_num_threads()
    if wanted and before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def _check_data(x: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
    check_points(x, None, name="x")
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"x: expected points of shape (n, D) with n >= 2, got {tuple(x.shape)}")
    one_per_point(energy, x, "energy")
    if not bool(torch.isfinite(energy).all()):
        raise ValueError(f"energy: expected finite values, got {int((~torch.isfinite(energy)).sum())} NaN or infinite")
    return x.detach().float(), energy.detach().float().to(x.device)
