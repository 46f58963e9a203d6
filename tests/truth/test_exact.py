"""The truth obeys its own mathematics: gradients, Theorem 3.1, Jensen, Tweedie, tilting and every invariance."""

import math
import weakref

import numpy as np
import pytest
import torch
from checks import (
    assert_is_exact_guidance,
    assert_rows_close,
    assert_within_standard_errors,
    finite_differences,
    noisy_points,
    seeded,
    square_grid,
    toy_named,
)
from clouds import Cloud, noisy_clouds
from hypothesis import given

import cepkit.truth.components
from cepkit.diffusion.process import convert
from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.exact import Mixture

LINEAR = VPLinear()
T = (0.01, 0.2, 0.9)


def rows_of(truth, t):
    """Where q_t has its mass, and where the target has."""
    return torch.cat([noisy_points(truth, t, n=20), noisy_points(truth.tilt(5.0), t, n=20)])


def autograd(function, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


# -- against plain numpy, on random clouds ----------------------------------------------------------------------------


@given(noisy_clouds())
def test_log_q_is_the_formula(case):
    cloud, x_t, t, _ = case
    torch.testing.assert_close(cloud.mixture().log_q(x_t, t, LINEAR), cloud.log_q(x_t, t), rtol=1e-10, atol=1e-10)


@given(noisy_clouds())
def test_energy_t_is_theorem_3_1(case):
    cloud, x_t, t, beta = case
    torch.testing.assert_close(cloud.mixture().energy_t(x_t, t, beta, LINEAR), cloud.energy_t(x_t, t, beta), rtol=1e-9, atol=1e-9)


@given(noisy_clouds())
def test_guidance_is_minus_the_gradient_of_theorem_3_1(case):
    cloud, x_t, t, beta = case
    mixture = cloud.mixture()
    assert_is_exact_guidance(lambda x, t: mixture.guidance(x, t, beta, LINEAR), lambda x: cloud.energy_t(x, t, beta), x_t, t)


@given(noisy_clouds())
def test_mean_energy_is_the_posterior_average(case):
    cloud, x_t, t, beta = case
    probability, _ = cloud.posterior(x_t, t)
    expected = torch.from_numpy(beta * probability @ cloud.energy)
    torch.testing.assert_close(cloud.mixture().mean_energy_t(x_t, t, beta, LINEAR), expected, rtol=1e-9, atol=1e-9)


@given(noisy_clouds())
def test_posterior_mean_is_the_posterior_average(case):
    cloud, x_t, t, _ = case
    probability, means = cloud.posterior(x_t, t)
    expected = torch.from_numpy((probability[..., None] * means).sum(1))
    torch.testing.assert_close(cloud.mixture().posterior_mean(x_t, t, LINEAR), expected, rtol=1e-9, atol=1e-9)


# -- invariances, on random clouds -------------------------------------------------------------------------------------


@given(noisy_clouds())
def test_a_constant_added_to_the_energy_shifts_e_t_and_leaves_the_guidance_alone(case):
    cloud, x_t, t, beta = case
    plain, shifted = (mixture.fields(x_t, t, beta, LINEAR) for mixture in (cloud.mixture(), cloud.mixture(shift=1.5)))
    torch.testing.assert_close(shifted.energy_t, plain.energy_t + 1.5 * beta, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(shifted.guidance, plain.guidance, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("offset", [0.0, 1e5, -1e6, 1e7])
@pytest.mark.parametrize("t", [0.05, 0.8])
def test_float32_fields_do_not_depend_on_the_zero_of_the_energy(t, offset):
    x = torch.randn(300, 2, generator=seeded(), dtype=torch.float64)
    plain, moved = (Mixture.from_points(x, x[:, 0] + x[:, 1] ** 2 + c, std=0.2) for c in (0.0, offset))
    x_t = noisy_points(plain, t)
    exact = plain.fields(x_t, t, 3.0, LINEAR).guidance
    scale = float(exact.norm(dim=-1).max())
    assert_rows_close(moved.guidance(x_t.float(), t, 3.0, LINEAR).double(), exact, rtol=1e-4, atol=1e-5 * scale)
    mean = plain.mean_energy_guidance(x_t, t, 3.0, LINEAR)
    assert_rows_close(moved.mean_energy_guidance(x_t.float(), t, 3.0, LINEAR).double(), mean, rtol=1e-4, atol=1e-5 * scale)
    for name in ("energy_t", "mean_energy_t"):
        here, there = (getattr(mixture, name)(x_t, t, 3.0, LINEAR) for mixture in (plain, moved))
        torch.testing.assert_close(there, here + 3.0 * offset, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(moved.energy(x), plain.energy(x) + offset, rtol=1e-12, atol=1e-12)
    assert moved.log_partition(3.0) == pytest.approx(plain.log_partition(3.0) - 3.0 * offset, rel=1e-12)


@given(noisy_clouds())
def test_the_order_of_the_points_does_not_matter(case):
    cloud, x_t, t, beta = case
    plain, turned = (m.fields(x_t, t, beta, LINEAR) for m in (cloud.mixture(), cloud.mixture(backwards=True)))
    torch.testing.assert_close(tuple(turned), tuple(plain), rtol=1e-9, atol=1e-9)


@given(noisy_clouds())
def test_jensen_holds_on_any_cloud(case):
    cloud, x_t, t, beta = case
    mixture = cloud.mixture()
    gap = mixture.mean_energy_t(x_t, t, beta, LINEAR) - mixture.energy_t(x_t, t, beta, LINEAR)
    assert float(gap.min()) >= -1e-12


@given(noisy_clouds())
def test_tilting_twice_is_tilting_by_the_sum(case):
    cloud, x_t, t, beta = case
    twice, once = cloud.mixture().tilt(beta).tilt(1.0), cloud.mixture().tilt(beta + 1.0)
    torch.testing.assert_close(twice.log_q(x_t, t, LINEAR), once.log_q(x_t, t, LINEAR), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1.0, 30.0, 300.0])
def test_energies_any_number_of_e_folds_apart_keep_their_guidance(spread, dtype, generator):
    """beta E spans up to 3,000: far more than exp can hold in either precision."""
    points = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    cloud = Cloud(points.numpy(), spread * torch.rand(6, generator=generator).double().numpy(), np.ones(6), 0.3)
    x_t = torch.randn(20, 2, generator=generator, dtype=dtype)
    fields = cloud.mixture().fields(x_t, 0.3, 10.0, LINEAR)
    tolerance = 1e-8 if dtype == torch.float64 else 1e-3
    torch.testing.assert_close(fields.energy_t.double(), cloud.energy_t(x_t.double(), 0.3, 10.0), rtol=tolerance, atol=tolerance)
    exact = -finite_differences(lambda x: cloud.energy_t(x, 0.3, 10.0), x_t.double(), 1e-4)
    assert_rows_close(fields.guidance.double(), exact, rtol=max(tolerance, 1e-6), atol=max(tolerance, 1e-6))


@pytest.mark.parametrize("reach", [300.0, 3000.0, 30_000.0])
@pytest.mark.parametrize("spread", [20.0, 45.0, 100.0, 700.0])
def test_float32_energies_keep_their_digits_far_from_the_data(spread, reach):
    """Where one point of six is the nearest by far E_t is its energy times beta, however large the log densities are."""
    angle = 2 * math.pi * torch.arange(6, dtype=torch.float64) / 6
    points = 2 * torch.stack([angle.cos(), angle.sin()], -1)
    cloud = Cloud(points.numpy(), spread * np.array([0.1, 1.0, 0.37, 0.0, 0.81, 0.55]), np.ones(6), 0.1)
    x_t = reach * points
    expected = cloud.energy_t(x_t, 0.1, 1.0)
    for value in (
        cloud.mixture().energy_t(x_t.float(), 0.1, 1.0, LINEAR),
        cloud.mixture().fields(x_t.float(), 0.1, 1.0, LINEAR)[2],
    ):
        torch.testing.assert_close(value.double(), expected, rtol=2e-6, atol=1e-5)


# -- gradients, on every toy -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", T)
def test_score_is_the_gradient_of_log_q(toy, t):
    x, truth = rows_of(toy.truth, t), toy.truth
    score = truth.score(x, t, LINEAR)
    sigma = float(LINEAR.sigma(t))
    assert_rows_close(score, autograd(lambda x: truth.log_q(x, t, LINEAR), x), rtol=1e-9, atol=1e-9 / sigma)
    numeric = finite_differences(lambda x: truth.log_q(x, t, LINEAR), x, 1e-3 * sigma)
    assert_rows_close(score, numeric, rtol=1e-7, atol=1e-8 / sigma)


@pytest.mark.parametrize("t", T)
def test_guidance_is_minus_the_gradient_of_energy_t(toy, t):
    x, truth = rows_of(toy.truth, t), toy.truth
    assert_is_exact_guidance(lambda x, t: truth.guidance(x, t, 5.0, LINEAR), lambda x: truth.energy_t(x, t, 5.0, LINEAR), x, t)
    by_autograd = -autograd(lambda x: truth.energy_t(x, t, 5.0, LINEAR), x)
    assert_rows_close(truth.guidance(x, t, 5.0, LINEAR), by_autograd, rtol=1e-9, atol=1e-9 / float(LINEAR.sigma(t)))


@pytest.mark.parametrize("t", T)
def test_mean_energy_guidance_is_minus_the_gradient_of_the_mean_energy(toy, t):
    x, truth = rows_of(toy.truth, t), toy.truth
    assert_is_exact_guidance(
        lambda x, t: truth.mean_energy_guidance(x, t, 5.0, LINEAR), lambda x: truth.mean_energy_t(x, t, 5.0, LINEAR), x, t
    )


def test_every_field_can_be_differentiated_again(toy):
    x = rows_of(toy.truth, 0.3)[:3].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: tuple(toy.truth.fields(x, 0.3, 2.0, LINEAR)), (x,), atol=1e-6)


def test_the_score_can_be_differentiated_twice(toy):
    x = rows_of(toy.truth, 0.3)[:2].requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: toy.truth.score(x, 0.3, LINEAR), (x,), atol=1e-6)


def test_the_gradient_of_the_clean_energy_is_its_gradient(toy):
    x = rows_of(toy.truth, 0.01)
    numeric = finite_differences(toy.energy, x, 1e-4)
    assert_rows_close(autograd(toy.energy, x), numeric, rtol=1e-5, atol=1e-6)


def test_the_clean_energy_can_be_differentiated_again():
    """DPS needs it where the points ask for gradients."""
    energy = toy_named("swissroll").energy
    x = torch.tensor([[1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    torch.testing.assert_close(curvature, torch.full((1, 2), -2 / 9, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def at_the_edges(name, t, dtype):
    """Points whose coordinates lie, to the bit, on edges of noised boxes or between them."""
    alpha = LINEAR.alpha(torch.tensor(t, dtype=torch.float64)).to(dtype)
    if name == "checkerboard":
        lines = torch.cat([alpha * torch.arange(-4, 6, 2).to(dtype), torch.tensor([0.3, -1.1], dtype=dtype)])
        return torch.cartesian_prod(lines, lines)
    c = toy_named(name).truth.components_at(alpha.double(), LINEAR.sigma_squared(t).double())
    places = alpha * c.mean[::60].to(dtype), alpha * c.half_width.to(dtype)
    return torch.cat([places[0] + sign * places[1] for sign in (-1, 1)])


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-7), (torch.float32, 3e-4)])
@pytest.mark.parametrize("t", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("name", ["checkerboard", "2spirals"])
def test_gradients_on_the_edges_of_boxes_are_those_beside_them(name, t, dtype, rtol):
    truth, x, sigma = toy_named(name).truth, at_the_edges(name, t, dtype), float(LINEAR.sigma(t))
    for energy, field in (
        (lambda x: truth.log_q(x, t, LINEAR), truth.score(x, t, LINEAR)),
        (lambda x: -truth.energy_t(x, t, 3.0, LINEAR), truth.guidance(x, t, 3.0, LINEAR)),
        (lambda x: -truth.mean_energy_t(x, t, 3.0, LINEAR), truth.mean_energy_guidance(x, t, 3.0, LINEAR)),
    ):
        numeric = finite_differences(energy, x.double(), 1e-3 * sigma)
        for value in (autograd(energy, x), field):
            assert_rows_close(value.double(), numeric, rtol=rtol, atol=rtol / sigma)


def test_second_derivatives_on_the_edges_of_boxes_are_those_beside_them():
    """By automatic differentiation twice, and of the closed form once: a curl or a divergence is built on these."""
    truth, x = toy_named("checkerboard").truth, at_the_edges("checkerboard", 0.3, torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(truth.log_q(x, 0.3, LINEAR).sum(), x, create_graph=True)
    for field in (slope, truth.score(x, 0.3, LINEAR)):
        (twice,) = torch.autograd.grad(field.sum(), x, retain_graph=True)
        numeric = finite_differences(lambda x: truth.score(x, 0.3, LINEAR).sum(-1), x.detach(), 1e-3)
        assert_rows_close(twice, numeric, rtol=1e-7, atol=1e-6)


def test_the_mean_energy_can_be_differentiated_twice_at_the_origin():
    truth, x = toy_named("swissroll").truth, torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: truth.mean_energy_t(x, 0.6, 2.0, LINEAR), (x,), atol=1e-6)


# -- Theorem 3.1 and its neighbours, on every toy ----------------------------------------------------------------------


@pytest.mark.parametrize("t", T)
@pytest.mark.parametrize("beta", [1.0, 10.0, 50.0])
def test_the_noised_target_is_q_t_times_exp_of_minus_e_t(toy, t, beta):
    x = torch.cat([rows_of(toy.truth, t), square_grid(9).reshape(-1, 2)])
    expected = toy.truth.log_q(x, t, LINEAR) - toy.truth.energy_t(x, t, beta, LINEAR) - toy.truth.log_partition(beta)
    torch.testing.assert_close(toy.truth.tilt(beta).log_q(x, t, LINEAR), expected, rtol=1e-8, atol=1e-7)


@pytest.mark.parametrize("t", T)
def test_the_score_of_the_noised_target_is_score_plus_guidance(toy, t):
    x, truth = rows_of(toy.truth, t), toy.truth
    guided = truth.score(x, t, LINEAR) + truth.guidance(x, t, 5.0, LINEAR)
    assert_rows_close(truth.tilt(5.0).score(x, t, LINEAR), guided, rtol=1e-8, atol=1e-9 / float(LINEAR.sigma(t)))


@pytest.mark.parametrize("t", T)
def test_energies_of_noisy_points_average_to_those_of_clean_ones(toy, t):
    """E over q_t of exp(-E_t) is the partition function at every t, and of the mean energy beta E[E]."""
    x = noisy_points(toy.truth, t, n=4000)
    _, energy = toy.sample(4000, generator=seeded(1), dtype=torch.float64)
    noisy = (-toy.truth.energy_t(x, t, 2.0, LINEAR)).exp(), toy.truth.mean_energy_t(x, t, 2.0, LINEAR)
    for there, here in zip(noisy, ((-2.0 * energy).exp(), 2.0 * energy), strict=True):
        assert_within_standard_errors(there.mean(), here.mean(), ((there.var() + here.var()) / 4000).sqrt())


@pytest.mark.parametrize("beta", [0.5, 5.0, 50.0])
@pytest.mark.parametrize("t", T)
def test_the_mean_energy_is_never_below_e_t(toy, t, beta):
    x = torch.cat([rows_of(toy.truth, t), square_grid(13).reshape(-1, 2)])
    gap = toy.truth.mean_energy_t(x, t, beta, LINEAR) - toy.truth.energy_t(x, t, beta, LINEAR)
    assert float(gap.min()) >= -1e-9 * beta


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_beta_zero_there_is_no_energy_and_no_guidance(toy, dtype):
    fields = toy.truth.fields(square_grid(9, dtype=dtype), 0.1, 0.0, LINEAR)
    rounding = 16 * torch.finfo(dtype).eps
    assert float(fields.energy_t.abs().max()) <= rounding
    assert bool((fields.guidance.norm(dim=-1) <= rounding * (1 + fields.score.norm(dim=-1))).all())


def test_e_t_tends_to_beta_times_the_energy_of_a_clean_point(toy):
    """Away from the edges of the checkerboard, where half the blur lies outside."""
    x, _ = toy.truth.sample(200, generator=seeded(2), dtype=torch.float64)
    x = x[(x.remainder(2) - 1).abs().amax(-1) < 0.9]
    torch.testing.assert_close(toy.truth.mean_energy_t(x, 1e-6, 1.0, LINEAR), toy.energy(x), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("t", T)
def test_the_posterior_mean_is_tweedie_s(toy, t):
    x = rows_of(toy.truth, t)
    by_score = convert(toy.truth.score(x, t, LINEAR), "score", "x0", x, t, LINEAR)
    torch.testing.assert_close(toy.truth.posterior_mean(x, t, LINEAR), by_score, rtol=1e-9, atol=1e-9)


# -- how it is called --------------------------------------------------------------------------------------------------


def test_fields_are_the_four_functions(toy):
    x, truth = rows_of(toy.truth, 0.1), toy.truth
    alone = (
        truth.log_q(x, 0.1, LINEAR),
        truth.score(x, 0.1, LINEAR),
        truth.energy_t(x, 0.1, 3.0, LINEAR),
        truth.guidance(x, 0.1, 3.0, LINEAR),
    )
    torch.testing.assert_close(tuple(truth.fields(x, 0.1, 3.0, LINEAR)), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_time_per_row_is_each_row_alone(toy, dtype):
    t = torch.tensor([[0.01, 0.05], [0.3, 1.0]], dtype=dtype)
    x = noisy_points(toy.truth, 0.3, n=4, dtype=dtype).reshape(2, 2, 2)
    together = toy.truth.fields(x, t, 3.0, LINEAR)
    tolerance = 1e-8 if dtype == torch.float64 else 3e-3
    for i in range(2):
        for j in range(2):
            alone = toy.truth.fields(x[i, j], t[i, j], 3.0, LINEAR)
            for whole, one in zip(together, alone, strict=True):
                torch.testing.assert_close(whole[i, j], one, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["log_q", "score", "posterior_mean", "energy_t", "guidance", "mean_energy_t"])
@pytest.mark.parametrize("batch", [(), (0,), (3,), (2, 3)])
def test_shape_and_dtype_follow_the_points(name, batch):
    mixture = Mixture.from_points(torch.zeros(2, 2), torch.arange(2.0))
    arguments = (3.0,) if "energy" in name or name == "guidance" else ()
    value = getattr(mixture, name)(torch.zeros(*batch, 2), 0.5, *arguments, LINEAR)
    assert value.shape == (batch if name in ("log_q", "energy_t", "mean_energy_t") else (*batch, 2))
    assert value.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_by_name(dtype):
    truth, x = toy_named("moons").truth, torch.zeros(3, 2, dtype=dtype)
    for call in (lambda: truth.log_q(x, 0.5, LINEAR), lambda: truth.energy_t(x, 0.5, 3.0, LINEAR), lambda: truth.energy(x)):
        with pytest.raises(ValueError, match="expected float32 or float64, got torch"):
            call()


@pytest.mark.parametrize("t", [0.1, torch.linspace(0.05, 1.0, 625, dtype=torch.float64)], ids=["scalar", "per row"])
def test_the_size_of_a_chunk_changes_nothing(toy, t, monkeypatch):
    x = square_grid(25).reshape(-1, 2)
    plain = toy.truth.fields(x, t, 3.0, LINEAR)
    monkeypatch.setitem(cepkit.truth.components.PAIRS_PER_CHUNK, "cpu", 60_000)
    torch.testing.assert_close(tuple(toy.truth.fields(x, t, 3.0, LINEAR)), tuple(plain), rtol=1e-12, atol=1e-12)


def test_a_mixture_that_is_asked_for_many_targets_keeps_the_last_few(generator):
    truth = Mixture.from_points(torch.randn(5, 2, generator=generator), torch.arange(5.0))
    first, x = weakref.ref(truth.tilt(0.5)), torch.zeros(3, 2)
    for beta in range(1, 101):
        truth.guidance(x, 0.5, float(beta), LINEAR)
    assert first() is None and truth.tilt(100.0) is truth.tilt(100.0)


def test_the_points_passed_in_are_not_kept_by_reference(generator):
    x, energy = torch.randn(5, 2, generator=generator, dtype=torch.float64), torch.arange(5.0, dtype=torch.float64)
    mixture, look = Mixture.from_points(x, energy), torch.zeros(1, 2, dtype=torch.float64)
    before = mixture.log_q(look, 0.2, LINEAR)
    x += 1.0
    torch.testing.assert_close(mixture.log_q(look, 0.2, LINEAR), before)


def test_nothing_passed_in_is_changed(toy):
    x, t = square_grid(5), torch.full((5, 5), 0.2)
    copies = x.clone(), t.clone()
    toy.truth.fields(x, t, 3.0, LINEAR)
    assert torch.equal(x, copies[0]) and torch.equal(t, copies[1])


# -- samples and masses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 3.0])
def test_mode_masses_sum_to_one(toy, beta):
    assert float(toy.truth.tilt(beta).mode_masses().sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("beta", [3.0, 20.0])
def test_samples_of_the_target_are_reweighted_samples_of_the_data(toy, beta):
    """Averages over p_0 by its own samples and by importance weights exp(-beta E) on the recipe's samples."""
    x, energy = toy.sample(400_000, generator=seeded(1), dtype=torch.float64)
    target, _ = toy.truth.tilt(beta).sample(100_000, generator=seeded(2), dtype=torch.float64)
    weight = (-beta * (energy - energy.min())).exp()
    for feature in (lambda x: x[:, 0], lambda x: x[:, 1], lambda x: (3 * x[:, 0]).cos(), lambda x: x.norm(dim=1)):
        value, here = feature(x), feature(target)
        mean = (weight * value).sum() / weight.sum()
        error = (weight * (value - mean)).square().sum().sqrt() / weight.sum()
        assert_within_standard_errors(mean, here.mean(), (error**2 + here.var() / len(here)).sqrt())


def test_the_same_generator_draws_the_same_samples(toy):
    first, second = (toy.truth.sample(50, generator=seeded(4)) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_the_log_partition_is_that_of_the_recipe(toy):
    _, energy = toy.sample(200_000, generator=seeded(3), dtype=torch.float64)
    value = (-2.0 * energy).exp()
    partition = torch.tensor(toy.truth.log_partition(2.0), dtype=torch.float64).exp()
    assert_within_standard_errors(partition, value.mean(), value.std() / len(value) ** 0.5)


# -- bad input ---------------------------------------------------------------------------------------------------------

X = torch.zeros(3, 2)
BAD = {
    "three coordinates": ({"x_t": torch.zeros(3, 3)}, "x_t", r"shape \(..., 2\), got \(3, 3\)"),
    "an array": ({"x_t": X.numpy()}, "x_t", "a torch.Tensor"),
    "whole numbers": ({"x_t": X.long()}, "x_t", "float32 or float64"),
    "NaN": ({"x_t": X + math.nan}, "x_t", "finite values, got 6 NaN"),
    "infinite": ({"x_t": X + math.inf}, "x_t", "finite values, got 6 NaN or infinite"),
    "before the data": ({"t": -0.1}, "t", r"times in \[0, 1\]"),
    "after the noise": ({"t": 1.1}, "t", r"times in \[0, 1\]"),
    "NaN time": ({"t": math.nan}, "t", r"times in \[0, 1\]"),
    "no noise": ({"t": 0.0}, "t", r"times in \(0, 1\]"),
    "one row without noise": ({"t": torch.tensor([0.0, 0.5, 0.5])}, "t", r"times in \(0, 1\]"),
    "two times for three rows": ({"t": torch.tensor([0.1, 0.5])}, "t", r"a scalar or shape \(3,\)"),
    "a column of times": ({"t": torch.full((3, 1), 0.5)}, "t", r"a scalar or shape \(3,\)"),
    "negative beta": ({"beta": -1.0}, "beta", "a finite number of at least 0, got -1"),
    "infinite beta": ({"beta": math.inf}, "beta", "a finite number of at least 0, got inf"),
    "NaN beta": ({"beta": math.nan}, "beta", "a finite number of at least 0, got nan"),
    "beta in words": ({"beta": "3"}, "beta", "a finite number of at least 0, got '3'"),
    "a beta per row": ({"beta": torch.ones(3)}, "beta", "a finite number of at least 0, got tensor"),
}


@pytest.mark.parametrize("method", ["energy_t", "guidance", "fields", "mean_energy_t", "mean_energy_guidance", "log_q"])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case, method):
    changed, argument, expected = BAD[case]
    call = {"x_t": X, "t": 0.5, "beta": 3.0, "schedule": LINEAR} | changed
    if method == "log_q":
        del call["beta"]
        method = "tilt" if argument == "beta" else method
        call = {"beta": changed["beta"]} if argument == "beta" else call
    with pytest.raises(ValueError, match=f"^{argument}: expected {expected}"):
        getattr(toy_named("moons").truth, method)(**call)


@pytest.mark.parametrize("beta", [112.5, 200.0])
def test_a_beta_too_large_for_the_swissroll_is_refused_with_the_limit(beta):
    """1 - |x|^2 / 9 falls without bound: beyond 9 / (2 std^2) = 112.5 the target has no finite mass."""
    truth = toy_named("swissroll").truth
    for call in (truth.tilt, truth.log_partition, lambda beta: truth.energy_t(X, 0.5, beta, LINEAR)):
        with pytest.raises(ValueError, match=rf"^beta: expected less than 112\.5, .*got {beta:g}"):
            call(beta)
