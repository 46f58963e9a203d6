"""One state's actions as arrays: what networks and truth say at those points; the truth beside itself has no error."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from qgpo_problems import tiny, walk

from cepkit.rl.agent.agent_networks import make_networks
from cepkit.rl.agent.prepared import prepare
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.support_truth import exact_answer
from cepkit.rl.study.action_slices import SIDE, action_grid, action_slice, energy_slice


def untrained(action_dim=2):
    config = tiny(support_actions=6)
    data = prepare(walk(action_dim=action_dim), config)
    critic, energy = make_networks("critic", (3, action_dim), config, 0).values()
    behaviour = make_networks("behaviour", (3, action_dim), config, 0)["behaviour"]
    return QGPO(behaviour, critic, energy, config, data.mean, data.std, torch.tensor(0.01))


@pytest.fixture
def qgpo():
    return untrained()


@pytest.fixture
def state():
    return walk().observations[5]


def test_the_grid_runs_from_bottom_to_top():
    grid = action_grid(3, 2.0)
    assert grid[0, 0].tolist() == [-2, -2] and grid[0, 2].tolist() == [2, -2] and grid[2, 0].tolist() == [-2, 2]


def test_q_and_density_lie_where_the_actions_lie(qgpo, state, generator):
    view = action_slice(qgpo, state, draws=40, generator=generator)
    assert view.draws.shape == (40, 2) and torch.equal(view.support, view.draws[:6])
    torch.testing.assert_close(view.support_q, qgpo.q(state, view.support))
    torch.testing.assert_close(view.q[3, 17], qgpo.q(state, action_grid(SIDE)[3, 17]))
    near = [sum(math.exp(-float((a - x).square().sum()) / (2 * 0.1**2)) for a in view.draws) for x in action_grid(SIDE)[4, :3]]
    found = view.density[4, :3].square()
    assert float(view.density.max()) == 1 and (found / found.sum()).tolist() == pytest.approx(
        [one / sum(near) for one in near], rel=1e-3
    )


@pytest.mark.parametrize("t", [0.05, 0.3, 1.0])
@pytest.mark.parametrize(("factor", "error"), [(1.0, 0.0), (0.0, 1.0), (-1.0, 2.0)])
def test_the_truth_beside_itself_has_no_error(qgpo, state, generator, t, factor, error):
    support = torch.rand(6, 2, generator=generator) * 2 - 1
    truth = exact_answer(qgpo, state, support)

    def energy_net(a_t, t, states):
        return factor * truth.energy_t(a_t, t, qgpo.config.beta, qgpo.config.schedule) + 7.0  # any constant

    view = energy_slice(replace(qgpo, energy_net=energy_net), state, support, t, generator=generator)
    # at t = 1 the exact field is a thousandth of the score, to which errors are relative then
    assert view.error == pytest.approx(error if t < 1 else 0.0, abs=3e-3)
    torch.testing.assert_close(view.learned_field, factor * view.exact_field, atol=1e-3, rtol=1e-3)
    seen = torch.isfinite(view.exact)
    assert bool(seen.any()) and torch.equal(seen, torch.isfinite(view.learned))
    if factor == 1.0:
        torch.testing.assert_close(view.learned[seen], view.exact[seen], atol=1e-3, rtol=1e-3)


def test_what_cannot_be_drawn_is_named(qgpo, state):
    with pytest.raises(ValueError, match="^qgpo: expected two-dimensional actions to draw, got 3"):
        action_slice(untrained(3), state)
    with pytest.raises(ValueError, match="^draws: expected"):
        action_slice(qgpo, state, draws=5)
    with pytest.raises(ValueError, match="^t: expected"):
        energy_slice(qgpo, state, torch.zeros(6, 2), 0.0)
