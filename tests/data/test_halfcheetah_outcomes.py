"""Outcomes are what the simulator pays: the recorded rewards of the data, sums by hand, and the order of actions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="the simulators (pip install -e '.[rl]')")

from halfcheetah_outcomes import outcomes, ranking, with_shared_noise

from cepkit.rl.envs.engine_check import real_transitions
from cepkit.rl.envs.engines import make_env

NAME = "halfcheetah-small-replay"


@pytest.fixture(scope="module")
def real():
    """States and actions of D4RL's own machine, and what it paid."""
    rows = real_transitions("halfcheetah")
    states = torch.tensor(np.concatenate([rows.qpos[:, 1:], rows.qvel], -1))
    return states[:12], torch.tensor(rows.action)[:12], torch.tensor(rows.reward)[:12]


def still(states):
    return torch.zeros(len(states), 6)


def test_one_step_pays_what_d4rl_s_machine_paid(real):
    states, actions, rewards = real
    found = outcomes(states, actions[:, None], still, NAME, steps=1)
    torch.testing.assert_close(found[:, 0], rewards, atol=1e-9, rtol=0)


def test_later_steps_are_the_policy_s_discounted(real):
    states, actions, _ = real
    env = make_env(NAME)
    env.reset(seed=0)
    env.unwrapped.set_state(
        np.concatenate([[3.0], states[0, :8].numpy()]), states[0, 8:].numpy()
    )  # the distance run makes no difference
    rewards = [env.step(action)[1] for action in (actions[0].numpy(), np.zeros(6), np.zeros(6))]
    found = outcomes(states[:1], actions[:1, None], still, NAME, steps=3)
    assert float(found) == pytest.approx(rewards[0] + 0.99 * rewards[1] + 0.99**2 * rewards[2], abs=1e-4)


def test_every_action_has_its_own_rollout_and_the_policy_sees_all_at_once(real):
    states, actions, _ = real
    seen = []

    def policy(observations):
        seen.append(tuple(observations.shape))
        return still(observations)

    both = torch.stack([actions[:3], torch.zeros_like(actions[:3])], 1)
    found = outcomes(states[:3], both, policy, NAME, steps=2)
    assert found.shape == (3, 2) and found.dtype == torch.float64 and seen == [(6, 17)]
    alone = outcomes(states[1:2], both[1:2, 1:], policy, NAME, steps=2)
    torch.testing.assert_close(found[1, 1], alone[0, 0])


def test_what_does_not_fit_is_refused_by_name(real):
    states, actions, _ = real
    with pytest.raises(ValueError, match="name: expected a dataset of HalfCheetah.*'hopper-medium-v2'"):
        outcomes(states, actions[:, None], still, "hopper-medium-v2")
    with pytest.raises(ValueError, match=r"actions: expected shape \(12, K, 6\), got \(12, 6\)"):
        outcomes(states, actions, still, NAME)
    with pytest.raises(ValueError, match="steps"):
        outcomes(states, actions[:, None], still, NAME, steps=0)


def test_the_order_of_actions_is_all_that_ranking_sees():
    truth = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    same = 3 * truth.exp() + torch.arange(6.0)[:, None]
    torch.testing.assert_close(ranking(same, truth), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(ranking(-same, truth), -torch.ones(6, dtype=torch.float64))
    swapped = ranking(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([[1.0, 2.0, 3.0]]))
    assert float(swapped) == pytest.approx(0.5)
    tied = ranking(torch.tensor([[1.0, 1.0, 2.0]]), torch.tensor([[1.0, 2.0, 3.0]]))
    assert float(tied) == pytest.approx(0.75**0.5), "Spearman's, with the mean rank for ties"
    with pytest.raises(ValueError, match="tables of one shape"):
        ranking(truth, truth[:, :1])


def test_a_constant_q_orders_nothing():
    truth = torch.arange(10.0).reshape(2, 5)
    assert ranking(torch.full((2, 5), 3.0), truth).tolist() == ranking(truth, torch.zeros(2, 5)).tolist() == [0.0, 0.0]


class Noise:
    """Draws nothing but noise."""

    def draw(self, states, *, generator):
        return torch.randn(len(states), 6, generator=generator)


def test_the_rollouts_of_a_state_share_their_noise_and_states_and_calls_do_not():
    go_on, again, other = (with_shared_noise(Noise(), 3, seed=seed) for seed in (0, 0, 1))
    first, second = (go_on(torch.zeros(12, 17)).unflatten(0, (4, 3)) for _ in range(2))
    assert torch.equal(first, first[:, :1].expand_as(first)) and first.shape == (4, 3, 6)
    assert len(first[:, 0, 0].unique()) == 4 and not torch.equal(first, second)
    assert torch.equal(again(torch.zeros(12, 17)), first.flatten(0, 1))
    assert not torch.equal(other(torch.zeros(12, 17)), first.flatten(0, 1))
