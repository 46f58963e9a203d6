"""Data that do not suit the noise or a beta are named; those that do pass in silence."""

import torch

from cepkit.data_checks import few_points, off_scale


def test_few_points_are_many_points_of_which_few_count():
    energy = torch.linspace(0, 1, 1000, dtype=torch.float64)
    assert not few_points(energy, 3.0) and not few_points(energy[:40], 1e6) and not few_points(energy + 1e6, 3.0)
    assert few_points(energy, 1e4) == few_points(energy + 2.0**20, 1e4) != ""
    assert "of 1,000 points" in few_points(energy, 1e4) and not few_points(energy[:100], 20.0)
    base = torch.full((1000,), -torch.inf, dtype=torch.float64)
    base[:40] = 0.0
    assert not few_points(energy, 1e4, base)  # there were no more before


def test_the_scale_of_a_column_is_judged_with_its_blur_and_constants_pass():
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    assert off_scale(x) == ("", "") == off_scale(torch.ones(5, 2)) == off_scale(x[:1])
    large, narrow = off_scale(x * torch.tensor([1.0, 1e-3, 100.0]))
    assert "in column 2, which the noise at t = 1" in large and "in column 1, which the least noise" in narrow
    assert off_scale(x * torch.tensor([1.0, 1e-3, 1.0]), blur=0.1) == ("", "")
