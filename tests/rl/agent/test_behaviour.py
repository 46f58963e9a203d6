"""The behaviour network: shapes, stacks equal to their members, and a conditional Gaussian learned."""

import pytest
import torch
from qgpo_problems import BEHAVIOUR_STD, bandit, finish, tiny, walk

from cepkit.rl.agent.agent_networks import make_networks
from cepkit.rl.agent.behaviour import ActionDenoiser, BehaviourTraining, draw_actions
from cepkit.rl.agent.prepared import prepare
from cepkit.rl.agent.qgpo_config import PRESETS


def test_a_stack_predicts_what_its_members_do(generator):
    config = tiny()
    stack = make_networks("behaviour", (3, 2), config, (0, 5))["behaviour"]
    a, t, s = torch.randn(2, 6, 4, 2, generator=generator), torch.rand(2, 6, generator=generator), torch.randn(2, 6, 1, 3)
    together = stack(a, t, s)
    for i, seed in enumerate((0, 5)):
        torch.testing.assert_close(together[i], make_networks("behaviour", (3, 2), config, seed)["behaviour"](a[i], t[i], s[i]))


def test_one_time_for_all_or_one_for_each(generator):
    network = make_networks("behaviour", (3, 2), tiny(), 0)["behaviour"]
    a, s = torch.randn(5, 2, generator=generator), torch.randn(5, 3, generator=generator)
    torch.testing.assert_close(network(a, 0.3, s), network(a, torch.full((5,), 0.3), s))
    torch.testing.assert_close(network(a, 0.3, s[0]), network(a, 0.3, s[:1].expand(5, -1)))


def test_the_papers_size():
    network = make_networks("behaviour", (17, 6), PRESETS["locomotion"], 0)["behaviour"]
    count = sum(p.numel() for p in network.parameters())
    assert 1.5e6 < count < 1.8e6  # the paper's code has 1.6 million


def test_a_conditional_gaussian_is_learned():
    config = tiny(behaviour_steps=600, behaviour_batch=128, behaviour_widths=(32, 16), behaviour_learning_rate=5e-3)
    training = finish(BehaviourTraining(prepare(data := bandit(), config), config))
    prepared = training.data
    for s in (-0.8, 0.0, 0.8):
        state = ((torch.tensor([[s]]) - prepared.mean) / prepared.std).expand(2000, 1)
        denoiser = ActionDenoiser(training.network, state, config.schedule, config.behaviour_target)
        a = draw_actions(denoiser, torch.randn(2000, 1, generator=torch.Generator().manual_seed(1)), steps=15)
        assert abs(float(a.mean()) - 0.3 * s) < 0.06 and abs(float(a.std()) / BEHAVIOUR_STD - 1) < 0.2
    assert len(data) == 4000


def test_extreme_data_are_named():
    data = walk()
    data.actions.fill_(1e30)
    with pytest.raises(ValueError, match=r"expected finite actions up to 1e\+15, got \d+"):  # their squares overflow
        finish(BehaviourTraining(prepare(data, tiny()), tiny()))


def test_mixed_precision_keeps_whole_weights():
    config = tiny(mixed_precision=True)
    training = finish(BehaviourTraining(prepare(walk(), config), config))
    assert all(p.dtype == torch.float32 and bool(p.isfinite().all()) for p in training.network.parameters())
