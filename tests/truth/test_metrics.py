"""The measures measure: checked by hand, on known shifts, and for bias."""

import itertools
import math

import numpy as np
import pytest
import torch
from checks import assert_within_standard_errors, seeded, toy_named
from hypothesis import given
from hypothesis import strategies as st

from cepkit.diffusion.guidance import ZeroGuidance
from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.components import Components
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactGuidance, MeanEnergyGuidance
from cepkit.truth.metrics import (
    PROBE_TIMES,
    ErrorProbe,
    guidance_error,
    kernel_bandwidths,
    mmd2,
    mmd2_null_band,
    mode_masses,
    reference_size,
    relative_error,
    sliced_wasserstein,
    total_variation,
)
from cepkit.truth.own_points import from_points

LINEAR = VPLinear()


def normal(n, dim=2, seed=0, dtype=torch.float64):
    return torch.randn(n, dim, generator=seeded(seed), dtype=dtype)


# -- MMD ---------------------------------------------------------------------------------------------------------------


def test_mmd2_of_five_points_by_hand():
    x, y, h = [(0.0, 0.0), (1.0, 0.0)], [(0.0, 1.0), (2.0, 2.0), (-1.0, 0.5)], 0.8

    def k(a, b):
        return math.exp(-(math.dist(a, b) ** 2) / (2 * h**2))

    within_x = sum(k(a, b) for a, b in itertools.permutations(x, 2)) / 2
    within_y = sum(k(a, b) for a, b in itertools.permutations(y, 2)) / 6
    between = sum(k(a, b) for a in x for b in y) / 6
    x, y, h = (torch.tensor(values, dtype=torch.float64) for values in (x, y, [h]))
    value = mmd2(x, y, bandwidths=h)
    assert float(value) == pytest.approx(within_x + within_y - 2 * between, rel=1e-12)


def test_mmd2_averages_over_its_bandwidths():
    x, y = normal(20), normal(30, seed=1)
    h = torch.tensor([0.3, 0.7, 2.0], dtype=torch.float64)
    alone = torch.stack([mmd2(x, y, bandwidths=width[None]) for width in h])
    torch.testing.assert_close(mmd2(x, y, bandwidths=h), alone.mean())


def test_mmd2_is_unbiased():
    h = torch.tensor([0.5, 1.0], dtype=torch.float64)
    values = torch.stack([mmd2(normal(8, seed=2 * k), normal(11, seed=2 * k + 1), bandwidths=h) for k in range(2000)])
    assert_within_standard_errors(torch.zeros(()), values.mean(), values.std() / 2000**0.5)
    assert float(values.min()) < 0


def test_mmd2_tends_to_its_closed_form_for_two_gaussians():
    """MMD^2 of N(0, I) and N(m, I) under a Gaussian kernel: 2 c (1 - exp(-|m|^2 / 2 (h^2 + 2))), c = h^2 / (h^2 + 2)."""
    shift, h = torch.tensor([0.6, -0.3], dtype=torch.float64), 0.9
    exact = 2 * h**2 / (h**2 + 2) * (1 - math.exp(-float(shift @ shift) / (2 * (h**2 + 2))))
    bandwidths = torch.tensor([h], dtype=torch.float64)
    values = torch.stack(
        [mmd2(normal(200, seed=2 * k), normal(200, seed=2 * k + 1) + shift, bandwidths=bandwidths) for k in range(50)]
    )
    assert_within_standard_errors(torch.tensor(exact), values.mean(), values.std() / 50**0.5)


def coarse(points):
    """The same points on a lattice of 1/512, so that float32 moves them by whole numbers without rounding."""
    return (points * 512).round().float() / 512


@given(st.sampled_from([20, 10_000]), st.integers(-10_000, 10_000), st.integers(0, 1000))
def test_moving_both_sets_changes_no_metric(first, second, seed):
    x, y = coarse(normal(60, seed=seed)), coarse(1.2 * normal(50, seed=seed + 1))
    shift = torch.tensor([float(first), float(second)])
    for metric in (
        mmd2,
        sliced_wasserstein,
        lambda x, y: kernel_bandwidths(y),
        lambda x, y: torch.tensor(mmd2_null_band(x, y, permutations=20, generator=seeded())),
    ):
        torch.testing.assert_close(metric(x + shift, y + shift), metric(x, y), rtol=1e-5, atol=1e-6)


