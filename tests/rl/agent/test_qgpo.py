"""A problem whose guided policy is known: Gaussian behaviour, quadratic Q, so a tilted Gaussian. Then shapes and refusals."""

import pytest
import torch
from qgpo_problems import bandit, bandit_policy, finish, tiny, walk

from cepkit.diffusion.guidance import Guidance
from cepkit.rl.agent.baselines import CloningTraining, best_of_k, clone_policy
from cepkit.rl.agent.behaviour import BehaviourTraining, SupportSampling
from cepkit.rl.agent.critic import CriticTraining
from cepkit.rl.agent.prepared import prepare
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.support_truth import guidance_errors

BETA = 2.0


def trained(transitions, config):
    data = prepare(transitions, config)
    behaviour = finish(BehaviourTraining(data, config)).network
    support = finish(SupportSampling(data, behaviour, config)).actions
    critic = finish(CriticTraining(data, support, config))
    cloning = finish(CloningTraining(data, config)).network
    networks = (behaviour, critic.critic, critic.energy_net)
    return QGPO(*networks, config, data.mean, data.std, critic.q_std, cloning), support


@pytest.fixture(scope="module")
def solved():
    """The bandit, trained in a few seconds with Q in its own units."""
    config = tiny(
        beta=BETA, q_scale="none", behaviour_steps=600, behaviour_batch=128, behaviour_widths=(32, 16),
        behaviour_learning_rate=5e-3, support_actions=16, support_steps=10, support_chunk=2048, warm_start_steps=0,
        critic_steps=500, critic_width=32, critic_learning_rate=5e-3, energy_steps=600, energy_batch=64,
        energy_width=32, cloning_steps=400, act_steps=15, clip_targets=False,
    )  # fmt: skip
    return trained(bandit(), config)[0]


@pytest.fixture(scope="module")
def small():
    return trained(walk(), tiny())[0]


@pytest.mark.parametrize("s", [-0.8, 0.0, 0.8])
def test_guided_actions_follow_the_tilted_gaussian(solved, s):
    state = torch.full((4000, 1), s)
    generator = torch.Generator().manual_seed(0)
    mean, std = bandit_policy(s, BETA)
    a = solved.act(state, 1.0, generator)
    assert abs(float(a.mean()) - mean) < 0.06 and abs(float(a.std()) / std - 1) < 0.2
    unguided = solved.act(state, 0.0, generator)
    assert abs(float(unguided.mean()) - 0.3 * s) < 0.06


def test_q_is_the_reward_where_there_are_data(solved):
    s, a = torch.tensor([[0.5]]), torch.tensor([[0.0], [0.2], [0.4]])
    expected = -(a[:, 0] - 0.4).square() / (2 * 0.5**2)
    torch.testing.assert_close(solved.q(s, a), expected, atol=0.05, rtol=0)


def test_the_field_is_close_to_the_exact_one(solved):
    states = torch.linspace(-0.9, 0.9, 8)[:, None]
    actions = solved.draw(states[:, None].expand(-1, 200, -1), generator=torch.Generator().manual_seed(0))
    errors = guidance_errors(solved, states, actions, noises=1, generator=torch.Generator().manual_seed(1))
    assert float(errors.max()) < 0.3


def test_the_baselines(solved):
    s = torch.linspace(-0.9, 0.9, 300)[:, None]
    torch.testing.assert_close(clone_policy(solved, s), 0.3 * s, atol=0.08, rtol=0)
    generator = torch.Generator().manual_seed(0)
    best, draws = best_of_k(solved, s, 16, generator), solved.act(s, 0.0, generator)
    assert float((best - 0.4).abs().mean()) < 0.5 * float((draws - 0.4).abs().mean())


def test_actions_repeat_with_the_generator_and_stay_in_bounds(small):
    s = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    first, again = (small.act(s, 3.0, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (9, 2) and torch.equal(first, again) and float(first.abs().max()) <= 1
    assert not torch.equal(first, small.act(s, 0.0, torch.Generator().manual_seed(1)))


def test_the_guidance_of_one_state_takes_a_grid_of_actions(small, generator):
    guidance = small.guidance(torch.zeros(3))
    grid = torch.randn(5, 6, 2, generator=generator)
    assert isinstance(guidance, Guidance)
    assert guidance.energy(grid, 0.3).shape == (5, 6) and guidance(grid, 0.3).shape == grid.shape


def test_wrong_states_and_scales_are_refused(small):
    with pytest.raises(ValueError, match=r"states: expected shape \(..., 3\)"):
        small.act(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="states: expected finite"):
        small.act(torch.full((4, 3), torch.nan))
    with pytest.raises(ValueError, match="scale: expected"):
        small.act(torch.zeros(4, 3), float("inf"))
    with pytest.raises(ValueError, match="k: expected"):
        best_of_k(small, torch.zeros(4, 3), 0)
