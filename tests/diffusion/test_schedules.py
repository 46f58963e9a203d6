"""Schedules keep their variance, fall from data to noise, invert, and survive float32."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cepkit.diffusion.schedules import VPCosine, VPLinear

SCHEDULES = st.sampled_from([VPLinear(), VPCosine(), VPLinear(beta_min=0.05, beta_max=5.0)])
TIMES = st.floats(1e-5, 1.0)


def double(value):
    return torch.tensor(value, dtype=torch.float64)


@given(SCHEDULES, TIMES)
def test_time_to_log_snr_and_back(schedule, t):
    assert float(schedule.t_from_log_snr(schedule.log_snr(double(t)))) == pytest.approx(t, rel=1e-9, abs=1e-12)


@given(SCHEDULES, st.floats(-4.0, 10.0))
def test_log_snr_to_time_and_back(schedule, log_snr):
    t = schedule.t_from_log_snr(double(log_snr)).clamp(0, 1)
    inside = float(schedule.log_snr(double(1.0))) < log_snr
    assert not inside or float(schedule.log_snr(t)) == pytest.approx(log_snr, rel=1e-8, abs=1e-8)


@given(SCHEDULES, st.floats(0.0, 1.0))
def test_variance_is_preserved(schedule, t):
    assert float(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2) == pytest.approx(1.0, abs=1e-14)


@given(SCHEDULES, TIMES, TIMES)
def test_noise_only_grows(schedule, s, t):
    s, t = sorted((s, t))
    assert s == t or float(schedule.log_snr(double(s))) >= float(schedule.log_snr(double(t)))


@given(SCHEDULES, TIMES)
def test_log_snr_is_twice_the_log_of_alpha_over_sigma(schedule, t):
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    assert float(schedule.log_snr(t)) == pytest.approx(2 * math.log(alpha / sigma), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 1.0])
def test_linear_is_the_paper_s_formula(t):
    assert float(VPLinear().log_alpha(t)) == pytest.approx(-(20 - 0.1) * t**2 / 4 - 0.1 * t / 2, rel=1e-15)


@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 1.0])
def test_cosine_is_nichol_and_dhariwal_s_formula_up_to_its_end(t):
    def curve(u):
        return math.cos((u + 0.008) / 1.008 * math.pi / 2)

    assert float(VPCosine().alpha(t)) == pytest.approx(curve(0.9946 * t) / curve(0.0), rel=1e-13)


def test_float32_sigma_near_the_data_is_as_good_as_float64(any_schedule):
    """sqrt(1 - exp(2 log alpha)) in float32 is 0.6 % off at t = 1e-5."""
    t = torch.tensor(1e-5)
    assert float(any_schedule.sigma(t)) == pytest.approx(float(any_schedule.sigma(t.double())), rel=1e-6)


def test_data_is_noise_free(any_schedule):
    t = torch.zeros(3)
    assert torch.equal(any_schedule.alpha(t), torch.ones(3)) and torch.equal(any_schedule.sigma(t), t)


def test_infinite_log_snr_is_the_data(any_schedule):
    assert float(any_schedule.t_from_log_snr(any_schedule.log_snr(double(0.0)))) == 0.0


def test_noise_covers_the_signal_at_the_end(any_schedule):
    assert float(any_schedule.alpha(1.0)) < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_dtype_follow_the_time(any_schedule, dtype):
    t = torch.full((2, 3), 0.5, dtype=dtype)
    for value in (any_schedule.alpha(t), any_schedule.sigma(t), any_schedule.t_from_log_snr(any_schedule.log_snr(t))):
        assert value.shape == t.shape and value.dtype == dtype


def test_a_python_number_is_a_log_snr_too(any_schedule):
    assert float(any_schedule.t_from_log_snr(0)) == pytest.approx(float(any_schedule.t_from_log_snr(double(0.0))), rel=1e-12)


def test_an_unreachable_log_snr_is_refused(any_schedule):
    with pytest.raises(ValueError, match="^log_snr: expected"):
        any_schedule.t_from_log_snr(-50.0)


def test_a_log_snr_that_is_not_a_number_is_refused(any_schedule):
    with pytest.raises(ValueError, match="^log_snr: expected"):
        any_schedule.t_from_log_snr(math.nan)


def test_equal_settings_are_equal_schedules():
    assert VPLinear() == VPLinear() and VPLinear() != VPLinear(beta_max=10.0) and VPLinear() != VPCosine()


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: VPLinear(beta_min=0.0), "beta_min"),
        (lambda: VPLinear(beta_min=math.nan), "beta_min"),
        (lambda: VPLinear(beta_min="0.1"), "beta_min"),
        (lambda: VPLinear(beta_max=0.05), "beta_max"),
        (lambda: VPLinear(beta_max=math.inf), "beta_max"),
        (lambda: VPLinear().alpha(-0.1), "t"),
        (lambda: VPCosine().sigma(1.1), "t"),
        (lambda: VPLinear().log_snr(math.nan), "t"),
    ],
)
def test_bad_settings_and_times_are_refused_by_name(make, argument):
    with pytest.raises(ValueError, match=f"^{argument}: expected .*got"):
        make()
