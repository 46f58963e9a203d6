"""How exact the truth is: against brute force, against closed forms, against Monte Carlo, with more nodes, in float32."""

import numpy as np
import pytest
import references
import torch
from checks import (
    BETAS,
    FINE_TIMES,
    TIMES,
    all_fields,
    alpha_sigma,
    assert_is_exact_guidance,
    assert_within_standard_errors,
    doubled_nodes,
    eight_gaussians,
    float32_errors,
    gaussians_energy_t,
    gaussians_log_q,
    node_doubling_errors,
    noisy_points,
    seeded,
    square_grid,
    toy_named,
)
from lengths import grid, slow
from scipy.special import ive, logsumexp

from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.toys import make_toy

LINEAR = VPLinear()


# -- references that do not use the library ----------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.002, 0.5, *slow(0.05, 1.0)])
def test_log_q_and_energies_agree_with_brute_force(toy, t):
    x = torch.cat([noisy_points(toy.truth, t, n=15), noisy_points(toy.truth.tilt(10.0), t, n=15, seed=1)])
    for actual, expected in (
        (toy.truth.log_q(x, t, LINEAR), references.log_q(toy.name, x.numpy(), t)),
        (toy.truth.energy_t(x, t, 10.0, LINEAR), references.energy_t(toy.name, x.numpy(), t, 10.0)),
        (toy.truth.mean_energy_t(x, t, 10.0, LINEAR), references.mean_energy_t(toy.name, x.numpy(), t, 10.0)),
    ):
        torch.testing.assert_close(actual, torch.from_numpy(expected), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("t", [0.05, 0.5])
def test_guidance_agrees_with_brute_force(toy, t):
    x = noisy_points(toy.truth, t, n=4)
    assert_is_exact_guidance(
        lambda x, t: toy.truth.guidance(x, t, 10.0, LINEAR),
        lambda x: torch.from_numpy(references.energy_t(toy.name, x.numpy(), t, 10.0)),
        x,
        t,
    )


@pytest.mark.parametrize("t", TIMES)
def test_rings_are_bessel_functions(t):
    """Averaged over its circle, a Gaussian is exp(-(rho - r)^2 / 2v) I0e(rho r / v) / 2 pi v."""
    x = square_grid(15).reshape(-1, 2)
    alpha, sigma = alpha_sigma(t)
    var, radius = alpha**2 * 0.08**2 + sigma**2, alpha * np.array([3, 2.25, 1.5, 0.75])
    rho = x.norm(dim=1).numpy()[:, None]
    log_ring = -((rho - radius) ** 2) / (2 * var) + np.log(ive(0, rho * radius / var)) - np.log(2 * np.pi * var)
    expected = torch.from_numpy(logsumexp(log_ring - np.log(4), axis=1))
    torch.testing.assert_close(toy_named("rings").truth.log_q(x, t, LINEAR), expected, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize(("t", "beta"), grid(TIMES, BETAS, (0.01, 10.0), (0.5, 50.0)))
def test_eight_gaussians_are_a_sum_of_eight_terms(t, beta):
    x, truth = square_grid(15).reshape(-1, 2), toy_named("8gaussians").truth
    mean, std, log_weight, energy = eight_gaussians()
    log_q = gaussians_log_q(x.numpy(), t, mean, std, log_weight)
    energy_t = gaussians_energy_t(x.numpy(), t, beta, mean, std, log_weight, energy)
    torch.testing.assert_close(truth.log_q(x, t, LINEAR), torch.from_numpy(log_q), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(truth.energy_t(x, t, beta, LINEAR), torch.from_numpy(energy_t), rtol=1e-9, atol=1e-9)


# -- more nodes --------------------------------------------------------------------------------------------------------


def test_the_helper_doubles_the_nodes_at_every_blur():
    for name in ("moons", "swissroll", "rings", "2spirals"):
        truth = toy_named(name).truth
        for blur in (0.01, 0.1, 0.3, 1.0, 10.0, float("inf")):
            with doubled_nodes():
                count = make_toy(name).truth.components(blur).count
            assert count >= 1.9 * truth.components(blur).count, (name, blur)


@pytest.mark.parametrize(("t", "beta"), grid(TIMES, BETAS, (0.002, 50.0), (0.2, 10.0), (0.9, 1.0)))
def test_twice_the_nodes_change_nothing_beyond_a_millionth(toy, t, beta):
    for name, error in node_doubling_errors(toy, t, beta).items():
        assert error <= 1e-6, f"{name}: {error:.2e}"


# -- Monte Carlo over a million points of the recipe --------------------------------------------------------------------


def ratio_and_error(weight, value):
    """Self-normalised average of `value` (n, ...) under `weight` (n,) and its standard error, by the delta method."""
    share = (weight / weight.sum()).reshape(-1, *[1] * (value.ndim - 1))
    mean = (share * value).sum(0)
    return mean, (share * (value - mean)).square().sum(0).sqrt()


@pytest.mark.parametrize("t", [0.5, *slow(0.2, 0.8)])
def test_a_million_samples_of_the_recipe_agree_with_the_truth(toy, t):
    x0, energy = toy.sample(1_000_000, generator=seeded(7), dtype=torch.float64)
    beta, (alpha, sigma) = 4.0, alpha_sigma(t)
    for x_t in noisy_points(toy.truth, t, n=3, seed=8):
        kernel = ((x_t - alpha * x0).square().sum(-1) / (-2 * sigma**2)).exp() / (2 * np.pi * sigma**2)
        assert float(kernel.sum() ** 2 / kernel.square().sum()) > 5000
        q = kernel.mean()
        assert_within_standard_errors(toy.truth.log_q(x_t, t, LINEAR), q.log(), kernel.std() / 1000 / q)
        mean, error = ratio_and_error(kernel, x0)
        assert_within_standard_errors(toy.truth.posterior_mean(x_t, t, LINEAR), mean, error)
        mean, error = ratio_and_error(kernel, (-beta * energy).exp())
        assert_within_standard_errors(toy.truth.energy_t(x_t, t, beta, LINEAR), -mean.log(), error / mean)
        mean, error = ratio_and_error(kernel, beta * energy)
        assert_within_standard_errors(toy.truth.mean_energy_t(x_t, t, beta, LINEAR), mean, error)


# -- float32 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("t", "beta"), grid(FINE_TIMES, (0.0, 3.0, 50.0), (1e-3, 50.0), (0.2, 3.0), (1.0, 50.0)))
def test_float32_is_finite_on_the_whole_square(toy, t, beta):
    grid = square_grid(25, dtype=torch.float32)
    scattered = (grid + 0.01 * torch.randn(grid.shape, generator=seeded())).reshape(-1, 2).clamp(-6, 6)
    for x in (grid, scattered):
        for name, value in all_fields(toy.truth, x, t, beta).items():
            assert bool(value.isfinite().all()), name


@pytest.mark.parametrize(("t", "beta"), grid(FINE_TIMES, (3.0, 50.0), (1e-3, 50.0), (0.2, 3.0), (0.9, 50.0)))
def test_float32_is_within_a_thousandth_where_the_mass_is(toy, t, beta):
    for name, error in float32_errors(toy.truth, t, beta).items():
        assert error <= 1e-3, f"{name}: {error:.2e}"
