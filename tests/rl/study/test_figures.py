"""Each picture returns the Axes it was given, and draws what it was given."""

from __future__ import annotations

import pytest
import torch
from matplotlib.figure import Figure

from cepkit.rl import load_dataset
from cepkit.rl.study import figures as pictures
from cepkit.rl.study.action_view import ActionView, EnergyView, action_grid


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture
def view():
    q = torch.linspace(0, 1, 49 * 49).reshape(49, 49)
    support = torch.tensor([[0.5, 0.0], [-0.5, 0.2]])
    return ActionView(torch.zeros(4), support, support, torch.tensor([1.0, 2.0]), q, q)


@pytest.fixture
def energies():
    points = action_grid(5, 2.0)
    field = points.clone()
    field[0, 0] = 0.0
    exact = torch.linspace(-1, 3, 81).reshape(9, 9)
    exact[0, 0] = torch.nan
    return EnergyView(0.3, exact, 2 * exact, points, field, 4 * field, 0.5)


def test_the_data_are_drawn_in_the_maze_with_whole_episodes(ax):
    data = load_dataset("pointmaze-umaze")
    assert pictures.data(ax, data, episodes=(0, 133)) is ax
    dots, paid, *paths = ax.lines
    assert len(dots.get_xdata()) + len(paid.get_xdata()) == len(data.rewards[::5])
    assert [len(path.get_xdata()) for path in paths] == [299, 299]


def test_a_state_is_a_dot_with_an_arrow_where_it_moves(ax):
    assert pictures.mark_state(ax, torch.tensor([1.0, 0.5, 0.0, 0.0]), label="A") is ax
    assert [text.get_text() for text in ax.texts] == ["A"]
    pictures.mark_state(ax, torch.tensor([1.0, 0.5, 0.6, 0.0]))
    assert len(ax.texts) == 2


def test_behaviour_and_q_share_the_square_and_q_is_dark_where_it_is_high(ax, view):
    assert pictures.behaviour(ax, view) is ax
    (support,) = ax.collections
    assert support.get_array().tolist() == [1.0, 2.0] and support.get_offsets().tolist() == view.support.tolist()
    assert pictures.q_map(Figure().subplots(), view, actions=view.draws).get_xlim() == ax.get_xlim() == (-1.08, 1.08)
    assert support.get_cmap()(1.0)[:3] < support.get_cmap()(0.0)[:3]


@pytest.mark.parametrize("which", ["exact", "learned"])
def test_both_energies_have_the_exact_ones_colours_and_arrows_to_one_measure(ax, energies, which):
    assert pictures.energy(ax, energies, which) is ax
    image, arrows = ax.images[0], ax.collections[0]
    assert image.get_clim() == pictures.energy_limits(energies) == pytest.approx((-0.95, 3.0))
    assert image.get_array().mask.sum() == 1 and len(arrows.U) == 23  # none where the field is 0: a corner, the middle
    longest = float((torch.tensor(arrows.U) ** 2 + torch.tensor(arrows.V) ** 2).sqrt().max())
    assert longest == pytest.approx({"exact": 1.0, "learned": 2.0}[which])  # cells; the root of 1 and of 4


def test_paths_start_at_dots_and_end_at_crosses(ax):
    states = torch.rand(3, 20, 4)
    assert pictures.paths(ax, states) is ax
    starts, ends = ax.lines[3:]
    assert starts.get_xdata().tolist() == states[:, 0, 0].tolist() and ends.get_ydata().tolist() == states[:, -1, 1].tolist()


def test_returns_show_every_episode_the_mean_and_the_interval_over_runs(ax):
    found = {"cloning": torch.zeros(3, 50), "guided": torch.arange(150.0).reshape(3, 50)}
    assert pictures.returns(ax, found) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cloning", "guided"]
    dots, interval, mean = ax.lines[3:]
    assert sorted(dots.get_xdata()) == list(range(150)) and mean.get_xdata()[0] == 74.5
    low, high = interval.get_xdata()
    assert 24.5 <= low < 74.5 < high <= 124.5
    pictures.returns(ax, {"one run": torch.rand(1, 20)})
