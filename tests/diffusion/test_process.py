"""The forward process has the right moments, and the four ways to say a prediction agree."""

import itertools
import math

import pytest
import torch
from checks import assert_within_standard_errors, seeded

from cepkit.diffusion.process import PARAMETRISATIONS, convert, expand_time, perturb

PAIRS = list(itertools.product(PARAMETRISATIONS, PARAMETRISATIONS))


def known_case(schedule, t, n=50):
    """x_t made from a known x_0 and eps, and what each parametrisation must then say."""
    x0 = torch.randn(n, 2, generator=seeded(1), dtype=torch.float64)
    eps = torch.randn(n, 2, generator=seeded(2), dtype=torch.float64)
    column = t[:, None] if torch.is_tensor(t) else t
    alpha, sigma = schedule.alpha(column), schedule.sigma(column)
    return alpha * x0 + sigma * eps, {"eps": eps, "score": -eps / sigma, "x0": x0, "v": alpha * eps - sigma * x0}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_parametrisation_says_the_same_known_noise(source, target, any_schedule):
    x_t, says = known_case(any_schedule, 0.3)
    torch.testing.assert_close(
        convert(says[source], source, target, x_t, 0.3, any_schedule), says[target], rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_there_and_back_again_with_a_time_per_row(source, target, schedule):
    t = torch.linspace(0.02, 0.9, 50, dtype=torch.float64)
    x_t, says = known_case(schedule, t)
    there = convert(says[source], source, target, x_t, t, schedule)
    torch.testing.assert_close(convert(there, target, source, x_t, t, schedule), says[source], rtol=1e-9, atol=1e-9)


def test_perturb_is_the_formula(any_schedule, generator):
    x0, noise = torch.randn(2, 7, 2, generator=generator, dtype=torch.float64)
    expected = any_schedule.alpha(0.4) * x0 + any_schedule.sigma(0.4) * noise
    torch.testing.assert_close(perturb(x0, 0.4, any_schedule, noise=noise).x_t, expected)


def test_the_same_generator_gives_the_same_noise(schedule):
    x0 = torch.zeros(5, 2)
    first, second = (perturb(x0, 0.5, schedule, generator=seeded(3)) for _ in range(2))
    assert torch.equal(first.x_t, second.x_t) and torch.equal(first.eps, second.eps)


def test_noised_points_have_the_right_mean_and_variance(any_schedule, generator):
    n, x0 = 200_000, torch.tensor([1.5, -0.5], dtype=torch.float64)
    x_t = perturb(x0.expand(n, 2), 0.3, any_schedule, generator=generator).x_t
    alpha, variance = any_schedule.alpha(0.3), any_schedule.sigma(0.3) ** 2
    assert_within_standard_errors(alpha * x0, x_t.mean(0), (variance / n).sqrt())
    assert_within_standard_errors(variance, x_t.var(0), variance * math.sqrt(2 / n))


def test_one_time_per_row_is_each_row_alone(schedule):
    x0, noise = torch.randn(2, 4, 3, 2, generator=seeded(4), dtype=torch.float64)
    t = torch.rand(4, 3, generator=seeded(5), dtype=torch.float64)
    together = perturb(x0, t, schedule, noise=noise).x_t
    alone = [perturb(x0[i, j], t[i, j], schedule, noise=noise[i, j]).x_t for i in range(4) for j in range(3)]
    torch.testing.assert_close(together.reshape(-1, 2), torch.stack(alone))


def test_at_time_zero_nothing_happens(any_schedule, generator):
    x0 = torch.randn(5, 2, generator=generator)
    assert torch.equal(perturb(x0, 0.0, any_schedule, generator=generator).x_t, x0)


def test_float32_points_stay_float32_at_float64_times(schedule, generator):
    t = torch.full((5,), 0.2, dtype=torch.float64)
    assert perturb(torch.zeros(5, 2), t, schedule, generator=generator).x_t.dtype == torch.float32


def test_a_time_with_fewer_axes_stands_for_the_leading_ones():
    assert expand_time(torch.zeros(4), torch.zeros(4, 3, 2)).shape == (4, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"t": 1.5}, "t"),
        ({"t": math.nan}, "t"),
        ({"t": torch.zeros(2)}, "t"),
        ({"noise": torch.zeros(2)}, "noise"),
        ({"x0": torch.zeros(3, 2, dtype=torch.long)}, "x0"),
        ({"x0": torch.full((3, 2), math.nan)}, "x0"),
        ({"x0": [[0.0, 0.0]]}, "x0"),
    ],
)
def test_perturb_refuses_bad_input_by_name(arguments, argument, schedule):
    call = {"x0": torch.zeros(3, 2), "t": 0.5, "schedule": schedule} | arguments
    with pytest.raises(ValueError, match=f"^{argument}: expected .*got"):
        perturb(**call)


@pytest.mark.parametrize(("source", "target", "argument"), [("epsilon", "x0", "source"), ("eps", "noise", "target")])
def test_an_unknown_parametrisation_is_answered_with_the_known_ones(source, target, argument, schedule):
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=f"^{argument}: expected one of eps, score, x0, v, got"):
        convert(x, source, target, x, 0.5, schedule)


def test_a_prediction_of_another_shape_is_not_broadcast(schedule):
    with pytest.raises(ValueError, match=r"^value: expected the shape of x_t \(3, 2\), got \(3, 1\)"):
        convert(torch.zeros(3, 1), "eps", "x0", torch.zeros(3, 2), 0.5, schedule)
