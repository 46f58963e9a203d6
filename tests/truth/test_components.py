"""Components draw what they say, and tilting them is multiplying the density by exp(-beta E)."""

from dataclasses import replace

import pytest
import torch
from checks import assert_within_standard_errors, gaussians_log_q

from cepkit.truth.components import Components


def two_blobs(quadratic=0.0, half_width=None):
    return Components(
        log_weight=torch.tensor([0.25, 0.75], dtype=torch.float64).log(),
        mean=torch.tensor([[1.0, 0.0], [-0.5, 2.0]], dtype=torch.float64),
        std=torch.tensor([0.3, 0.6], dtype=torch.float64),
        energy=torch.tensor([0.2, 1.1], dtype=torch.float64),
        mode=torch.tensor([0, 1]),
        half_width=half_width,
        quadratic=quadratic,
    )


def log_density(components, x):
    """log q_0 in plain formulas, one component at a time."""
    parts = [
        gaussians_log_q(x, 0.0, c_mean[None].numpy(), float(c_std), float(c_weight))
        for c_weight, c_mean, c_std in zip(components.log_weight, components.mean, components.std, strict=True)
    ]
    return torch.logsumexp(torch.stack([torch.as_tensor(part) for part in parts]), 0)


@pytest.mark.parametrize("quadratic", [-0.4, 0.7])
def test_tilting_one_component_multiplies_its_density_by_exp_minus_beta_energy(quadratic, generator):
    one = two_blobs(quadratic)
    one = replace(one, **{name: getattr(one, name)[:1] for name in ("log_weight", "mean", "std", "energy", "mode")})
    x = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    energy = one.energy[0] + quadratic * (x**2).sum(-1)
    torch.testing.assert_close(log_density(one.tilt(2.0), x), log_density(one, x) - 2.0 * energy)


@pytest.mark.parametrize("quadratic", [0.0, -0.1, 0.7])
def test_tilting_twice_is_tilting_by_the_sum(quadratic):
    once, twice = two_blobs(quadratic).tilt(3.0), two_blobs(quadratic).tilt(1.0).tilt(2.0)
    for name in ("log_weight", "mean", "std", "energy"):
        torch.testing.assert_close(getattr(twice, name), getattr(once, name))


def test_tilting_by_zero_changes_nothing():
    torch.testing.assert_close(two_blobs(0.7).tilt(0.0).log_weight, two_blobs(0.7).log_weight)


def test_a_tilt_without_finite_mass_is_refused_with_the_limit():
    with pytest.raises(ValueError, match=r"^beta: expected less than 2\.77778, .* got 3"):
        two_blobs(-0.5).tilt(3.0)


def test_normalised_weights_sum_to_one():
    assert float(two_blobs().tilt(5.0).normalised().log_weight.exp().sum()) == pytest.approx(1.0, abs=1e-14)


def test_moving_to_float32_leaves_the_original_alone():
    original = two_blobs(half_width=torch.ones(2, dtype=torch.float64))
    moved = original.to(torch.zeros(1))
    assert moved.mean.dtype == moved.half_width.dtype == torch.float32 and original.mean.dtype == torch.float64


@pytest.mark.parametrize("half_width", [None, torch.tensor([0.5, 1.5], dtype=torch.float64)], ids=["gaussian", "box"])
def test_draws_have_the_mean_and_variance_of_the_mixture(half_width, generator):
    n, c = 200_000, two_blobs(half_width=half_width)
    x, _ = c.draw(n, generator)
    weight = c.log_weight.exp()[:, None]
    box = 0.0 if half_width is None else half_width**2 / 3
    mean = (weight * c.mean).sum(0)
    variance = (weight * (c.mean**2 + c.std[:, None] ** 2 + box)).sum(0) - mean**2
    assert_within_standard_errors(mean, x.mean(0), x.std(0) / n**0.5)
    assert_within_standard_errors(variance, x.var(0), ((x - mean) ** 2).std(0) / n**0.5)


def test_a_drawn_energy_belongs_to_its_point(generator):
    c = replace(two_blobs(quadratic=0.5), std=torch.zeros(2, dtype=torch.float64))
    x, energy = c.draw(100, generator)
    which = (x == c.mean[1]).all(-1).long()
    torch.testing.assert_close(energy, c.energy[which] + 0.5 * (x**2).sum(-1))
