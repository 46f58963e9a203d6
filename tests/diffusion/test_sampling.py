"""Samplers converge at their order on a Gaussian, replay, and draw the right distribution on every toy."""

import itertools
import math

import pytest
import torch
from checks import assert_within_standard_errors, seeded, toy_named
from gaussian_flow import GAUSSIAN, MEAN, STD, error, measured_order, variance

from cepkit.diffusion.denoisers import FunctionDenoiser
from cepkit.diffusion.guidance import Guided
from cepkit.diffusion.process import PARAMETRISATIONS
from cepkit.diffusion.sampling import (
    METHODS,
    SPACINGS,
    ancestral_step,
    ddim_step,
    initial_noise,
    sample,
    sampling_steps,
    time_grid,
    walk,
)
from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactDenoiser, ExactGuidance, MeanEnergyGuidance
from cepkit.truth.metrics import mmd2, mmd2_null_band

LINEAR = VPLinear()


# -- order of convergence ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("method", "low", "high"), [("ddim", 0.85, 1.2), ("dpmpp2m", 1.8, 2.3)])
def test_order_of_convergence_on_a_gaussian(method, low, high, spacing):
    assert low < measured_order(LINEAR, (8, 16, 32, 64, 128), method=method, spacing=spacing) < high


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("method", "low", "high"), [("ddim", 0.85, 1.2), ("dpmpp2m", 1.8, 2.3)])
def test_order_of_convergence_under_the_cosine_schedule(method, low, high, spacing):
    assert low < measured_order(VPCosine(), (32, 64, 128), method=method, spacing=spacing) < high


def test_a_multistep_extrapolates_by_the_ratio_of_its_step_sizes():
    """Lu et al. 2022, algorithm 2, at uneven times: (1 + 1/2r) x0_hat - (1/2r) x0_hat_before with r = h_before / h."""
    times, predictions = torch.tensor([1.0, 0.8, 0.3], dtype=torch.float64), iter((1.0, 3.0))
    denoiser = FunctionDenoiser(lambda x_t, t: torch.full_like(x_t, next(predictions)), LINEAR, "x0")
    alpha, sigma = LINEAR.alpha(times), LINEAR.sigma(times)
    h = (alpha / sigma).log().diff()
    half = 0.5 * h[1] / h[0]
    *_, middle, last = (step.x for step in walk(denoiser, torch.ones(1, 1, dtype=torch.float64), times))
    expected = sigma[2] / sigma[1] * middle - alpha[2] * torch.expm1(-h[1]) * ((1 + half) * 3.0 - half * 1.0)
    torch.testing.assert_close(last, expected)


@pytest.mark.parametrize("method", ["ddim", "dpmpp2m"])
def test_down_to_the_data_the_error_is_small(method, any_schedule):
    assert error(any_schedule, 400, t_end=1e-3, method=method) < (5e-3 if method == "ddim" else 1e-4)


@pytest.mark.parametrize("method", ["ddim", "dpmpp2m"])
def test_one_point_of_data_is_reached_exactly_in_any_number_of_steps(method):
    """With a constant x0_hat both updates are exact: x_s = alpha_s m + (sigma_s / sigma_t)(x_t - alpha_t m)."""
    x = torch.randn(5, 2, generator=seeded(), dtype=torch.float64)
    point = Mixture.from_points(MEAN, torch.zeros(1))
    for step in sampling_steps(ExactDenoiser(point, LINEAR), x, steps=3, method=method):
        shrink = LINEAR.sigma(step.t) / LINEAR.sigma(1.0)
        expected = LINEAR.alpha(step.t) * MEAN + shrink * (x - LINEAR.alpha(1.0) * MEAN)
        torch.testing.assert_close(step.x, expected, rtol=1e-9, atol=1e-9)


