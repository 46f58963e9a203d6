"""The pictures of notebook 08 show the numbers they are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cepkit.learning.log_reader import Series
from cepkit.rl.envs.engine_check import EngineDifference
from cepkit.rl.envs.engines import Environment
from cepkit.rl.study import d4rl_figures as d4rl_pictures
from cepkit.rl.study.evaluate import Evaluation


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def evaluation(engine: str, *returns: float) -> Evaluation:
    environment = Environment("halfcheetah-medium-v2", engine, "HalfCheetah-v4", "halfcheetah")
    found = torch.tensor(returns, dtype=torch.float64)
    return Evaluation(environment, 0, found, torch.full((len(found),), 1000), None)


def legend(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_returns_stand_in_the_order_of_the_file(ax):
    assert d4rl_pictures.episode_returns(ax, torch.tensor([3.0, -1.0, 2.0]), references={"expert": 9.0}) is ax
    assert ax.lines[0].get_xydata().tolist() == [[0, 3], [1, -1], [2, 2]]
    assert set(ax.lines[1].get_ydata()) == {9.0} and legend(ax) == ["episode of the data", "expert"]
    assert ax.get_xlabel() and ax.get_ylabel()


@pytest.mark.parametrize("quantity", ["observation", "reward"])
def test_every_step_and_the_largest_difference_are_drawn_and_zero_is_seen(ax, quantity):
    small, large = np.array([0.0, 1e-13]), np.array([0.1, 0.01])
    rows = [
        EngineDifference("hopper", "d4rl-v2", small, 2 * small, 0),
        EngineDifference("hopper", "gymnasium-v4", large, 2 * large, 0),
        EngineDifference("ant", "gymnasium-v4", 3 * large, 6 * large, 0),
    ]
    factor = {"observation": 1.0, "reward": 2.0}[quantity]
    assert d4rl_pictures.engine_differences(ax, rows, quantity=quantity) is ax
    steps, largest = ax.lines[:-1:2], ax.lines[1:-1:2]
    assert [line.get_ydata()[0] for line in largest] == pytest.approx([1e-13 * factor, 0.1 * factor, 0.3 * factor])
    assert all(len(line.get_ydata()) == 2 and line.get_ydata().min() > 0 for line in steps)
    assert ax.get_yscale() == "log" and [label.get_text() for label in ax.get_xticklabels()] == ["hopper", "ant"]
    assert [round(float(line.get_xdata()[0])) for line in largest] == [0, 0, 1] and legend(ax) == ["d4rl-v2", "gymnasium-v4"]


def test_another_quantity_is_refused(ax):
    with pytest.raises(ValueError, match=r"quantity: expected 'observation' or 'reward', got 'terminals'"):
        d4rl_pictures.engine_differences(ax, [], quantity="terminals")


def test_each_engine_has_one_colour_and_one_entry(ax):
    found = {name: [evaluation("d4rl-v2", 1.0, 3.0), evaluation("gymnasium-v4", 5.0, 7.0, 9.0)] for name in ("early", "late")}
    assert d4rl_pictures.returns_by_engine(ax, found) is ax
    assert legend(ax) == ["d4rl-v2", "gymnasium-v4"] and [t.get_text() for t in ax.get_xticklabels()] == ["early", "late"]
    means = [container.lines[0].get_ydata()[0] for container in ax.containers]
    colours = [container.lines[0].get_color() for container in ax.containers]
    assert means == [2.0, 7.0, 2.0, 7.0] and colours[:2] == colours[2:] and colours[0] != colours[1]


def test_intervals_hold_the_mean_and_the_reference_is_a_band(ax):
    returns = {"s = 0": torch.tensor([1.0, 2.0, 6.0]), "cloning": torch.tensor([4.0, 4.0])}
    assert d4rl_pictures.returns_by_policy(ax, returns, reference="s = 0") is ax
    means = [container.lines[0].get_ydata()[0] for container in ax.containers]
    assert means == [3.0, 4.0] and len(ax.patches) == 1
    low, high = (ax.patches[0].get_bbox().y0, ax.patches[0].get_bbox().y1)
    assert 1.0 <= low < 3.0 < high <= 6.0
    ends = [segment[:, 1] for segment in ax.containers[0].lines[2][0].get_segments()]
    assert ends[0].tolist() == pytest.approx([low, high])


def test_a_q_that_is_the_truth_but_for_each_state_s_constant_is_the_diagonal(ax):
    truth = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert d4rl_pictures.q_against_truth(ax, truth + torch.arange(5.0)[:, None], truth) is ax
    x, y = ax.lines[-1].get_xydata().T
    np.testing.assert_allclose(x, y, atol=1e-6)
    assert np.abs(x).max() > 0.5


def test_curves_of_stages_that_have_logged(tmp_path):
    axes = Figure().subplots(1, 3)
    logs = {
        "behaviour": {"loss/behaviour": Series([25, 50], [2.0, 1.0])},
        "support": {},
        "critic": {"loss/energy": Series([25], [-1.0])},
    }
    assert d4rl_pictures.losses(axes, logs) is axes
    assert [ax.get_title() for ax in axes] == ["behaviour", "critic", ""]
    assert axes[0].lines[0].get_xydata().tolist() == [[25, 2], [50, 1]] and axes[0].get_yscale() == "log"
    assert axes[1].get_yscale() == "linear" and not axes[2].axison
