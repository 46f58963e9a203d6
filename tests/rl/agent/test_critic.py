"""The backup against a loop and a table; warm start, clipping and units of Q; stacks equal to their members."""

import math

import pytest
import torch
from qgpo_problems import finish, tiny, walk

from cepkit.learning.run import restore, state_of
from cepkit.rl.agent.agent_networks import make_networks
from cepkit.rl.agent.critic import CriticTraining, q_units, softmax_backup
from cepkit.rl.agent.prepared import prepare, returns_to_go
from cepkit.rl.data.transitions import Transitions


def support_of(data, k=4, seed=0):
    return torch.rand(len(data.states), k, data.actions.shape[1], generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("beta_q", [0.0, 1.0, 5.0])
def test_the_backup_is_the_loop_of_the_paper(generator, beta_q):
    q, r = torch.randn(7, 5, generator=generator, dtype=torch.float64), torch.randn(7, generator=generator, dtype=torch.float64)
    not_done = torch.tensor([1.0, 0, 1, 1, 0, 1, 1], dtype=torch.float64)
    found = softmax_backup(q, r, not_done, discount=0.9, beta_q=beta_q)
    for i in range(7):
        weights = [math.exp(beta_q * float(value)) for value in q[i]]
        value = sum(w * float(v) for w, v in zip(weights, q[i], strict=True)) / sum(weights)
        assert float(found[i]) == pytest.approx(float(r[i]) + 0.9 * float(not_done[i]) * value, rel=1e-12)


def test_returns_to_go_by_hand():
    rewards = torch.tensor([1.0, 2.0, 3.0, 4.0])
    terminals, ends = torch.tensor([False, True, False, False]), torch.tensor([False, True, False, True])
    beyond = 0.5 * 2.5 / 0.5  # where the data break off: the mean reward for ever, discounted once
    expected = [1 + 0.5 * 2, 2, 3 + 0.5 * (4 + beyond), 4 + beyond]
    torch.testing.assert_close(returns_to_go(rewards, terminals, ends, 0.5), torch.tensor(expected))


def chain():
    """States -1, 0, 1; an action of either sign moves; reward 1 on arriving at 1, from where the last move ends the task."""
    rows = []
    for s in (-1.0, 0.0, 1.0):
        for a in (-0.5, 0.5):
            following = max(-1.0, min(1.0, s + math.copysign(1.0, a)))
            rows.append((s, a, float(following == 1.0), following, s == 1.0 and a > 0))
    s, a, r, following, terminal = (torch.tensor(column) for column in zip(*rows, strict=True))
    every = torch.ones(len(r), dtype=torch.bool)
    return Transitions("chain", s[:, None], a[:, None], r, following[:, None], terminal, r, every)


def chain_table(beta_q, discount):
    """Q by iterating the backup on a table, as in any textbook."""
    transitions, q = chain(), {}
    for _ in range(200):
        old = dict(q)
        rows = (transitions.observations, transitions.actions, transitions.rewards, transitions.next_observations)
        for s, a, r, following, terminal in zip(*rows, transitions.terminals, strict=True):
            ahead = [old.get((float(following), b), 0.0) for b in (-0.5, 0.5)]
            weights = [math.exp(beta_q * value) for value in ahead]
            value = sum(w * v for w, v in zip(weights, ahead, strict=True)) / sum(weights)
            q[float(s), float(a)] = float(r) + (0.0 if terminal else discount * value)
    return q


def test_a_chain_is_solved_as_by_a_table():
    config = tiny(
        warm_start_steps=0, critic_steps=900, energy_steps=0, critic_width=32, discount=0.8, tau=0.05, q_scale="none", critics=1,
        critic_norm=False, critic_learning_rate=5e-3,
    )  # fmt: skip
    data = prepare(chain(), config)
    support = torch.tensor([[-0.5], [0.5]]).expand(len(data.states), 2, 1)
    critic = finish(CriticTraining(data, support, config)).critic
    for (s, a), expected in chain_table(1.0, 0.8).items():
        found = critic.least((torch.tensor([s]) - data.mean) / data.std, torch.tensor([a]))
        assert float(found) == pytest.approx(expected, abs=0.04)


def test_a_greedier_backup_gives_higher_values():
    assert all(chain_table(4.0, 0.8)[key] >= value for key, value in chain_table(0.0, 0.8).items())


def test_the_least_of_the_critics_counts(generator):
    critics, _ = make_networks("critic", (3, 2), tiny(critics=3), 0).values()
    s, a = torch.randn(5, 1, 3, generator=generator), torch.randn(5, 4, 2, generator=generator)
    assert critics(s, a).shape == (3, 5, 4)
    torch.testing.assert_close(critics.least(s, a), critics(s, a).min(0).values)
    torch.testing.assert_close(critics(s[:, 0], a[:, 2]), critics(s, a)[:, :, 2])


@pytest.mark.parametrize("modulated", [True, False])
def test_a_stack_values_what_its_members_do(generator, modulated):
    config = tiny(modulated=modulated)
    critics, energy = make_networks("critic", (3, 2), config, (0, 4)).values()
    s, a = torch.randn(2, 5, 1, 3, generator=generator), torch.randn(2, 5, 4, 2, generator=generator)
    t = torch.rand(2, 5, generator=generator)
    for i, seed in enumerate((0, 4)):
        single, single_energy = make_networks("critic", (3, 2), config, seed).values()
        torch.testing.assert_close(critics(s, a)[i], single(s[i], a[i]))
        torch.testing.assert_close(energy(a, t, s)[i], single_energy(a[i], t[i], s[i]))


def test_targets_stay_within_what_the_rewards_allow():
    config = tiny(critic_steps=1)
    data = prepare(walk(), config)
    training = CriticTraining(data, support_of(data), config)
    training.critic.set_scale(1e6, 1.0)
    training.index = training.first_backup
    target = training._target(torch.arange(60))
    assert float(target.max()) == pytest.approx(data.high) and data.low <= float(target.min())
    assert data.high == pytest.approx(float(data.rewards.max()) / 0.01) and data.low == pytest.approx(float(data.rewards.min()))


def test_the_warm_start_learns_the_returns_of_the_data():
    config = tiny(warm_start_steps=400, critic_steps=0, energy_steps=0, critic_width=32)
    data = prepare(walk(), config)
    critic = finish(CriticTraining(data, support_of(data), config)).critic
    found = critic(data.states[:60], data.actions).mean(0)
    assert float((found - data.returns).square().mean()) < 0.3 * float(data.returns.var())


def test_units_of_q():
    q = torch.tensor([[0.0, 2.0], [0.0, 0.02]])
    std = torch.tensor(0.7)
    assert q_units(q, std, "std").shape == (1, 1) and float(q_units(q, std, "std")) == pytest.approx(0.7)
    assert q_units(q, std, "state").flatten().tolist() == pytest.approx([1.0, 0.7])


@pytest.mark.parametrize("settings", [{}, {"together": True}, {"pooled": False}, {"q_scale": "std"}])
def test_a_resumed_stage_ends_with_the_same_weights(settings):
    config = tiny(**settings)
    data = prepare(walk(), config)

    def fresh():
        return CriticTraining(data, support_of(data), config)

    whole = state_of(finish(fresh()))
    for stop in (2, 7, 12):
        first, second = fresh(), fresh()
        for step in first:
            if step.index == min(stop, first.steps - 1):
                break
        restore(second, {name: value.clone() for name, value in state_of(first).items()}, first.index)
        ended = state_of(finish(second))
        assert ended.keys() == whole.keys() and all(torch.equal(ended[name], whole[name]) for name in whole)


def test_the_paper_trains_both_networks_side_by_side_and_q_for_half_the_time():
    config = tiny(together=True, warm_start_steps=0, critic_steps=3, energy_steps=6)
    data = prepare(walk(), config)
    steps = [set(step.losses) for step in CriticTraining(data, support_of(data), config)]
    assert steps == [{"critic", "energy"}] * 3 + [{"energy"}] * 3