@given(st.integers(-10_000, 10_000))
def test_moving_samples_and_mixture_changes_no_mode_mass(shift):
    points, x = coarse(normal(4)), coarse(normal(30, seed=1))

    def mixture(shift):
        places = points.double() + shift
        c = Components(torch.zeros(4).double(), places, torch.tensor([0.5]).double(), torch.zeros(4).double(), torch.arange(4))
        return Mixture(c)

    torch.testing.assert_close(mode_masses(x + shift, mixture(shift)), mode_masses(x, mixture(0)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shift", [20.0, 1e4])
def test_mmd2_of_nearby_sets_far_from_the_origin_is_that_in_float64(shift):
    """What is left between two sets of one distribution is small beside the kernels: their digits must not be lost."""
    x, y = coarse(normal(1000)), coarse(normal(1000, seed=1))
    exact = float(mmd2(x.double(), y.double()))
    assert float(mmd2(x + shift, y + shift)) == pytest.approx(exact, abs=2e-7)


def test_mmd2_in_float32_is_that_in_float64():
    x, y = normal(1500), normal(1500, seed=1) * 1.05
    assert float(mmd2(x.float(), y.float())) == pytest.approx(float(mmd2(x, y)), abs=1e-6)


def test_swapping_the_sets_leaves_mmd2():
    x, y = normal(20), normal(30, seed=1)
    h = kernel_bandwidths(x)
    torch.testing.assert_close(mmd2(x, y, bandwidths=h), mmd2(y, x, bandwidths=h))


def test_bandwidths_halve_from_half_the_spread():
    x = normal(5000) * 3 + 10
    torch.testing.assert_close(
        kernel_bandwidths(x), torch.tensor([1.5, 0.75, 0.375, 0.1875], dtype=torch.float64), rtol=0.03, atol=0
    )


def test_the_null_band_holds_pairs_from_one_distribution():
    x, y = normal(150), normal(150, seed=1)
    band = mmd2_null_band(x, y, generator=seeded())
    h = kernel_bandwidths(y)
    values = torch.stack([mmd2(normal(150, seed=k), normal(150, seed=k + 1000), bandwidths=h) for k in range(2, 202)])
    inside = float(((values >= band.low) & (values <= band.high)).double().mean())
    assert 0.88 <= inside <= 0.99 and band.low < band.median < band.high <= band.largest


@pytest.mark.slow
def test_the_null_band_holds_a_third_set_as_often_as_it_says():
    """A band of two exact sets is for the MMD^2 of other samples, which saw neither: of exact ones 93 to 97 % lie inside."""
    generator, target, trials = seeded(), toy_named("8gaussians").truth.tilt(3.0), 1200
    inside = above = 0
    for _ in range(trials):
        x, y, z = (target.sample(100, generator=generator)[0] for _ in range(3))
        band, value = mmd2_null_band(x, y, generator=generator), float(mmd2(z, x))
        inside += band.low <= value <= band.high
        above += value > band.largest
    assert 0.93 < inside / trials < 0.97 and above / trials < 0.02


def test_the_null_band_does_not_hold_a_shift():
    x, y = normal(400), normal(400, seed=1)
    assert float(mmd2(x + 0.4, y)) > mmd2_null_band(x, y, generator=seeded()).largest


def test_the_null_band_is_that_of_explicit_permutations():
    """The one matrix product per chunk against the definition, on the same permutations."""
    x, y = normal(6), normal(9, seed=1)
    h = kernel_bandwidths(y)
    pool, generator, values = torch.cat([x, y]), seeded(5), []
    for _ in range(40):
        order = torch.randperm(15, generator=generator)
        values.append(mmd2(pool[order[:6]], pool[order[6:]], bandwidths=h))
    band = mmd2_null_band(x, y, permutations=40, generator=seeded(5))
    levels = torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64)
    expected = [*torch.quantile(torch.stack(values), levels).tolist(), float(max(values))]
    assert list(band) == pytest.approx(expected, abs=1e-12)


# -- sliced Wasserstein ------------------------------------------------------------------------------------------------


def test_a_shift_in_one_dimension_is_its_own_distance():
    x = normal(1000, dim=1)
    assert float(sliced_wasserstein(x, x + 0.7)) == pytest.approx(0.7, rel=1e-12)


def test_a_shift_in_two_dimensions_is_seen_at_its_mean_projection():
    """The mean of |cos| over directions is 2 / pi."""
    x = normal(200)
    value = sliced_wasserstein(x, x + torch.tensor([3.0, 4.0], dtype=torch.float64))
    assert float(value) == pytest.approx(5 * 2 / math.pi, rel=0.1)


def test_one_dimension_agrees_with_scipy_for_sets_of_one_size():
    from scipy.stats import wasserstein_distance

    x, y = normal(300, dim=1), normal(300, dim=1, seed=1) * 2 + 0.3
    expected = wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert float(sliced_wasserstein(x, y)) == pytest.approx(expected, rel=1e-12)


def test_sets_of_different_sizes_are_compared_by_their_quantiles():
    x = normal(500, dim=1)
    doubled = x.repeat(2, 1)
    assert float(sliced_wasserstein(x, doubled + 0.5)) == pytest.approx(0.5, rel=1e-12)


def test_sliced_wasserstein_is_replayed_without_a_generator():
    x, y = normal(50), normal(50, seed=1)
    assert torch.equal(sliced_wasserstein(x, y), sliced_wasserstein(x, y))


@given(st.integers(0, 1000), st.floats(0.1, 5.0))
def test_sliced_wasserstein_scales_with_the_points(seed, factor):
    x, y = normal(20, seed=seed), normal(20, seed=seed + 1)
    torch.testing.assert_close(sliced_wasserstein(factor * x, factor * y), factor * sliced_wasserstein(x, y))


# -- fields, masses and weights ----------------------------------------------------------------------------------------


def test_the_exact_field_has_error_zero(toy):
    assert float(guidance_error(ExactGuidance(toy.truth, 3.0, LINEAR), toy.truth, 0.2, 3.0, LINEAR, generator=seeded())) == 0.0


def test_no_guidance_has_error_one(toy):
    assert float(guidance_error(ZeroGuidance(), toy.truth, 0.2, 3.0, LINEAR, generator=seeded())) == 1.0


def test_twice_the_field_has_error_one_and_a_tenth_more_a_tenth(toy):
    exact = ExactGuidance(toy.truth, 3.0, LINEAR)
    for factor, off in ((2.0, 1.0), (1.1, 0.1), (-1.0, 2.0)):
        value = guidance_error(
            lambda x, t, f=factor: f * exact(x, t), toy.truth, 0.2, 3.0, LINEAR, generator=seeded(), dtype=torch.float64
        )
        assert float(value) == pytest.approx(off, rel=1e-9)


def test_relative_error_by_hand():
    estimate, exact = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    assert float(relative_error(estimate, exact, 100 * exact)) == pytest.approx(math.sqrt(2) / 2)


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-4])
def test_the_error_beside_an_exact_field_that_vanishes_is_relative_to_the_score(size):
    score = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    exact = size * score
    assert float(relative_error(exact + 0.01 * score, exact, score)) == pytest.approx(0.01, rel=1e-3)
    weight = torch.tensor([1.0, 0.0])
    assert float(reference_size(exact, score, weight)) == 5.0 and float(reference_size(0.1 * score, score, weight)) == 0.5


