"""The exact answer over actions: the error is 0 for the exact field, 1 for none, 2 for one of the wrong sign."""

from dataclasses import replace

import pytest
import torch
from qgpo_problems import tiny, walk

from cepkit.diffusion.process import perturb
from cepkit.rl.agent.agent_networks import make_networks
from cepkit.rl.agent.prepared import prepare
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.support_truth import TRUTH_TIMES, exact_answer, guidance_errors


@pytest.fixture
def qgpo():
    config = tiny()
    data = prepare(walk(), config)
    critic, energy = make_networks("critic", (3, 2), config, 0).values()
    behaviour = make_networks("behaviour", (3, 2), config, 0)["behaviour"]
    return QGPO(behaviour, critic, energy, config, data.mean, data.std, torch.tensor(0.5))


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 0.0), (0.0, 1.0), (-1.0, 2.0)])
def test_errors_of_known_fields(qgpo, generator, factor, expected):
    state, actions = walk().observations[:1], torch.rand(1, 6, 2, generator=generator) * 2 - 1
    truth = exact_answer(qgpo, state[0], actions[0])

    def energy_net(a_t, t, states):
        return factor * truth.energy_t(a_t, t, qgpo.config.beta, qgpo.config.schedule)

    errors = guidance_errors(replace(qgpo, energy_net=energy_net), state, actions, generator=generator)
    assert errors.shape == (len(TRUTH_TIMES),)
    torch.testing.assert_close(errors, torch.full_like(errors, expected), atol=1e-4, rtol=0)


def test_the_exact_answer_by_hand(qgpo, generator):
    """-log sum_k p_k exp(beta Q_k / unit), p_k the posterior of the support actions at a_t."""
    state, actions = walk().observations[5], torch.rand(6, 2, generator=generator) * 2 - 1
    t, schedule, beta = 0.3, qgpo.config.schedule, qgpo.config.beta
    a_t = perturb(actions, t, schedule, generator=generator).x_t
    q = qgpo.q(state, actions)
    unit = torch.clamp(q.std(correction=0), min=0.5)
    posterior = (-0.5 * torch.cdist(a_t, schedule.alpha(t).float() * actions).square() / schedule.sigma(t).float() ** 2).softmax(
        -1
    )
    expected = -(posterior @ (beta * q / unit).exp()).log()
    found = exact_answer(qgpo, state, actions).energy_t(a_t, t, beta, schedule)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_scatter_of_a_set_is_zero_against_itself_and_shrinks_with_its_size(qgpo, generator):
    states = walk().observations[:8]
    few, more, most = (torch.rand(8, k, 2, generator=generator) * 2 - 1 for k in (8, 128, 1024))
    same = guidance_errors(qgpo, states, few, noises=1, other=few, generator=generator)
    torch.testing.assert_close(same, torch.zeros_like(same))
    scatter = [guidance_errors(qgpo, states, own, noises=1, other=most, generator=generator) for own in (few, more)]
    assert bool((scatter[0] > 2 * scatter[1]).all()) and bool((scatter[1] > 0).all())
