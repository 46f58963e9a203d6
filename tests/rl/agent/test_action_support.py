"""Support actions: one set per state wherever it occurs, resumable, and cached under a key of all they depend on."""

from dataclasses import replace

import pytest
import torch
from qgpo_problems import finish, tiny, walk

from cepkit.rl.agent.action_support import SupportSampling, load_support, save_support, support_key, support_path
from cepkit.rl.agent.behaviour import behaviour_network
from cepkit.rl.agent.prepared import prepare

SHAPE = (63, 4, 2)


def sampling(config=None, seeds=None):
    config = config or tiny()
    data = prepare(walk(), config)
    network = behaviour_network(3, 2, config, config.seed if seeds is None else seeds).requires_grad_(False)
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
    second.load_tensors({k: v.clone() for k, v in first.tensors().items()}, 1)
    assert torch.equal(finish(second).actions, whole.actions)


def test_a_member_draws_what_it_would_draw_alone():
    together = finish(sampling(seeds=(0, 1))).actions
    for i, seed in enumerate((0, 1)):
        torch.testing.assert_close(together[i], finish(sampling(tiny(seed=seed))).actions)


def test_the_key_depends_on_all_that_the_actions_depend_on():
    config, weights = tiny(), behaviour_network(3, 2, tiny(), 0).state_dict()
    key = support_key(weights, "data", config)
    assert key == support_key(weights, "data", replace(config, critic_steps=7))
    others = [replace(config, **change) for change in ({"seed": 1}, {"support_actions": 5}, {"support_steps": 4})]
    others += [replace(config, support_method="ddim"), replace(config, support_chunk=7)]
    keys = [support_key(weights, "data", other) for other in others] + [support_key(weights, "other", config)]
    nudged = {name: value + 1e-7 * (name == "last.bias") for name, value in weights.items()}
    assert len({key, *keys, support_key(nudged, "data", config)}) == len(keys) + 2


def test_the_cache_gives_back_what_was_kept_and_refuses_what_is_not(tmp_path):
    actions = torch.rand(SHAPE)
    path = support_path(tmp_path, "a" * 64)
    assert load_support(path, "a" * 64, SHAPE) is None
    save_support(path, actions, "a" * 64)
    assert torch.equal(load_support(path, "a" * 64, SHAPE), actions)
    with pytest.raises(ValueError, match="expected support actions of key aaaaaaaaaaaaaaab"):
        load_support(path, "a" * 15 + "b" * 49, SHAPE)
    with pytest.raises(ValueError, match="expected actions of shape"):
        load_support(path, "a" * 64, (2, 4, 2))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="does not read"):
        load_support(path, "a" * 64, SHAPE)
