"""The training loop: an iterable of steps that can be watched, stopped, saved and taken up again.

training = Training(x, energy, TrainingConfig(beta=3.0))
losses = [step.energy_loss for step in training]
training.guidance, training.denoiser          # at any moment, from the moving average of the weights
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from cepkit.calling import one_thread
from cepkit.data_checks import check_suitable
from cepkit.diffusion.guidance import LearnedGuidance
from cepkit.diffusion.process import perturb
from cepkit.diffusion.schedules import Schedule, VPLinear
from cepkit.learning.losses import LABELS, Info, cep_loss, denoising_loss, exp_energy_loss, mean_energy_loss, pooled_energy
from cepkit.learning.networks import Fit, MLPDenoiser, MLPEnergy
from cepkit.learning.sufficiency import Truth, judge
from cepkit.settings import Configuration, setting
from cepkit.validation import LARGEST_INTEGER, check_points, one_per_point

OBJECTIVES = ("CEP", "MSE", "exp-MSE")
PARTS = ("denoiser", "energy")
WARMUP = 50  # steps
EMA = 0.99  # decay of the moving average of the weights that is kept
T_MIN = 1e-3  # the least noise level that is trained on
NARROW = 256  # networks whose layers are no larger train on one CPU thread: more are no faster, and slower on a busy machine
CHECK_EVERY = 25  # reading losses back stalls a GPU, so there they are checked this often


class NonFiniteLoss(ValueError):
    """A loss or a weight became NaN or infinite; names the term and the step."""


@dataclass(frozen=True)
class TrainingConfig(Configuration):
    """Settings of a run; the same settings, data and machine give the same weights to the bit.

    Attributes:
        beta: inverse temperature of the target p_0 ∝ q_0 exp(-beta E).
        steps: optimiser steps of each network.
        seed: of the initial weights and of every random draw.
        parts: which networks to train, "denoiser" and "energy".
        objective: the loss of the energy net: "CEP", "MSE" (the mean energy) or "exp-MSE".
        labels: of CEP, "unnormalized" or "normalized".
        pooled: average each label over its group, see `cepkit.learning.losses.pooled_energy`; not for small `contrasts`.
        groups, contrasts: each energy step draws `groups` times t, and `contrasts` (K) points for each.
        denoiser_groups, denoiser_samples: the same for the denoiser.
        learning_rate: the highest; it rises over the first `WARMUP` steps and falls to 0 along a cosine.
        width, layers, waves: of both networks (`cepkit.learning.networks`).
        gaussian_guess: let the energy net start from a `GaussianGuess`; never used for the mean energy, whose limit differs.
    """

    fixed: ClassVar = {
        "warmup": WARMUP, "ema": EMA, "t_min": T_MIN, "schedule": {"name": "VPLinear", "beta_min": 0.1, "beta_max": 20.0},
    }  # fmt: skip

    beta: float = setting(3.0, low=0.0)
    steps: int = setting(2500, low=1)
    seed: int = setting(0, low=0, high=LARGEST_INTEGER)
    parts: tuple[str, ...] = setting(PARTS, choices=PARTS)
    objective: str = setting("CEP", choices=OBJECTIVES)
    labels: str = setting("unnormalized", choices=LABELS)
    pooled: bool = True
    groups: int = setting(16, low=1, high=10**6)
    contrasts: int = setting(128, low=2, high=10**6)
    denoiser_groups: int = setting(32, low=1, high=10**6)
    denoiser_samples: int = setting(32, low=1, high=10**6)
    learning_rate: float = setting(1e-2, low=1e-12, high=10.0)
    width: int = setting(64, low=1, high=10**5)
    layers: int = setting(3, low=1, high=10**3)
    waves: int = setting(16, low=0, high=10**5)
    gaussian_guess: bool = True

    @property
    def schedule(self) -> Schedule:
        """The noise schedule, the paper's."""
        return VPLinear()


