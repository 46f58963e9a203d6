"""Factors between fields: fitted, named, and not imagined."""

import math

import pytest
import torch
from checks import seeded

from cepkit.debugger.checks.from_points import regression_factor
from cepkit.debugger.factors import advice, fit_factor, known_factor
from cepkit.diffusion.process import perturb
from cepkit.diffusion.schedules import VPCosine, VPLinear

TIMES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


def field(seed):
    return torch.randn((300, 2), generator=seeded(seed), dtype=torch.float64)


def test_a_fit_gives_the_factor_the_rest_and_the_angle():
    a, b = field(0), field(1)
    b = b - a * float((a * b).sum() / a.square().sum())  # at right angles to a
    b = b * float(a.norm() / b.norm())
    fit = fit_factor(2 * a + b, a)
    assert fit.factor == pytest.approx(2.0)
    assert fit.residual == pytest.approx(1 / math.sqrt(5)) and fit.cosine == pytest.approx(2 / math.sqrt(5))
    assert fit.error == pytest.approx(math.sqrt(2))


def test_rows_that_are_not_finite_are_left_out():
    a = field(0)
    given = 3 * a
    given[5] = torch.nan
    assert fit_factor(given, a).factor == pytest.approx(3.0) and fit_factor(given, a).residual == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("schedule", [VPLinear(), VPCosine()], ids=["linear", "cosine"])
@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("name", ["alpha_t", "sigma_t", "1/alpha_t", "1/sigma_t", "sigma_t/alpha_t", "sigma_t^2/alpha_t", "1"])
def test_known_factors_are_told_apart(schedule, sign, name):
    factors = {}
    for t in TIMES:
        alpha_t, sigma_t = float(schedule.alpha(t)), float(schedule.sigma(t))
        value = {
            "alpha_t": alpha_t, "sigma_t": sigma_t, "1/alpha_t": 1 / alpha_t, "1/sigma_t": 1 / sigma_t,
            "sigma_t/alpha_t": sigma_t / alpha_t, "sigma_t^2/alpha_t": sigma_t**2 / alpha_t, "1": 1.0,
        }[name]  # fmt: skip
        factors[t] = float(f"{sign}1") * value
    assert known_factor(factors, schedule) == sign + name
    assert known_factor({t: 1.02 * c for t, c in factors.items()}, schedule) == sign + name


def test_what_is_no_known_factor_is_not_named():
    schedule = VPLinear()
    assert known_factor({t: math.exp(4 * math.sin(9 * t)) for t in TIMES}, schedule) is None
    assert known_factor({0.1: 1.0, 0.5: -1.0}, schedule) is None
    assert known_factor(dict.fromkeys(TIMES, 2.5), schedule) == "2.50"
    assert known_factor({t: 3 * float(schedule.sigma(t)) for t in TIMES}, schedule) == "3.00 sigma_t"


def test_advice_says_what_is_missing():
    assert "missing sigma_t" in advice("1/sigma_t") and "missing 1/alpha_t" in advice("alpha_t")
    assert advice("-1").startswith("a plain sign flip") and "counted twice" in advice("2.50")
    assert "divide by sigma_t" in advice("3.00 sigma_t")


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("factor", [1.0, 0.5, -1.0])
def test_denoising_regression_recovers_a_factor_on_gaussian_data(t, factor):
    schedule, n = VPLinear(), 200_000
    x0 = 1.5 * torch.randn((n, 2), generator=seeded(), dtype=torch.float64)
    x_t, eps = perturb(x0, t, schedule, generator=seeded(1))
    variance = 1.5**2 * schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2
    found, scatter = regression_factor(factor * -x_t / variance, eps, float(schedule.sigma(t)))
    assert abs(found / factor - 1) < 4 * scatter and scatter < 0.02
