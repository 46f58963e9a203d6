"""Every estimator is minus the gradient of its own energy, guidance composes, and a planted error is caught."""

import math

import pytest
import torch
from checks import assert_is_exact_guidance, assert_rows_close, eight_gaussians, gaussians_energy_t, noisy_points, toy_named
from hypothesis import given
from hypothesis import strategies as st

from cepkit.diffusion.denoisers import predict
from cepkit.diffusion.guidance import DPSGuidance, Guided, LearnedGuidance, LGDGuidance, ZeroGuidance
from cepkit.diffusion.process import PARAMETRISATIONS
from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.learning.networks import MLPEnergy
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactDenoiser, ExactGuidance, MeanEnergyGuidance, toy_estimators

LINEAR = VPLinear()
ESTIMATORS = ("exact", "mean energy", "DPS", "LGD-MC")


def smooth_energy(x0):
    return 0.3 * (x0[..., 0] - 1) ** 2 + (2 * x0[..., 1]).sin()


def estimator(name, truth, beta=3.0, schedule=LINEAR):
    """Each estimator, the approximate ones on a smooth energy so that their gradients say something."""
    denoiser = ExactDenoiser(truth, schedule)
    return {
        "exact": ExactGuidance(truth, beta, schedule),
        "mean energy": MeanEnergyGuidance(truth, beta, schedule),
        "DPS": DPSGuidance(denoiser, smooth_energy, beta),
        "LGD-MC": LGDGuidance(denoiser, smooth_energy, beta),
        "zero": ZeroGuidance(),
    }[name]


# -- a planted error is caught -----------------------------------------------------------------------------------------

BETA = 3.0


def paper_energy_t(x_t, t=0.3):
    mean, std, log_weight, energy = eight_gaussians()
    return torch.from_numpy(gaussians_energy_t(x_t.numpy(), t, BETA, mean, std, log_weight, energy))


def test_the_check_accepts_the_library_s_exact_guidance():
    truth = toy_named("8gaussians").truth
    assert_is_exact_guidance(ExactGuidance(truth, BETA, LINEAR), paper_energy_t, noisy_points(truth, 0.3), 0.3)


PLANTED = {
    "sign flipped": lambda exact, truth: lambda x, t: -exact(x, t),
    "alpha_t dropped": lambda exact, truth: lambda x, t: exact(x, t) / LINEAR.alpha(t),
    "sigma_t left in": lambda exact, truth: lambda x, t: LINEAR.sigma(t) * exact(x, t),
    "scale used as beta": lambda exact, truth: lambda x, t: BETA * ExactGuidance(truth, 1.0, LINEAR)(x, t),
    "mean energy instead": lambda exact, truth: MeanEnergyGuidance(truth, BETA, LINEAR),
    "another schedule": lambda exact, truth: lambda x, t: truth.guidance(x, t, BETA, VPCosine()),
    "one row wrong": lambda exact, truth: lambda x, t: torch.cat([exact(x, t)[:-1], -exact(x, t)[-1:]]),
}


@pytest.mark.parametrize("error", PLANTED)
def test_the_check_refuses_a_planted_error(error):
    truth = toy_named("8gaussians").truth
    wrong = PLANTED[error](ExactGuidance(truth, BETA, LINEAR), truth)
    with pytest.raises(AssertionError, match="too much"):
        assert_is_exact_guidance(wrong, paper_energy_t, noisy_points(truth, 0.3), 0.3)


