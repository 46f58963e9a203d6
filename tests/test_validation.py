"""Every refusal names the argument, what was expected and what came."""

import math

import numpy as np
import pytest
import torch

from cepkit.validation import check_beta, check_name, check_number, check_points, check_time, check_time_shape


@pytest.mark.parametrize("t", [0, 1, 0.25, np.float32(0.5), torch.tensor(0.5), torch.tensor([0.0, 1.0]), [0.1, 0.2]])
def test_times_in_the_unit_interval_pass_as_floating_tensors(t):
    assert check_time(t).is_floating_point()


def test_a_python_time_does_not_promote_float32():
    assert (check_time(0.3) * torch.ones(2)).dtype == torch.float32


@pytest.mark.parametrize("t", [-1e-9, 1.001, math.nan, math.inf, "noon", None, torch.tensor([0.5, 2.0])])
def test_a_time_outside_the_unit_interval_is_refused(t):
    with pytest.raises(ValueError, match=r"^start: expected .* in \[0, 1\].*got"):
        check_time(t, name="start")


@pytest.mark.parametrize("t", [torch.zeros(2), torch.zeros(3, 1), torch.zeros(1)])
def test_one_time_per_row_or_a_scalar_and_nothing_that_broadcasts(t):
    with pytest.raises(ValueError, match=r"^t: expected a scalar or shape \(3,\)"):
        check_time_shape(t, torch.Size([3]))


@pytest.mark.parametrize(
    ("x", "came"),
    [
        (np.zeros((3, 2)), "got ndarray"),
        (torch.zeros(3, 2, dtype=torch.long), "got torch.int64"),
        (torch.zeros(3, 3), r"got \(3, 3\)"),
        (torch.zeros(()), r"got \(\)"),
        (torch.tensor([[0.0, math.nan]]), "got 1 NaN or infinite of 2"),
        (torch.tensor([[0.0, math.inf]]), "got 1 NaN or infinite of 2"),
    ],
)
def test_points_that_are_not_points_are_refused(x, came):
    with pytest.raises(ValueError, match=rf"^x_t: expected .*{came}"):
        check_points(x, 2)


@pytest.mark.parametrize("value", [-0.5, 3.5, math.nan, math.inf, "a", "3", None, torch.zeros(2)])
def test_a_number_outside_its_range_is_refused(value):
    with pytest.raises(ValueError, match=r"^width: expected a finite number in \[0, 3\], got"):
        check_number(value, name="width", low=0, high=3)


@pytest.mark.parametrize("value", [2.5, "2", math.nan])
def test_an_integer_is_a_whole_number(value):
    with pytest.raises(ValueError, match="^steps: expected an integer of at least 1, got"):
        check_number(value, name="steps", low=1, integer=True)


@pytest.mark.parametrize("value", [2, 2.0, np.int64(2), torch.tensor(2)])
def test_whole_numbers_of_any_kind_become_int(value):
    assert type(check_number(value, name="n", integer=True)) is int


@pytest.mark.parametrize("beta", [-1e-9, math.inf, math.nan, "hot", None])
def test_beta_is_finite_and_not_negative(beta):
    with pytest.raises(ValueError, match="^beta: expected a finite number of at least 0, got"):
        check_beta(beta)


def test_an_unknown_name_is_answered_with_the_known_ones_and_the_nearest():
    with pytest.raises(ValueError, match="^toy: expected one of moons, rings, got 'ring'; did you mean 'rings'"):
        check_name("ring", ["moons", "rings"], name="toy")


@pytest.mark.parametrize("value", [2**53 + 1, np.int64(2**53 + 1), -(2**61) - 1])
def test_integers_keep_all_their_digits(value):
    assert check_number(value, name="n", integer=True) == int(value)


def test_an_integer_beyond_all_floats_is_refused():
    with pytest.raises(ValueError, match="^n: expected an integer"):
        check_number(10**400, name="n", integer=True)