def test_the_sde_reproduces_the_gaussian(any_schedule):
    n, denoiser = 20_000, ExactDenoiser(GAUSSIAN, any_schedule)
    x = sample(denoiser, (n, 2), steps=400, method="sde", generator=seeded(1), dtype=torch.float64)
    assert_within_standard_errors(MEAN[0], x.mean(0), STD / math.sqrt(n))
    torch.testing.assert_close(x.std(0), torch.full((2,), STD, dtype=torch.float64), rtol=0.02, atol=0)


def test_the_sde_s_variance_is_wrong_by_half_with_twice_the_steps():
    """Order 1: for Gaussian data every step is linear, so the variance follows from two runs on known points."""
    denoiser, errors = ExactDenoiser(GAUSSIAN, LINEAR), []
    for steps in (50, 100, 200):
        spread = torch.tensor(1.0, dtype=torch.float64)
        times = time_grid(LINEAR, steps)
        for t, s in itertools.pairwise(times):
            pull = LINEAR.alpha(t) * STD**2 / variance(LINEAR, t)  # d x0_hat / d x_t
            fresh = 1 - (LINEAR.alpha(t) * LINEAR.sigma(s) / (LINEAR.alpha(s) * LINEAR.sigma(t))) ** 2
            keep = LINEAR.alpha(t) / LINEAR.alpha(s) * (LINEAR.sigma(s) / LINEAR.sigma(t)) ** 2
            spread = (keep + LINEAR.alpha(s) * fresh * pull) ** 2 * spread + LINEAR.sigma(s) ** 2 * fresh
        errors.append(float(spread - STD**2))
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.15) and errors[1] / errors[2] == pytest.approx(2, rel=0.1)
    x = sample(denoiser, (100_000, 2), steps=50, method="sde", generator=seeded(2), dtype=torch.float64)
    assert_within_standard_errors(torch.tensor(STD**2 + errors[0]), x.var(0), STD**2 * math.sqrt(2 / 100_000))


# -- single steps ------------------------------------------------------------------------------------------------------


def test_a_ddim_step_keeps_the_denoised_point_and_the_noise(any_schedule):
    x0, eps = torch.randn(2, 5, 2, generator=seeded(), dtype=torch.float64)
    x_t, x_s = (any_schedule.alpha(t) * x0 + any_schedule.sigma(t) * eps for t in (0.7, 0.2))
    torch.testing.assert_close(ddim_step(x_t, x0, 0.7, 0.2, any_schedule), x_s)


