"""Each figure returns the Axes that it was given, and draws the numbers that it was given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from cepkit.learning.log import EventLog
from cepkit.rl import figures, load_dataset, mean_interval
from cepkit.rl.envs.engine_check import EngineDifference
from cepkit.rl.study.action_slices import ActionSlice, EnergySlice, action_grid


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture
def actions():
    q = torch.linspace(0, 1, 49 * 49).reshape(49, 49)
    support = torch.tensor([[0.5, 0.0], [-0.5, 0.2]])
    return ActionSlice(support, support, torch.tensor([1.0, 2.0]), q, q)


@pytest.fixture
def energies():
    points = action_grid(5, 2.0)
    field = points.clone()
    field[0, 0] = 0.0
    exact = torch.linspace(-1, 3, 81).reshape(9, 9)
    exact[0, 0] = torch.nan
    return EnergySlice(0.3, exact, 2 * exact, points, field, 4 * field, 0.5)


def test_the_data_are_drawn_in_the_maze_with_whole_episodes(ax):
    data = load_dataset("pointmaze-umaze")
    assert figures.maze_data(ax, data) is ax
    dots, paid, *paths = ax.lines
    assert len(dots.get_xdata()) + len(paid.get_xdata()) == len(data.rewards[::5])
    assert [len(path.get_xdata()) for path in paths] == [299, 299, 299]
    assert paths[1].get_xdata()[0] == data.observations[299, 0]


def test_a_state_is_a_dot_with_an_arrow_where_it_moves(ax):
    assert figures.maze_state(ax, torch.tensor([1.0, 0.5, 0.0, 0.0])) is ax
    assert ax.lines[0].get_xydata().tolist() == [[1.0, 0.5]] and not ax.texts
    (arrow,) = figures.maze_state(Figure().subplots(), torch.tensor([1.0, 0.5, 0.6, 0.0])).texts
    assert arrow.xy == pytest.approx((1.2, 0.5))


def test_behaviour_and_q_share_the_square_and_q_is_dark_where_it_is_high(ax, actions):
    assert figures.behaviour(ax, actions) is ax
    (support,) = ax.collections
    assert ax.images[0].get_clim() == (0, 1)
    assert support.get_array().tolist() == [1.0, 2.0] and support.get_offsets().tolist() == actions.support.tolist()
    over = figures.q_map(Figure().subplots(), actions, drawn=actions.draws)
    assert over.get_xlim() == ax.get_xlim() == (-1.08, 1.08) and over.lines[0].get_xydata().tolist() == actions.draws.tolist()
    assert support.get_cmap()(1.0)[:3] < support.get_cmap()(0.0)[:3]


@pytest.mark.parametrize("which", ["exact", "learned"])
def test_both_energies_have_the_exact_ones_colours_and_arrows_to_one_measure(ax, energies, which):
    assert figures.energy(ax, energies, which) is ax
    image, arrows = ax.images[0], ax.collections[0]
    assert image.get_clim() == pytest.approx((-0.95, 3.0))
    assert image.get_array().mask.sum() == 1 and len(arrows.U) == 23  # none where the field is 0: a corner, the middle
    longest = float((torch.tensor(arrows.U) ** 2 + torch.tensor(arrows.V) ** 2).sqrt().max())
    assert longest == pytest.approx({"exact": 1.0, "learned": 2.0}[which])  # cells; the root of 1 and of 4


def test_paths_start_at_dots_and_end_at_crosses(ax):
    states = torch.rand(3, 20, 4)
    assert figures.maze_paths(ax, states) is ax
    starts, ends = ax.lines[3:]
    assert starts.get_xdata().tolist() == states[:, 0, 0].tolist() and ends.get_ydata().tolist() == states[:, -1, 1].tolist()


def test_returns_show_every_episode_the_mean_and_the_interval(ax):
    found = {"cloning": torch.tensor([4.0, 6.0]), "guided": torch.arange(150.0).reshape(3, 50)}
    assert figures.returns(ax, found) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cloning", "guided"]
    none, (dots, interval, runs, mean) = ax.lines[1], ax.lines[3:]
    assert sorted(dots.get_xdata()) == list(range(150)) and mean.get_xdata()[0] == 74.5
    assert tuple(interval.get_xdata()) == mean_interval(found["guided"])
    assert runs.get_xdata().tolist() == [24.5, 74.5, 124.5] and np.isnan(none.get_xdata()).all(), "one run has no interval"


@pytest.mark.parametrize("quantity", ["observation", "reward"])
def test_every_step_and_the_largest_difference_are_drawn_and_zero_is_seen(ax, quantity):
    small, large = np.array([0.0, 1e-13]), np.array([0.1, 0.01])
    rows = [
        EngineDifference("hopper", "d4rl-v2", small, 2 * small, 0),
        EngineDifference("hopper", "gymnasium-v4", large, 2 * large, 0),
        EngineDifference("ant", "gymnasium-v4", 3 * large, 6 * large, 0),
    ]
    factor = {"observation": 1.0, "reward": 2.0}[quantity]
    assert figures.engine_differences(ax, rows, quantity) is ax
    steps, largest = ax.lines[:-1:2], ax.lines[1:-1:2]
    assert [line.get_ydata()[0] for line in largest] == pytest.approx([1e-13 * factor, 0.1 * factor, 0.3 * factor])
    assert all(len(line.get_ydata()) == 2 and line.get_ydata().min() > 0 for line in steps)
    assert ax.get_yscale() == "log" and [label.get_text() for label in ax.get_xticklabels()] == ["hopper", "ant"]
    assert [round(float(line.get_xdata()[0])) for line in largest] == [0, 0, 1]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["d4rl-v2", "gymnasium-v4"]


def test_curves_of_stages_that_have_logged(tmp_path):
    for stage, name, values in (("behaviour", "loss/behaviour", (2.0, 1.0)), ("cloning", "loss/cloning", (-1.0,))):
        folder = tmp_path / "log" / stage
        folder.mkdir(parents=True)
        with EventLog(folder, 0) as log:
            for step, value in enumerate(values, 1):
                log.add(name, value, 25 * step)
    axes = Figure().subplots(1, 3)
    assert figures.losses(axes, tmp_path) is axes
    assert [ax.get_title() for ax in axes] == ["behaviour", "cloning", ""]
    assert axes[0].lines[0].get_xydata().tolist() == [[25, 2], [50, 1]] and axes[0].get_yscale() == "log"
    assert axes[1].get_yscale() == "linear" and not axes[2].axison
