"""Boxes seen through noise keep their relative accuracy in the tail, in the middle and when they are tiny."""

import mpmath
import numpy as np
import pytest
import torch
from checks import finite_differences, noisy_points, square_grid, toy_named
from scipy import special

from cepkit.truth.kernels import axis_tables, erfcx_positive, interval

DISTANCES = (-40.0, -6.0, -1.01, -1.0, -0.3, 0.0, 1e-3, 0.7, 1.0, 2.5, 9.0, 60.0)
SHAPES = ((1.0, 1e-4), (1.0, 0.04), (1.0, 1.0), (0.08, 0.01), (0.08, 0.5), (0.08, 1.0), (6e-4, 1.0))  # half side, variance


def exact_interval(d, half, var):
    """log density of the blurred box and its derivative with eighty digits."""
    with mpmath.workdps(80):
        d, half, var = (mpmath.mpf(float(value)) for value in (d, half, var))
        unit = 1 / mpmath.sqrt(2 * var)
        near, far = (abs(d) - half) * unit, (abs(d) + half) * unit
        mass = (mpmath.erfc(near) - mpmath.erfc(far)) / 2
        bell = (mpmath.exp(-(far**2)) - mpmath.exp(-(near**2))) * unit / mpmath.sqrt(mpmath.pi)
        return float(mpmath.log(mass / (2 * half))), float(mpmath.sign(d) * bell / mass)


@pytest.mark.parametrize(("half", "var"), SHAPES)
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_a_blurred_box_agrees_with_eighty_digits(half, var, dtype, rtol):
    half, var = torch.tensor(half, dtype=dtype), torch.tensor(var, dtype=dtype)
    d = torch.tensor(DISTANCES, dtype=dtype)
    expected = torch.tensor([exact_interval(value, half, var) for value in d], dtype=torch.float64).unbind(-1)
    for value, exact in zip(interval(d, half, var), expected, strict=True):
        torch.testing.assert_close(value.double(), exact, rtol=rtol, atol=rtol)


def test_the_slope_is_the_derivative_of_the_log_density():
    half, var = torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.1, dtype=torch.float64)
    d = torch.linspace(-4, 4, 41, dtype=torch.float64)[:, None]
    numeric = finite_differences(lambda x: interval(x[:, 0], half, var)[0], d, 1e-3)
    torch.testing.assert_close(interval(d, half, var)[1], numeric, rtol=1e-8, atol=1e-8)


def test_the_slope_can_be_differentiated_at_the_centre_of_a_box():
    half, var = torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.1, dtype=torch.float64)
    centre = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (curvature,) = torch.autograd.grad(interval(centre, half, var)[1], centre)
    step = torch.tensor(1e-4, dtype=torch.float64)
    assert float(curvature) == pytest.approx(float(interval(step, half, var)[1] / step), rel=1e-6)


@pytest.mark.parametrize("var", [1e-4, 0.04, 1.0])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 5e-5)])
def test_on_the_edge_of_a_box_the_derivative_is_the_slope(var, dtype, rtol):
    half, var = torch.tensor(0.5, dtype=dtype), torch.tensor(var, dtype=dtype)
    for edge in (-0.5, 0.5):
        d = torch.tensor(edge, dtype=dtype, requires_grad=True)
        log_density, slope = interval(d, half, var)
        (derivative,) = torch.autograd.grad(log_density, d)
        exact = exact_interval(edge, half, var)[1]
        assert float(derivative) == pytest.approx(exact, rel=rtol) and float(slope.detach()) == pytest.approx(exact, rel=rtol)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_erfcx_agrees_with_scipy(dtype, rtol):
    z = torch.cat([torch.zeros(1), torch.logspace(-8, 8, 500)]).to(dtype)
    exact = torch.from_numpy(special.erfcx(z.double().numpy()))
    torch.testing.assert_close(erfcx_positive(z).double(), exact, rtol=rtol, atol=0)


@pytest.mark.parametrize("name", ["checkerboard", "2spirals"])
def test_grid_tables_give_what_scattered_points_give(name, schedule):
    truth, grid = toy_named(name).truth, square_grid(25)
    shuffled = torch.randperm(625, generator=torch.Generator().manual_seed(0))
    rows = grid.reshape(-1, 2)
    pieces = [truth.fields(piece, 0.05, 3.0, schedule) for piece in rows[shuffled].split(5)]
    for whole, parts in zip(truth.fields(rows, 0.05, 3.0, schedule), zip(*pieces, strict=True), strict=True):
        torch.testing.assert_close(whole[shuffled], torch.cat(parts), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["checkerboard", "2spirals"])
def test_grid_tables_are_used_for_a_grid_and_only_there(name, schedule):
    components = toy_named(name).truth.components(0.1)
    grid = square_grid(25).reshape(-1, 2)
    scattered = noisy_points(toy_named(name).truth, 0.05)

    def tabled(x):
        return axis_tables(components, x, schedule.alpha(0.05).double(), schedule.sigma_squared(0.05).double()) is not None

    assert tabled(grid) and not tabled(scattered) and not tabled(grid.clone().requires_grad_())


def test_gaussians_in_many_dimensions_follow_the_formula(schedule, generator):
    """Above sixteen dimensions squared distances are summed in another way."""
    from cepkit.truth.exact import Mixture

    points = torch.randn(5, 20, generator=generator, dtype=torch.float64)
    x_t = torch.randn(7, 20, generator=generator, dtype=torch.float64)
    mixture = Mixture.from_points(points, torch.zeros(5), std=0.2)
    alpha, var = schedule.alpha(0.3), schedule.alpha(0.3) ** 2 * 0.04 + schedule.sigma(0.3) ** 2
    square = ((x_t[:, None] - alpha * points) ** 2).sum(-1)
    expected = torch.logsumexp(-square / (2 * var), 1) - np.log(5) - 10 * (2 * np.pi * var).log()
    torch.testing.assert_close(mixture.log_q(x_t, 0.3, schedule), expected)
    torch.testing.assert_close(mixture.log_q(x_t, torch.full((7,), 0.3, dtype=torch.float64), schedule), expected)
