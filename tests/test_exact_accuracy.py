"""How exact the truth is: against brute force, against closed forms, against Monte Carlo, with more nodes, in float32."""

import numpy as np
import pytest
import references
import torch
from checks import (
    BETAS,
    TIMES,
    alpha_sigma,
    assert_is_exact_guidance,
    assert_rows_close,
    assert_within_standard_errors,
    eight_gaussians,
    gaussians_energy_t,
    gaussians_log_q,
    noisy_points,
    row_size,
    seeded,
    square_grid,
    toy_named,
)
from scipy.special import ive, logsumexp

from cepkit.schedules import VPLinear

LINEAR = VPLinear()


# -- references that do not use the library ----------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.002, 0.05, 0.5, 1.0])
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


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("t", TIMES)
def test_eight_gaussians_are_a_sum_of_eight_terms(t, beta):
    x, truth = square_grid(15).reshape(-1, 2), toy_named("8gaussians").truth
    mean, std, log_weight, energy = eight_gaussians()
    log_q = gaussians_log_q(x.numpy(), t, mean, std, log_weight)
    energy_t = gaussians_energy_t(x.numpy(), t, beta, mean, std, log_weight, energy)
    torch.testing.assert_close(truth.log_q(x, t, LINEAR), torch.from_numpy(log_q), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(truth.energy_t(x, t, beta, LINEAR), torch.from_numpy(energy_t), rtol=1e-9, atol=1e-9)


# -- more nodes --------------------------------------------------------------------------------------------------------


def test_refining_doubles_the_nodes_at_every_blur():
    for name in ("moons", "swissroll", "rings", "2spirals"):
        truth = toy_named(name).truth
        fine = truth.refine(2)
        for blur in (0.01, 0.1, 0.3, 1.0, 10.0, float("inf")):
            assert fine.components(blur).count >= 1.9 * truth.components(blur).count, (name, blur)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("t", TIMES)
def test_twice_the_nodes_change_nothing_beyond_a_millionth(toy, t, beta):
    """Row by row, where q_t and p_t have their mass and on the whole square. Guidance is a difference of two scores: below
    1e-6 of the score (1e-4 on the square, whose corners lie where log q_t is -1e5) it counts as that small."""
    truth, fine, sigma = toy.truth, toy.truth.refine(2), float(LINEAR.sigma(t))
    mass = torch.cat([noisy_points(truth, t, n=60), noisy_points(truth.tilt(beta), t, n=60)])
    for x, resolution in ((mass, 1e-12), (square_grid(9).reshape(-1, 2), 1e-10)):
        here, there = truth.fields(x, t, beta, LINEAR), fine.fields(x, t, beta, LINEAR)
        torch.testing.assert_close(here.log_q, there.log_q, rtol=0, atol=1e-6)
        torch.testing.assert_close(here.energy_t, there.energy_t, rtol=1e-6, atol=1e-12)
        assert_rows_close(here.score, there.score, rtol=1e-6, atol=1e-12 / sigma)
        smallest = resolution * (there.score.norm(dim=-1) + 1 / sigma)
        assert_rows_close(here.guidance, there.guidance, rtol=1e-6, atol=smallest)
        mean_energies = (mixture.mean_energy_t(x, t, beta, LINEAR) for mixture in (truth, fine))
        torch.testing.assert_close(*mean_energies, rtol=1e-6, atol=1e-12)


# -- Monte Carlo over a million points of the recipe --------------------------------------------------------------------


def ratio_and_error(weight, value):
    """Self-normalised average of `value` (n, ...) under `weight` (n,) and its standard error, by the delta method."""
    share = (weight / weight.sum()).reshape(-1, *[1] * (value.ndim - 1))
    mean = (share * value).sum(0)
    return mean, (share * (value - mean)).square().sum(0).sqrt()


@pytest.mark.parametrize("t", [0.2, 0.5, 0.8])
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

FINE_TIMES = (1e-3, 0.002, 0.01, 0.05, 0.2, 0.5, 0.9, 1.0)


def all_fields(truth, x, t, beta):
    return {
        **truth.fields(x, t, beta, LINEAR)._asdict(),
        "mean_energy_t": truth.mean_energy_t(x, t, beta, LINEAR),
        "mean_energy_guidance": truth.mean_energy_guidance(x, t, beta, LINEAR),
        "posterior_mean": truth.posterior_mean(x, t, LINEAR),
    }


@pytest.mark.parametrize("beta", [0.0, 3.0, 50.0])
@pytest.mark.parametrize("t", FINE_TIMES)
def test_float32_is_finite_on_the_whole_square(toy, t, beta):
    grid = square_grid(25, dtype=torch.float32)
    scattered = (grid + 0.01 * torch.randn(grid.shape, generator=seeded())).reshape(-1, 2).clamp(-6, 6)
    for x in (grid, scattered):
        for name, value in all_fields(toy.truth, x, t, beta).items():
            assert bool(value.isfinite().all()), name


@pytest.mark.parametrize("beta", [3.0, 50.0])
@pytest.mark.parametrize("t", FINE_TIMES)
def test_float32_is_within_a_thousandth_where_the_mass_is(toy, t, beta):
    """Over x_t from q_t and from p_t, by root mean square. Energies and guidance count as zero below what float32
    resolves of the quantities they are differences of: 1, beta, and the score."""
    for truth in (toy.truth, toy.truth.tilt(beta)):
        x = noisy_points(truth, t, n=200, dtype=torch.float32)
        coarse, fine = all_fields(toy.truth, x, t, beta), all_fields(toy.truth, x.double(), t, beta)
        score = float(row_size(fine["score"], x).square().mean().sqrt())
        floors = {"guidance": 1e-6 * score, "mean_energy_guidance": 2e-7 * (1 + beta) * score}
        floors |= dict.fromkeys(("energy_t", "mean_energy_t"), 1e-6 * (1 + beta))
        for name, exact in fine.items():
            error, size = (row_size(value, x).square().mean().sqrt() for value in (coarse[name].double() - exact, exact))
            assert float(error) <= 1e-3 * float(size) + floors.get(name, 0.0), (
                f"{name}: error {error:.2e} at a size of {size:.2e}"
            )