def test_where_the_energy_is_constant_a_good_network_has_a_small_error():
    """Nothing guides there, and the learned field is as small as it can be beside the score."""
    x = torch.randn(200, 2, generator=seeded())
    truth = from_points(x, torch.full((200,), 7.0), std=0.3).truth
    probe = ErrorProbe(truth, 3.0, LINEAR, n=500, generator=seeded())
    assert float(probe(lambda x_t, t: torch.zeros_like(x_t)).max()) < 1e-6
    nearly = probe(lambda x_t, t: 0.02 * truth.score(x_t, t, LINEAR))
    torch.testing.assert_close(nearly, torch.full_like(nearly, 0.02), rtol=1e-3, atol=0)


def test_the_error_is_measured_where_the_target_is(toy):
    """The points handed to the field follow p_t."""
    seen = []

    def watch(x_t, t):
        seen.append(x_t)
        return torch.zeros_like(x_t)

    guidance_error(watch, toy.truth, 0.2, 5.0, LINEAR, n=4000, generator=seeded(), dtype=torch.float64)
    target, _ = toy.truth.tilt(5.0).sample(4000, generator=seeded(1), dtype=torch.float64)
    mean, here = float(LINEAR.alpha(0.2)) * target.mean(0), seen[0]
    assert_within_standard_errors(mean, here.mean(0), ((here.var(0) + target.var(0)) / 4000).sqrt())


def test_a_probe_measures_what_guidance_error_does_at_each_time():
    truth, exact = toy_named("moons").truth, ExactGuidance(toy_named("moons").truth, 2.0, LINEAR)

    def field(x_t, t):
        return 1.3 * exact(x_t, t)

    probe = ErrorProbe(truth, 3.0, LINEAR, times=(0.1, 0.5), n=300, generator=seeded())
    first = guidance_error(field, truth, 0.1, 3.0, LINEAR, n=300, generator=seeded())
    assert probe.times == (0.1, 0.5) and probe(field).shape == (2,)
    torch.testing.assert_close(probe(field)[0], first)
    assert probe(ExactGuidance(truth, 3.0, LINEAR)).tolist() == [0.0, 0.0] and probe(ZeroGuidance()).tolist() == [1.0, 1.0]


def test_a_probe_knows_the_error_of_the_exact_mean_energy():
    truth = toy_named("moons").truth
    probe = ErrorProbe(truth, 3.0, LINEAR, times=(0.1, 0.5), n=300, generator=seeded())
    torch.testing.assert_close(probe.mean_energy, probe(MeanEnergyGuidance(truth, 3.0, LINEAR)))