@dataclass(frozen=True)
class TrainingStep:
    """One step of a stage of training.

    Attributes:
        stage: its name.
        index: steps taken so far, 1 after the first.
        steps: how many there are.
        losses: 0-dim tensors on the training device, by network.
        info: further values that the losses report, see `cepkit.learning.losses`.
    """

    stage: str
    index: int
    steps: int
    losses: dict[str, Tensor]
    info: Info = field(default_factory=dict)

    @property
    def denoiser_loss(self) -> Tensor | None:
        """None for a denoiser that is not trained."""
        return self.losses.get("denoiser")

    @property
    def energy_loss(self) -> Tensor | None:
        """None for an energy net that is not trained."""
        return self.losses.get("energy")


class Stage:
    """Networks in training; iterate to train to the last step, and again to go on after stopping early or an interrupt.

    A subclass takes one step in `_take`.

    Attributes:
        fits, generators, extras: the networks, random streams and tensors that the stage cannot go on without, by name.
        terms: names of the losses in the log and in messages, where these are not the networks'.
        hint: what to try when a loss is not finite.
        save_every: steps between two saves, instead of the run's.
    """

    def __init__(self, name: str, steps: int, device: torch.device, *, hint: str, save_every: int | None = None) -> None:
        self.name, self.steps, self.device, self.hint, self.save_every = name, steps, device, hint, save_every
        self.index = 0
        self.fits: dict[str, Fit] = {}
        self.generators: dict[str, torch.Generator] = {}
        self.extras: dict[str, Tensor] = {}
        self.terms: dict[str, str] = {}
        self._recent: list[tuple[int, str, Tensor]] = []

    @property
    def finished(self) -> bool:
        return self.index >= self.steps

    def networks(self) -> list[nn.Module]:
        """The networks that a step runs through."""
        return [fit.network for fit in self.fits.values()]

    def __iter__(self) -> Iterator[TrainingStep]:
        """Train to the last step, yielding each; `NonFiniteLoss` for a loss or weight that is NaN or infinite."""
        largest = max((p.shape[-1] for network in self.networks() for p in network.parameters()), default=0)
        on_cpu = self.device.type == "cpu"
        while not self.finished:
            with one_thread(on_cpu and largest <= NARROW):
                step = self._take()
            self._recent += [(step.index, name, loss) for name, loss in step.losses.items()]
            if on_cpu or self.index % CHECK_EVERY == 0 or self.finished:
                self.check_finite()
            yield step

    def _take(self) -> TrainingStep:
        raise NotImplementedError

    def check_finite(self) -> None:
        """Raise `NonFiniteLoss` if a loss since the last check is NaN or infinite."""
        recent, self._recent = self._recent, []
        values = torch.stack([loss.float() for _, _, loss in recent]).tolist() if recent else []
        for (index, name, _), value in zip(recent, values, strict=True):
            if not math.isfinite(value):
                term = self.terms.get(name, name)
                raise NonFiniteLoss(f"{self.name} stage stopped at step {index}: the {term} loss is {value}. {self.hint}")