# -- energies and their gradients --------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("name", [*ESTIMATORS, "zero"])
def test_every_estimator_is_minus_the_gradient_of_its_energy(name, t, toy):
    g, x = estimator(name, toy.truth), noisy_points(toy.truth, t, n=10)
    assert_is_exact_guidance(g, lambda x: g.energy(x, t), x, t, rtol=1e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_one_time_per_row_is_each_row_alone(name, toy):
    g, x = estimator(name, toy.truth), noisy_points(toy.truth, 0.3, n=6).reshape(2, 3, 2)
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64).reshape(2, 3)
    energy, field = g.energy(x, t), g(x, t)
    for i, j in ((0, 0), (1, 2)):
        torch.testing.assert_close(energy[i, j], g.energy(x[i, j], t[i, j]), rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(field[i, j], g(x[i, j], t[i, j]), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", [*ESTIMATORS, "zero"])
def test_a_guidance_can_be_differentiated_where_points_ask_for_it(name):
    truth = toy_named("8gaussians").truth
    x = noisy_points(truth, 0.3, n=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: estimator(name, truth)(x, 0.3), (x,), atol=1e-6)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_guidance_leaves_the_points_and_the_gradient_mode_alone(name, toy):
    x = noisy_points(toy.truth, 0.3, n=3)
    with torch.no_grad():
        field = estimator(name, toy.truth)(x, 0.3)
    assert not field.requires_grad and not x.requires_grad and x.grad is None


@pytest.mark.parametrize("name", ["checkerboard", "cloud"])
def test_dps_feels_nothing_where_the_energy_is_piecewise_constant(name, generator):
    """On the checkerboard and on bare points the energy of a clean place is flat with jumps."""
    cloud = Mixture.from_points(torch.randn(20, 2, generator=generator), torch.rand(20, generator=generator))
    truth = cloud if name == "cloud" else toy_named("checkerboard").truth
    g = DPSGuidance(ExactDenoiser(truth, LINEAR), truth.energy, 5.0)
    assert float(g(noisy_points(truth, 0.3), 0.3).abs().max()) < 1e-12


def test_dps_is_beta_times_the_energy_of_the_denoised_point(toy):
    x = noisy_points(toy.truth, 0.3)
    g = DPSGuidance(ExactDenoiser(toy.truth, LINEAR), smooth_energy, 3.0)
    expected = 3.0 * smooth_energy(toy.truth.posterior_mean(x, 0.3, LINEAR))
    torch.testing.assert_close(g.energy(x, 0.3), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_on_a_gaussian_with_energy_x_squared_dps_and_lgd_are_their_closed_forms(beta, generator):
    """The posterior is N(mu, s^2): DPS is beta |mu|^2, and LGD-MC with the data's own width tends to the exact
    E_t = beta |mu|^2 / (1 + 2 beta s^2) + log(1 + 2 beta s^2)."""
    std, t = 0.7, 0.4
    x = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    denoiser = ExactDenoiser(Mixture.from_points(torch.zeros(1, 2), torch.zeros(1), std=std), LINEAR)
    alpha, sigma = LINEAR.alpha(t), LINEAR.sigma(t)
    widening = 1 + 2 * beta * std**2 * sigma**2 / (alpha**2 * std**2 + sigma**2)
    square = denoiser.truth.posterior_mean(x, t, LINEAR).square().sum(-1)
    dps = DPSGuidance(denoiser, lambda x0: x0.square().sum(-1), beta)
    lgd = LGDGuidance(denoiser, lambda x0: x0.square().sum(-1), beta, samples=100_000, data_std=std)
    torch.testing.assert_close(dps.energy(x, t), beta * square)
    torch.testing.assert_close(lgd.energy(x, t), beta * square / widening + widening.log(), rtol=0, atol=0.03)


def test_lgd_is_the_same_for_a_seed_and_another_for_another(toy):
    x, denoiser = noisy_points(toy.truth, 0.3), ExactDenoiser(toy.truth, LINEAR)
    first, again, other = (LGDGuidance(denoiser, smooth_energy, 3.0, seed=seed)(x, 0.3) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.allclose(first, other)


def test_lgd_with_a_tiny_cloud_is_dps(toy):
    x, denoiser = noisy_points(toy.truth, 0.3), ExactDenoiser(toy.truth, LINEAR)
    lgd, dps = LGDGuidance(denoiser, smooth_energy, 3.0, data_std=1e-6), DPSGuidance(denoiser, smooth_energy, 3.0)
    torch.testing.assert_close(lgd.energy(x, 0.3), dps.energy(x, 0.3), rtol=0, atol=1e-4)
    torch.testing.assert_close(lgd(x, 0.3), dps(x, 0.3), rtol=0, atol=1e-3)


def test_lgd_on_rows_does_not_depend_on_the_other_rows(toy):
    x, g = noisy_points(toy.truth, 0.3, n=8), LGDGuidance(ExactDenoiser(toy.truth, LINEAR), smooth_energy, 3.0)
    torch.testing.assert_close(g(x, 0.3)[:3], g(x[:3], 0.3))


def test_an_energy_function_of_another_shape_is_not_broadcast():
    x, denoiser = torch.zeros(5, 2), ExactDenoiser(toy_named("moons").truth, LINEAR)
    for kind in (DPSGuidance, LGDGuidance):
        with pytest.raises(ValueError, match="^energy_function: expected .*got"):
            kind(denoiser, lambda x0: x0[..., :1], 3.0).energy(x, 0.3)


def test_toy_estimators_are_the_four_of_the_course(toy):
    estimators = toy_estimators(toy, 3.0, LINEAR)
    assert tuple(estimators) == ESTIMATORS
    x = noisy_points(toy.truth, 0.3, n=5)
    assert all(g(x, 0.3).shape == x.shape and g.energy(x, 0.3).shape == (5,) for g in estimators.values())


# -- learned -----------------------------------------------------------------------------------------------------------


def learned(*, guess=True, schedule=LINEAR):
    """The guidance of a small net with weights from a seed, in float64."""
    torch.manual_seed(0)
    net = MLPEnergy(2, schedule, width=8, layers=2, waves=3, gaussian_guess=guess)
    if guess:
        x, energy = toy_named("moons").sample(500, generator=torch.Generator().manual_seed(0))
        net.guess.fit(x, energy, BETA)
    return LearnedGuidance(net.double(), schedule)


@pytest.mark.parametrize("guess", [False, True])
@pytest.mark.parametrize("t", [0.02, 0.3, 0.9])
def test_a_learned_guidance_is_minus_the_gradient_of_its_net(t, guess):
    g, x = learned(guess=guess), noisy_points(toy_named("moons").truth, t, n=10)
    assert_is_exact_guidance(g, lambda x: g.energy(x, t).detach(), x, t, rtol=1e-5)


def test_a_learned_guidance_of_any_energy_function_is_minus_its_gradient():
    g = LearnedGuidance(lambda x, t: t * x.square().sum(-1) / 2, LINEAR)
    x = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(g(x, 0.3), -0.3 * x)


def test_a_learned_guidance_can_be_differentiated_where_points_ask_for_it():
    g, x = learned(), noisy_points(toy_named("moons").truth, 0.3, n=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: g(x, 0.3), (x,), atol=1e-6)


def test_a_learned_guidance_without_gradients_leaves_none():
    g, x = learned(), noisy_points(toy_named("moons").truth, 0.3, n=3)
    with torch.no_grad():
        field = g(x, 0.3)
    assert not field.requires_grad and float(field.abs().max()) > 0
    assert all(weight.grad is None for weight in g.energy_net.parameters())


def test_a_learned_guidance_takes_any_batch_and_one_time_per_row():
    g, x = learned(), noisy_points(toy_named("moons").truth, 0.3, n=6).reshape(2, 3, 2)
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64).reshape(2, 3)
    assert g(x, 0.3).shape == x.shape and g.energy(x, 0.3).shape == (2, 3) and g(x[0, 0], 0.3).shape == (2,)
    torch.testing.assert_close(g(x, t)[1, 2], g(x[1, 2], t[1, 2]))
    torch.testing.assert_close(g(x, t[:, 0])[1], g(x[1], t[1, 0]))


def test_a_learned_guidance_steers_any_denoiser():
    g, x = learned(), noisy_points(toy_named("moons").truth, 0.3, n=6)
    denoiser = ExactDenoiser(toy_named("moons").truth, LINEAR)
    torch.testing.assert_close(Guided(denoiser, g, 2.0)(x, 0.3), denoiser(x, 0.3) + 2 * g(x, 0.3))


@pytest.mark.parametrize("net", [lambda x, t: x, lambda x, t: x[..., :1], lambda x, t: x.sum(), lambda x, t: 3.0])
def test_an_energy_net_of_another_shape_is_refused(net):
    with pytest.raises(ValueError, match=r"^energy_net: expected one energy per point, shape \(5,\), got"):
        LearnedGuidance(net, LINEAR)(torch.zeros(5, 2), 0.3)


# -- normalised ----------------------------------------------------------------------------------------------------------


# -- composing ---------------------------------------------------------------------------------------------------------


def test_scaling_is_not_tilting(toy):
    """Three times the guidance at beta = 1 is not the guidance at beta = 3."""
    x = noisy_points(toy.truth, 0.3)
    warm, tilted = ExactGuidance(toy.truth, 1.0, LINEAR), ExactGuidance(toy.truth, 3.0, LINEAR)
    assert float((3.0 * warm(x, 0.3) - tilted(x, 0.3)).norm() / tilted(x, 0.3).norm()) > 0.02


def guided_pair(toy, parametrisation, scale):
    denoiser, guidance = ExactDenoiser(toy.truth, LINEAR, parametrisation), ExactGuidance(toy.truth, 3.0, LINEAR)
    return denoiser, guidance, Guided(denoiser, guidance, scale)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guided_says_the_same_score_in_every_parametrisation(toy, scale):
    x = noisy_points(toy.truth, 0.3, n=20)
    expected = toy.truth.score(x, 0.3, LINEAR) + scale * toy.truth.guidance(x, 0.3, 3.0, LINEAR)
    for parametrisation in PARAMETRISATIONS:
        guided = guided_pair(toy, parametrisation, scale)[2]
        assert guided.parametrisation == parametrisation and guided.schedule == LINEAR
        assert_rows_close(predict(guided, "score", x, 0.3), expected, rtol=1e-8, atol=1e-9)


def test_in_eps_form_guidance_subtracts_scale_sigma_guidance(toy):
    """design.md: eps_guided = eps + s sigma_t grad E_t."""
    x, (denoiser, guidance, guided) = noisy_points(toy.truth, 0.3, n=20), guided_pair(toy, "eps", 2.5)
    grad_energy = -guidance(x, 0.3)
    torch.testing.assert_close(guided(x, 0.3), denoiser(x, 0.3) + 2.5 * LINEAR.sigma(0.3) * grad_energy)


def test_in_x0_form_guidance_adds_scale_sigma_squared_over_alpha_guidance(toy):
    """design.md: x0_guided = x0_hat - s (sigma_t^2 / alpha_t) grad E_t."""
    x, (denoiser, guidance, guided) = noisy_points(toy.truth, 0.3, n=20), guided_pair(toy, "x0", 2.5)
    grad_energy = -guidance(x, 0.3)
    step = LINEAR.sigma(0.3) ** 2 / LINEAR.alpha(0.3)
    torch.testing.assert_close(guided(x, 0.3), denoiser(x, 0.3) - 2.5 * step * grad_energy, rtol=1e-8, atol=1e-9)


def test_exact_guidance_at_scale_one_is_the_denoiser_of_the_target(toy):
    x, (_, _, guided) = noisy_points(toy.truth.tilt(3.0), 0.3, n=20), guided_pair(toy, "x0", 1.0)
    target = ExactDenoiser(toy.truth.tilt(3.0), LINEAR, "x0")
    torch.testing.assert_close(guided(x, 0.3), target(x, 0.3), rtol=1e-7, atol=1e-8)


def test_zero_guidance_changes_nothing(toy):
    x, denoiser = noisy_points(toy.truth, 0.3, n=20), ExactDenoiser(toy.truth, LINEAR)
    assert torch.equal(Guided(denoiser, ZeroGuidance())(x, 0.3), denoiser(x, 0.3))


@given(st.floats(-3, 3), st.floats(0.05, 1.0))
def test_scale_inside_the_guidance_is_scale_outside_it(scale, t):
    truth = toy_named("moons").truth
    denoiser, guidance, x = ExactDenoiser(truth, LINEAR), ExactGuidance(truth, 2.0, LINEAR), noisy_points(truth, t, n=5)
    inside, outside = Guided(denoiser, lambda x, t: scale * guidance(x, t)), Guided(denoiser, guidance, scale)
    torch.testing.assert_close(inside(x, t), outside(x, t))


def test_guided_is_a_denoiser_that_can_be_guided_again(toy):
    x, (denoiser, guidance, guided) = noisy_points(toy.truth, 0.3, n=10), guided_pair(toy, "score", 1.0)
    twice = Guided(guided, guidance, 0.5)
    torch.testing.assert_close(twice(x, 0.3), Guided(denoiser, guidance, 1.5)(x, 0.3))


# -- bad input ---------------------------------------------------------------------------------------------------------

MOONS = ExactDenoiser(toy_named("moons").truth, LINEAR)
BAD = {
    "exact beta": (lambda: ExactGuidance(MOONS.truth, -1.0, LINEAR), "beta"),
    "exact beta in words": (lambda: ExactGuidance(MOONS.truth, "3", LINEAR), "beta"),
    "mean energy beta": (lambda: MeanEnergyGuidance(MOONS.truth, math.inf, LINEAR), "beta"),
    "DPS beta": (lambda: DPSGuidance(MOONS, smooth_energy, math.nan), "beta"),
    "LGD beta": (lambda: LGDGuidance(MOONS, smooth_energy, -1.0), "beta"),
    "LGD samples": (lambda: LGDGuidance(MOONS, smooth_energy, 1.0, samples=0), "samples"),
    "LGD width": (lambda: LGDGuidance(MOONS, smooth_energy, 1.0, data_std=0.0), "data_std"),
    "LGD seed": (lambda: LGDGuidance(MOONS, smooth_energy, 1.0, seed="lucky"), "seed"),
    "scale": (lambda: Guided(MOONS, ZeroGuidance(), math.nan), "scale"),
    "scale in words": (lambda: Guided(MOONS, ZeroGuidance(), "big"), "scale"),
    "guidance": (lambda: Guided(MOONS, 3.0), "guidance"),
    "another schedule": (lambda: Guided(MOONS, ExactGuidance(MOONS.truth, 3.0, VPCosine())), "guidance"),
    "NaN points": (lambda: ExactGuidance(MOONS.truth, 3.0, LINEAR)(torch.full((2, 2), math.nan), 0.5), "x_t"),
    "three coordinates": (lambda: ExactGuidance(MOONS.truth, 3.0, LINEAR).energy(torch.zeros(2, 3), 0.5), "x_t"),
    "net": (lambda: LearnedGuidance(3.0, LINEAR), "energy_net"),
    "net of another schedule": (lambda: LearnedGuidance(learned().energy_net, VPCosine()), "energy_net"),
    "learned on another schedule": (lambda: Guided(MOONS, learned(schedule=VPCosine())), "guidance"),
    "time": (lambda: LGDGuidance(MOONS, smooth_energy, 1.0)(torch.zeros(2, 2), 1.5), "t"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused_by_name(case):
    make, argument = BAD[case]
    with pytest.raises(ValueError, match=f"^{argument}: expected .*got"):
        make()