def test_an_ancestral_step_is_bayes_rule(any_schedule):
    """q(x_s | x_t, x_0) from the two Gaussians q(x_t | x_s) and q(x_s | x_0)."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = ((any_schedule.alpha(t), any_schedule.sigma(t)) for t in (0.7, 0.2))
    slope = alpha_t / alpha_s
    added = sigma_t**2 - slope**2 * sigma_s**2
    precision = 1 / sigma_s**2 + slope**2 / added
    x_t, x0 = torch.randn(2, 5, 2, generator=seeded(), dtype=torch.float64)
    expected = (alpha_s * x0 / sigma_s**2 + slope * x_t / added) / precision
    noise = torch.randn(5, 2, generator=seeded(1), dtype=torch.float64) / precision.sqrt()
    torch.testing.assert_close(ancestral_step(x_t, x0, 0.7, 0.2, any_schedule, generator=seeded(1)), expected + noise)


@pytest.mark.parametrize("step", [ddim_step, ancestral_step])
def test_a_step_with_one_time_per_row_is_each_row_alone(step):
    x_t, x0 = torch.randn(2, 2, 2, generator=seeded(), dtype=torch.float64)
    t, s = torch.tensor([0.9, 0.4], dtype=torch.float64), torch.tensor([0.3, 0.1], dtype=torch.float64)
    noise = {} if step is ddim_step else {"generator": seeded(1)}
    together = step(x_t, x0, t, s, LINEAR, **noise)
    generator = seeded(1)
    noise = {} if step is ddim_step else {"generator": generator}
    alone = [step(x_t[i : i + 1], x0[i : i + 1], t[i], s[i], LINEAR, **noise) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("step", [ddim_step, ancestral_step])
def test_a_step_down_to_the_data_is_the_denoised_point(step):
    x_t, x0 = torch.randn(2, 5, 2, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(step(x_t, x0, 0.5, 0.0, LINEAR), x0)


@pytest.mark.parametrize("s", [0.6, torch.tensor([0.1, 0.6])])
@pytest.mark.parametrize("step", [ddim_step, ancestral_step])
def test_a_step_goes_towards_the_data(step, s):
    x = torch.zeros(2, 2)
    with pytest.raises(ValueError, match="^s: expected .*got"):
        step(x, x, 0.5, s, LINEAR)


# -- the toys ----------------------------------------------------------------------------------------------------------


def compare(denoiser, target, seed=0):
    """MMD^2 of 2,000 samples to exact ones, and the null band of two exact sets of that size."""
    x = sample(denoiser, (2000, 2), generator=seeded(seed))
    exact, more = (target.sample(2000, generator=seeded(seed + k))[0] for k in (1, 2))
    band = mmd2_null_band(exact, more, permutations=100, generator=seeded(seed + 3))
    return float(mmd2(x, exact)), band


def test_unguided_samples_cannot_be_told_from_the_data(toy):
    value, band = compare(ExactDenoiser(toy.truth, LINEAR), toy.truth)
    assert value <= band.high


@pytest.mark.parametrize("beta", [3.0, 10.0])
def test_exactly_guided_samples_cannot_be_told_from_the_target(toy, beta):
    guided = Guided(ExactDenoiser(toy.truth, LINEAR), ExactGuidance(toy.truth, beta, LINEAR))
    value, band = compare(guided, toy.truth.tilt(beta))
    assert value <= band.high


WRONG = {
    "no guidance": lambda truth, denoiser: denoiser,
    "mean energy": lambda truth, denoiser: Guided(denoiser, MeanEnergyGuidance(truth, 3.0, LINEAR)),
    "scale 3 at beta 1": lambda truth, denoiser: Guided(denoiser, ExactGuidance(truth, 1.0, LINEAR), 3.0),
    "sign flipped": lambda truth, denoiser: Guided(denoiser, ExactGuidance(truth, 3.0, LINEAR), -1.0),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrongly_guided_samples_are_told_from_the_target(wrong):
    """The same comparison has the power to see what it should."""
    truth = toy_named("8gaussians").truth
    value, band = compare(WRONG[wrong](truth, ExactDenoiser(truth, LINEAR)), truth.tilt(3.0))
    assert value > 2 * band.largest


# -- how it is called --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_same_generator_gives_the_same_samples(method):
    first, second, other = (
        sample(ExactDenoiser(GAUSSIAN, LINEAR), (9, 2), method=method, generator=seeded(s)) for s in (1, 1, 2)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


@pytest.mark.parametrize("method", METHODS)
def test_one_call_is_the_last_of_its_steps(method):
    denoiser, generator = ExactDenoiser(GAUSSIAN, LINEAR), seeded(1)
    x = initial_noise((9, 2), generator=generator)
    *_, last = sampling_steps(denoiser, x, steps=7, method=method, generator=generator)
    assert torch.equal(last.x, sample(denoiser, (9, 2), steps=7, method=method, generator=seeded(1)))


@pytest.mark.parametrize("method", METHODS)
def test_steps_are_numbered_timed_and_keep_what_was_predicted(method):
    x = torch.randn(4, 2, generator=seeded())
    steps = list(sampling_steps(ExactDenoiser(GAUSSIAN, LINEAR), x, steps=5, method=method, generator=seeded(1)))
    assert [step.index for step in steps] == list(range(6)) and steps[0].x0_hat is None
    assert [step.t for step in steps] == time_grid(LINEAR, 5).tolist() and torch.equal(steps[0].x, x)
    for before, step in itertools.pairwise(steps):
        torch.testing.assert_close(step.x0_hat, GAUSSIAN.posterior_mean(before.x, before.t, LINEAR), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@pytest.mark.parametrize("method", METHODS)
def test_the_denoiser_s_parametrisation_does_not_matter(method, parametrisation):
    x, plain = (
        sample(ExactDenoiser(GAUSSIAN, LINEAR, p), (9, 2), method=method, generator=seeded(1), dtype=torch.float64)
        for p in (parametrisation, "x0")
    )
    torch.testing.assert_close(x, plain, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 2), (0, 2), (2,)])
@pytest.mark.parametrize("method", METHODS)
def test_shape_and_dtype_are_those_asked_for(method, shape, dtype):
    x = sample(ExactDenoiser(GAUSSIAN, LINEAR), shape, steps=2, method=method, dtype=dtype)
    assert x.shape == shape and x.dtype == dtype


def test_the_initial_noise_is_not_changed():
    x = torch.randn(4, 2, generator=seeded())
    copy = x.clone()
    list(sampling_steps(ExactDenoiser(GAUSSIAN, LINEAR), x, steps=3, method="sde"))
    assert torch.equal(x, copy)


def test_no_graph_is_built_while_sampling():
    network = torch.nn.Linear(2, 2)
    x = sample(FunctionDenoiser(lambda x_t, t: network(x_t), LINEAR, "x0"), (3, 2), steps=2)
    assert not x.requires_grad


@pytest.mark.parametrize("spacing", SPACINGS)
def test_times_fall_from_one_to_the_end(spacing, any_schedule):
    times = time_grid(any_schedule, 10, t_end=0.01, spacing=spacing)
    assert times[0] == 1.0 and times[-1] == 0.01 and bool((times.diff() < 0).all()) and len(times) == 11


def test_log_snr_spacing_is_even_in_log_snr(any_schedule):
    steps = any_schedule.log_snr(time_grid(any_schedule, 10)).diff()
    torch.testing.assert_close(steps, steps.mean().expand(10), rtol=1e-8, atol=0)


def draw(**settings):
    return sample(ExactDenoiser(GAUSSIAN, LINEAR), **({"shape": (4, 2)} | settings))


BAD = {
    "method": (lambda: draw(method="euler"), "method", "one of dpmpp2m, ddim, sde, got 'euler'"),
    "spacing": (lambda: draw(spacing="even"), "spacing", "one of log_snr, time, got 'even'"),
    "no steps": (lambda: draw(steps=0), "steps", "an integer of at least 1, got 0"),
    "half a step": (lambda: draw(steps=2.5), "steps", "an integer"),
    "steps in words": (lambda: draw(steps="5"), "steps", "an integer"),
    "end at the data": (lambda: draw(t_end=0.0), "t_end", "a finite number"),
    "end at the noise": (lambda: draw(t_end=1.0), "t_end", "a finite number"),
    "three coordinates": (lambda: draw(shape=(4, 3)), "x_t", r"shape \(..., 2\), got \(4, 3\)"),
    "shape is a number": (lambda: draw(shape=4), "shape", ".*got 4"),
    "NaN noise": (lambda: sampling_steps(ExactDenoiser(GAUSSIAN, LINEAR), torch.full((2, 2), math.nan)), "x", "finite"),
    "whole numbers": (
        lambda: sampling_steps(ExactDenoiser(GAUSSIAN, LINEAR), torch.ones(2, 2).long()),
        "x",
        "float32 or float64",
    ),
    "a denoiser of another shape": (
        lambda: sample(FunctionDenoiser(lambda x_t, t: x_t[:1], LINEAR, "eps"), (4, 2)),
        "denoiser",
        "a tensor of the shape of x_t",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused_by_name(case):
    make, argument, expected = BAD[case]
    with pytest.raises(ValueError, match=f"^{argument}: expected {expected}"):
        make()
