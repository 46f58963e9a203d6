"""The constant of a learned energy is found again from data alone."""

import math

import pytest
import torch
from checks import noisy_points, toy_named

from cepkit.course import NormalizedGuidance
from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.truth.fields import ExactGuidance

LINEAR, BETA = VPLinear(), 3.0


def level(t):
    """An arbitrary C(t)."""
    return 7 * math.sin(9 * float(t)) - 3


class Shifted(ExactGuidance):
    """The exact guidance with the level of its energies lost, as after contrastive training."""

    def energy(self, x_t, t):
        return super().energy(x_t, t) + level(t)


@pytest.mark.parametrize("t", [0.05, 0.3, 0.8])
def test_normalising_finds_the_level_of_the_exact_energies_again(t, toy):
    x, energy = toy.sample(8000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    normalised = NormalizedGuidance(Shifted(toy.truth, BETA, LINEAR), x, energy, BETA, LINEAR)
    points = noisy_points(toy.truth, t, n=20)
    off = normalised.energy(points, t) - toy.truth.energy_t(points, t, BETA, LINEAR)
    assert float(off.std()) < 1e-9 and abs(float(off.mean())) < 0.08
    assert float(normalised.constant(t)) == pytest.approx(-level(t), abs=0.08)
    assert torch.equal(normalised(points, t), toy.truth.guidance(points, t, BETA, LINEAR))


def test_normalising_with_the_wrong_energies_is_noticed():
    """What the test above would say of a beta left out."""
    toy = toy_named("moons")
    x, energy = toy.sample(8000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wrong = NormalizedGuidance(Shifted(toy.truth, BETA, LINEAR), x, energy / BETA, BETA, LINEAR)
    assert abs(float(wrong.constant(0.3)) + level(0.3)) > 0.2  # against 0.08 there


def test_normalising_is_replayed_and_follows_the_precision_of_the_points():
    toy = toy_named("moons")
    x, energy = toy.sample(500, generator=torch.Generator().manual_seed(1))
    exact = ExactGuidance(toy.truth, BETA, LINEAR)
    one, same = (NormalizedGuidance(exact, x, energy, BETA, LINEAR) for _ in range(2))
    assert float(one.constant(0.3)) == float(same.constant(0.3))
    points = noisy_points(toy.truth, 0.3, n=5)
    assert one.energy(points, torch.tensor(0.3)).dtype == torch.float64 and one.energy(points.float(), 0.3).dtype == torch.float32


def exact():
    return ExactGuidance(toy_named("moons").truth, BETA, LINEAR)


BAD = {
    "beta": (lambda: NormalizedGuidance(exact(), torch.zeros(3, 2), torch.zeros(3), -1.0, LINEAR), "beta"),
    "points": (lambda: NormalizedGuidance(exact(), [[0.0, 0.0]], torch.zeros(1), 1.0, LINEAR), "x"),
    "NaN": (lambda: NormalizedGuidance(exact(), torch.full((3, 2), math.nan), torch.zeros(3), 1.0, LINEAR), "x"),
    "energies": (lambda: NormalizedGuidance(exact(), torch.zeros(3, 2), torch.zeros(2), 1.0, LINEAR), "energy_of_x"),
    "schedule": (lambda: NormalizedGuidance(exact(), torch.zeros(3, 2), torch.zeros(3), 1.0, VPCosine()), "guidance"),
    "times": (
        lambda: NormalizedGuidance(exact(), torch.zeros(3, 2), torch.zeros(3), 1.0, LINEAR).energy(
            torch.zeros(2, 2), torch.tensor([0.1, 0.2])
        ),
        "t",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused_by_name(case):
    make, argument = BAD[case]
    with pytest.raises(ValueError, match=f"^{argument}: expected .*got"):
        make()