def test_a_probe_looks_at_the_same_points_each_time_and_keeps_no_graph():
    seen = []

    def watch(x_t, t):
        seen.append(x_t)
        return x_t.clone().requires_grad_()

    probe = ErrorProbe(toy_named("moons").truth, 3.0, LINEAR, n=50, generator=seeded())
    assert not probe(watch).requires_grad and torch.equal(probe(watch), probe(watch))
    assert probe.times == PROBE_TIMES and len(seen) == 3 * len(PROBE_TIMES)
    assert all(torch.equal(a, b) for a, b in zip(seen[:6], seen[6:12], strict=True))
    other = ErrorProbe(toy_named("moons").truth, 3.0, LINEAR, n=50, generator=seeded(1))
    assert not torch.equal(other(watch), probe(watch))


@pytest.mark.parametrize("beta", [0.0, 3.0])
def test_mode_masses_of_samples_are_those_of_their_mixture(toy, beta):
    target = toy.truth.tilt(beta)
    x, _ = target.sample(3000, generator=seeded(), dtype=torch.float64)
    probability = target.mode_probability(x)
    error = probability.std(0) / len(x) ** 0.5 + 1e-9
    assert_within_standard_errors(target.mode_masses(), mode_masses(x, target), error)


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=6).filter(lambda w: sum(w) > 0.1))
def test_total_variation_is_the_largest_difference_in_probability_of_an_event(weights):
    p = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    q = p.flip(0)
    events = itertools.product([0.0, 1.0], repeat=len(p))
    largest = max(float((torch.tensor(event, dtype=torch.float64) * (p - q)).sum()) for event in events)
    assert float(total_variation(p, q)) == pytest.approx(largest, abs=1e-12)


# -- bad input ---------------------------------------------------------------------------------------------------------

X = torch.zeros(3, 2)
BAD = {
    "mmd2 dimension": (lambda: mmd2(X, torch.zeros(3, 3)), "y"),
    "mmd2 dtype": (lambda: mmd2(X, X.double()), "y"),
    "mmd2 one point": (lambda: mmd2(X[:1], X), "x"),
    "mmd2 shape": (lambda: mmd2(torch.zeros(3, 3, 2), X), "x"),
    "mmd2 NaN": (lambda: mmd2(X, X + math.nan), "y"),
    "mmd2 array": (lambda: mmd2(np.zeros((3, 2)), X), "x"),
    "band permutations": (lambda: mmd2_null_band(X, X, permutations=0), "permutations"),
    "band NaN": (lambda: mmd2_null_band(X + math.nan, X), "x"),
    "sliced dimension": (lambda: sliced_wasserstein(X, torch.zeros(3, 3)), "y"),
    "sliced dtype": (lambda: sliced_wasserstein(X, X.double()), "y"),
    "masses dimension": (lambda: mode_masses(torch.zeros(3, 3), toy_named("moons").truth), "x"),
    "variation shape": (lambda: total_variation(torch.ones(2), torch.ones(3)), "p"),
    "relative shape": (lambda: relative_error(X[:1], X, X), "estimate"),
    "field shape": (lambda: guidance_error(lambda x, t: x[:1], toy_named("moons").truth, 0.2, 3.0, LINEAR), "field"),
    "field points": (lambda: guidance_error(ZeroGuidance(), toy_named("moons").truth, 0.2, 3.0, LINEAR, n=0), "n"),
    "probe time zero": (lambda: ErrorProbe(toy_named("moons").truth, 3.0, LINEAR, times=(0.0,)), "times"),
    "probe time": (lambda: ErrorProbe(toy_named("moons").truth, 3.0, LINEAR, times=(0.1, 1.1)), "times"),
    "probe points": (lambda: ErrorProbe(toy_named("moons").truth, 3.0, LINEAR, n=0), "n"),
    "probe beta": (lambda: ErrorProbe(toy_named("moons").truth, -1.0, LINEAR), "beta"),
    "field beta": (lambda: guidance_error(ZeroGuidance(), toy_named("moons").truth, 0.2, -1.0, LINEAR), "beta"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case):
    make, argument = BAD[case]
    with pytest.raises(ValueError, match=f"^{argument}: expected .*got"):
        make()


@pytest.mark.parametrize("field", [lambda x, t: x[:, :1], lambda x, t: None, lambda x: x, lambda x, t: x.to(torch.complex64)])
def test_an_error_is_taken_of_fields_only(field):
    with pytest.raises(ValueError, match="^field: expected .*got"):
        guidance_error(field, toy_named("moons").truth, 0.3, 1.0, VPLinear(), n=20)