class Training(Stage):
    """Denoiser and energy net in training on points with energies.

    Each network has a random stream of its own, so leaving one out does not change the other. Warns as `check_suitable` does.

    Args:
        x: clean points (n, D) of about unit scale, float32 or float64; trained in float32 on the device of `x`.
        energy: their energies (n,), low is good.
        config: everything else.
        truth: the exact answer, such as `toy.truth`, with which the guidance is compared after the last step.

    Raises:
        ValueError: shapes that do not fit, values not finite, points too large for the noise. While iterating, `NonFiniteLoss`.
    """

    def __init__(self, x: Tensor, energy: Tensor, config: TrainingConfig, *, truth: Truth = None) -> None:
        self.config, self.truth = config, truth
        (x, energy), given = check_data(x, energy), energy
        check_suitable(x, given, config.beta)
        # log mean exp(-beta E): CEP cannot see the zero of the energies while this keeps its labels near 1
        self.log_scale = float(torch.logsumexp(-config.beta * energy, 0) - math.log(len(energy)))
        if config.objective == "MSE":  # and the other losses would have to learn it
            energy = energy - energy.mean()
        elif config.objective == "exp-MSE" and config.beta:
            energy = energy + self.log_scale / config.beta
        self.x, self.energy = x, energy.float()
        hint = f"Lower the learning rate ({config.learning_rate:g}) or look for extreme energies (beta is {config.beta:g})"
        super().__init__("training", config.steps, self.x.device, hint=hint)
        self.terms = {"denoiser": "denoising", "energy": config.objective}
        rates = {"learning_rate": config.learning_rate, "steps": config.steps, "warmup": WARMUP, "ema": EMA}
        for part, network in build_networks(self.x.shape[1], config).items():
            network.set_scale(self.x.mean(0), self.x.std(correction=0))
            if isinstance(network, MLPEnergy) and network.guess is not None:
                network.guess.fit(self.x, self.energy, config.beta)
            self.fits[part] = Fit(network.to(self.device), **rates)
            generator = self.generators[f"{part}.generator"] = torch.Generator(self.device)
            generator.manual_seed(len(PARTS) * config.seed + PARTS.index(part))

    def __iter__(self) -> Iterator[TrainingStep]:
        """Train to the last step, yielding each; a warning then says at which t the guidance does not suffice."""
        if not self.finished:
            yield from super().__iter__()
            if "energy" in self.fits and self.config.objective != "MSE":  # which learns the mean energy itself
                judge(self.guidance, self.x, self.config.beta, self.truth)

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
        if part not in self.fits:
            raise ValueError(f"parts: expected {part!r} among the trained networks, got {self.config.parts}")
        return self.fits[part].average

    def _take(self) -> TrainingStep:
        found, info = {}, {}
        for part, fit in self.fits.items():
            if fit.index == self.index:  # otherwise an interrupt came after this network's step and before the other's
                loss, more = self._denoiser_loss(fit.network) if part == "denoiser" else self._energy_loss(fit.network)
                fit.step(loss)
                found[part] = loss.detach()
                info |= more
        self.index += 1
        return TrainingStep(self.name, self.index, self.steps, found, info)

    def _draw(self, part: str, groups: int, samples: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw times (groups,), stratified and more often near the data, and points (groups, samples, D) with their energies."""
        generator, device = self.generators[f"{part}.generator"], self.device
        jitter = torch.rand((), generator=generator, device=device)
        u = (torch.arange(groups, device=device) + jitter) / groups
        t = T_MIN + (1 - T_MIN) * u.square()
        index = torch.randint(len(self.x), (groups, samples), generator=generator, device=device)
        return t, self.x[index], self.energy[index]

    def _denoiser_loss(self, network: MLPDenoiser) -> tuple[Tensor, Info]:
        t, x0, _ = self._draw("denoiser", self.config.denoiser_groups, self.config.denoiser_samples)
        noised = perturb(x0, t, self.config.schedule, generator=self.generators["denoiser.generator"])
        return denoising_loss(network, noised, t)

    def _energy_loss(self, network: MLPEnergy) -> tuple[Tensor, Info]:
        config = self.config
        t, x0, energy = self._draw("energy", config.groups, config.contrasts)
        x_t = perturb(x0, t, config.schedule, generator=self.generators["energy.generator"]).x_t
        f = network(x_t, t)
        if config.pooled:
            energy = pooled_energy(energy, x0, x_t, t, config.beta, config.schedule, exponential=config.objective != "MSE")
        if config.objective == "MSE":
            return mean_energy_loss(f, energy, config.beta)
        if config.objective == "exp-MSE":
            return exp_energy_loss(f, energy, config.beta)
        return cep_loss(f, energy, config.beta, labels=config.labels, log_scale=self.log_scale)


def build_networks(dim: int, config: TrainingConfig) -> dict[str, nn.Module]:
    """The networks of a configuration, freshly initialised from its seed, by part."""
    made, size = {}, {"width": config.width, "layers": config.layers, "waves": config.waves}
    guess = config.gaussian_guess and config.objective != "MSE"
    for part in config.parts:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            if part == "denoiser":
                made[part] = MLPDenoiser(dim, config.schedule, **size)
            else:
                made[part] = MLPEnergy(dim, config.schedule, gaussian_guess=guess, **size)
    return made


def check_data(x: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points, float32, and the energies, float64, after checking that they are finite and fit each other."""
    check_points(x, None, name="x")
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"x: expected points of shape (n, D) with n >= 2, got {tuple(x.shape)}")
    one_per_point(energy, x, "energy")
    energy = check_points(energy.detach().double(), None, name="energy")
    return x.detach().float(), energy.to(x.device)
