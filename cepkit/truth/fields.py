"""The perfect denoiser and the two closed-form guidances of a `Mixture`, and the estimators of the course by name."""

from dataclasses import dataclass

from torch import Tensor

from cepkit.diffusion.guidance import DPSGuidance, Guidance, LGDGuidance
from cepkit.diffusion.process import PARAMETRISATIONS, convert
from cepkit.diffusion.schedules import Schedule
from cepkit.truth.exact import Mixture
from cepkit.truth.toys import Toy
from cepkit.validation import check_beta, check_name


@dataclass(frozen=True)
class ExactDenoiser:
    """The perfect denoiser of a `Mixture`: its score in closed form."""

    truth: Mixture
    schedule: Schedule
    parametrisation: str = "score"

    def __post_init__(self) -> None:
        check_name(self.parametrisation, PARAMETRISATIONS, name="parametrisation")

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return convert(self.truth.score(x_t, t, self.schedule), "score", self.parametrisation, x_t, t, self.schedule)


@dataclass(frozen=True)
class ExactGuidance(Guidance):
    """The exact intermediate energy of a `Mixture` at inverse temperature `beta`."""

    truth: Mixture
    beta: float
    schedule: Schedule

    def __post_init__(self) -> None:
        self.truth.tilt(self.beta)  # refuses a beta that cannot be normalised

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.truth.energy_t(x_t, t, self.beta, self.schedule)

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.truth.guidance(x_t, t, self.beta, self.schedule)


@dataclass(frozen=True)
class MeanEnergyGuidance(Guidance):
    """The exact mean energy beta E[E(x_0) | x_t]: the limit of least-squares regression on noisy points ("MSE")."""

    truth: Mixture
    beta: float
    schedule: Schedule

    def __post_init__(self) -> None:
        check_beta(self.beta)

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.truth.mean_energy_t(x_t, t, self.beta, self.schedule)

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.truth.mean_energy_guidance(x_t, t, self.beta, self.schedule)


def toy_estimators(toy: Toy, beta: float, schedule: Schedule) -> dict[str, Guidance]:
    """The estimators that need no training, by the names used in the course, each with perfect ingredients.

    DPS and LGD-MC get the exact denoiser and the toy's clean energy, so that what remains is the method's own error.
    """
    denoiser = ExactDenoiser(toy.truth, schedule)
    return {
        "exact": ExactGuidance(toy.truth, beta, schedule),
        "mean energy": MeanEnergyGuidance(toy.truth, beta, schedule),
        "DPS": DPSGuidance(denoiser, toy.energy, beta),
        "LGD-MC": LGDGuidance(denoiser, toy.energy, beta),
    }
