"""Pictures show what they claim: the arrays on the Axes are compared with the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cepkit import plots
from cepkit.diffusion.guidance import ZeroGuidance
from cepkit.diffusion.sampling import initial_noise, sampling_steps
from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.fields import ExactDenoiser, toy_estimators
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import make_toy

SCHEDULE = VPLinear()
OWN = from_points(torch.tensor([[2.0, 3.0], [3.0, 3.5], [2.5, 4.0]]), torch.tensor([0.0, 0.5, 1.0]), std=0.1)
TOYS = pytest.mark.parametrize("toy", [make_toy("moons"), OWN], ids=lambda toy: toy.name)


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


@TOYS
def test_picture_points_cover_the_toys_square_from_bottom_to_top(toy):
    x = plots.picture_points(toy, 5)
    assert x.shape == (5, 5, 2)
    torch.testing.assert_close(x[0, 0], torch.tensor(toy.centre) - toy.extent)
    torch.testing.assert_close(x[-1, -1], torch.tensor(toy.centre) + toy.extent)
    assert x[0, 1, 0] > x[0, 0, 0] and x[1, 0, 1] > x[0, 0, 1]


@TOYS
def test_a_density_is_brightest_where_the_truth_is(ax, toy):
    assert plots.density(ax, toy, toy.truth, 0.1, SCHEDULE, side=30) is ax
    image, log_q = ax.images[0], toy.truth.log_q(plots.picture_points(toy, 30), 0.1, SCHEDULE)
    assert int(np.argmax(image.get_array())) == int(log_q.argmax())
    assert image.origin == "lower" and ax.get_aspect() == 1.0 and ax.get_xlabel() and ax.get_ylabel()


@TOYS
def test_every_view_draws_and_returns_its_axes(ax, toy):
    exact = toy_estimators(toy, 3.0, SCHEDULE)["exact"]
    x, energy = toy.sample(50, generator=torch.Generator().manual_seed(0))
    steps = list(sampling_steps(ExactDenoiser(toy.truth, SCHEDULE), initial_noise((8, 2)), steps=4))
    assert plots.energy(ax, toy, exact, 0.2, SCHEDULE, side=20) is ax
    assert plots.field(ax, toy, exact, 0.2, side=7) is ax
    assert plots.points(ax, toy, x, energy) is ax
    assert plots.trajectories(ax, toy, steps) is ax
    assert plots.masses(ax, {"exact": toy.truth.mode_masses()}) is ax
    assert plots.curves(ax, [1, 2], {"exact": [0.1, 0.2]}, xlabel="t", ylabel="error", log="xy") is ax
    ax.figure.canvas.draw()


@TOYS
def test_an_error_map_is_black_for_exact_guidance_and_not_for_none(toy):
    exact = toy_estimators(toy, 3.0, SCHEDULE)["exact"]
    right, wrong = (plots.error_map(Figure().subplots(), toy, g, 0.2, 3.0, SCHEDULE, side=20) for g in (exact, ZeroGuidance()))
    assert np.nanmax(right.images[0].get_array()) == 0.0
    assert np.nanmax(wrong.images[0].get_array()) > 0.5


def test_an_error_where_nothing_guides_is_relative_to_the_score(ax):
    toy = from_points(torch.tensor([[0.0, 0.0]]), torch.tensor([5.0]), std=0.5)
    plots.error_map(ax, toy, lambda x_t, t: 0.01 * toy.truth.score(x_t, t, SCHEDULE), 0.2, 3.0, SCHEDULE, vmax=None)
    assert 0.005 < np.nanmax(ax.images[0].get_array()) < 0.1


def test_energy_is_blank_where_there_is_no_data(ax):
    toy = make_toy("8gaussians")
    plots.energy(ax, toy, toy_estimators(toy, 3.0, SCHEDULE)["exact"], 0.05, SCHEDULE, side=31)
    assert ax.images[0].get_array().mask[0, 0] and not ax.images[0].get_array().mask.all()


def test_figure_one_shows_the_product_of_its_first_two_rows():
    toy, times = make_toy("moons"), (0.1, 0.5)
    axes = plots.figure_one(Figure().subplots(3, 2), toy, 3.0, times, SCHEDULE)
    for column in axes.T:
        q, factor, p = (np.asarray(ax.images[0].get_array(), dtype=np.float64) for ax in column)
        product = q**2 * factor  # densities are drawn as square roots
        np.testing.assert_allclose(product / product.max(), p**2, atol=2e-3)


def test_mistakes_are_named(ax):
    toy = make_toy("moons")
    with pytest.raises(ValueError, match="^axes: expected shape"):
        plots.figure_one(Figure().subplots(2, 2), toy, 3.0, (0.1, 0.2), SCHEDULE)
    with pytest.raises(ValueError, match="^limits: expected vmin and vmax only, got vmni"):
        plots.heat(ax, toy, torch.zeros(3, 3), cmap="magma", vmni=0.0)
    flat = from_points(torch.zeros(3, 1), torch.zeros(3))
    with pytest.raises(ValueError, match="^toy: expected a two-dimensional toy"):
        plots.picture_points(flat)
