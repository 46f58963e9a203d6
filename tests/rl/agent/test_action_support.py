"""Support actions: one set per state wherever it occurs, and resumable."""

import pytest
import torch
from qgpo_problems import finish, tiny, walk

from cepkit.learning.run import restore, state_of
from cepkit.rl.agent.agent_networks import make_networks
from cepkit.rl.agent.behaviour import SupportSampling
from cepkit.rl.agent.prepared import prepare

SHAPE = (63, 4, 2)


def sampling(config=None, seeds=None):
    config = config or tiny()
    data = prepare(walk(), config)
    network = make_networks("behaviour", (3, 2), config, config.seed if seeds is None else seeds)["behaviour"].requires_grad_(
        False
    )
    return SupportSampling(data, network, config, seeds)


def test_rows_are_the_states_and_their_successors_once_each():
    transitions = walk()
    data = prepare(transitions, tiny(normalize_observations=False))
    assert torch.equal(data.states[:60], transitions.observations)
    assert torch.equal(data.states[data.successors], transitions.next_observations)
    assert len(data.states) == 63  # three ends have a successor of their own


def test_actions_are_within_bounds_and_differ_between_states_and_draws():
    actions = finish(sampling()).actions
    assert actions.shape == SHAPE and float(actions.abs().max()) <= 1
    assert float(actions.std(1).mean()) > 0.1 and float(actions[:, 0].std(0).min()) > 0.1


def test_a_resumed_sampling_ends_with_the_same_actions():
    whole, first, second = finish(sampling()), sampling(), sampling()
    next(iter(first))
    restore(second, {k: v.clone() for k, v in state_of(first).items()}, 1)
    assert torch.equal(finish(second).actions, whole.actions)


def test_a_member_draws_what_it_would_draw_alone():
    together = finish(sampling(seeds=(0, 1))).actions
    for i, seed in enumerate((0, 1)):
        torch.testing.assert_close(together[i], finish(sampling(tiny(seed=seed))).actions)


@pytest.mark.parametrize(("widths", "threads"), [((8, 4), 1), ((512, 8), 2)])
def test_a_wide_behaviour_model_samples_on_all_threads(widths, threads):
    torch.set_num_threads(2)
    try:
        stage, seen = sampling(tiny(behaviour_widths=widths)), []
        stage.network.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
        finish(stage)
    finally:
        torch.set_num_threads(1)
    assert set(seen) == {threads}
