"""A rollout is what the environment did, and a policy's wrong answers are refused by its name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cepkit.rl import make_env, rollout
from cepkit.rl.envs import maze
from cepkit.rl.envs.rollouts import act


def brake(observations):
    """Against the velocity, and a little upwards."""
    return -observations[:, 2:] + torch.tensor([0.0, 0.1])


def test_it_is_the_environment_s_own_steps():
    states, actions, rewards = rollout(brake, maze.NAME, seed=4)
    env = make_env(maze.NAME)
    state, _ = env.reset(seed=4)
    for t in range(maze.STEPS):
        assert np.array_equal(states[t].numpy(), state.astype(np.float32))
        action = brake(torch.tensor(state, dtype=torch.float32)[None])[0].clamp(-1, 1)
        assert torch.equal(actions[t], action)
        state, reward, *_ = env.step(action.numpy())
        assert rewards[t] == reward
    assert states.shape == (300, 4) and actions.shape == (300, 2) and rewards.shape == (300,)
    assert {part.dtype for part in (states, actions, rewards)} == {torch.float32}


def test_several_states_are_several_single_ones():
    starts = torch.tensor([[-1.0, -1.0, 0.0, 0.0], [1.0, 0.2, 1.0, 0.0], [0.0, 1.0, -3.0, 0.5]])
    together = rollout(brake, maze.NAME, start_state=starts, steps=40)
    assert (
        torch.equal(together.states[:, 0], starts) and together.states.shape == (3, 40, 4) and together.rewards.shape == (3, 40)
    )
    assert together.rewards[0].all() and not together.rewards[1].any()
    for i, start in enumerate(starts):
        alone = rollout(brake, maze.NAME, start_state=start, steps=40)
        assert all(torch.equal(one, several[i]) for one, several in zip(alone, together, strict=True))


def test_it_ends_where_the_episode_does():
    states, actions, rewards = rollout(lambda o: torch.zeros(len(o), 3), "hopper-medium-v2", seed=0)
    assert len(states) == len(actions) == len(rewards) < 1000 and states.shape[1] == 11


def test_actions_are_kept_as_applied():
    assert torch.equal(rollout(lambda o: torch.full((len(o), 2), 7.0), maze.NAME, steps=3).actions, torch.ones(3, 2))


def test_a_policy_that_needs_gradients_may_take_them():
    def climb(observations):
        place = observations[:, :2].clone().requires_grad_()
        return torch.autograd.grad(place.square().sum(), place)[0]

    assert rollout(climb, maze.NAME, steps=3).actions.shape == (3, 2)
    weight = torch.nn.Linear(4, 2)
    assert not rollout(weight, maze.NAME, steps=3).actions.requires_grad


def clumsy(answer):
    def policy(observations):
        return answer(observations)

    return policy


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda o: 1 / 0, "raised ZeroDivisionError on 1 observations: division by zero"),
        (lambda o: torch.zeros(2), r"return actions of shape \(1, 2\), got \(2,\)"),
        (lambda o: torch.zeros(len(o), 3), r"return actions of shape \(1, 2\), got \(1, 3\)"),
        (lambda o: [[0.0, 0.0]], r"return a torch.Tensor of shape \(1, 2\), got list"),
        (lambda o: torch.full((len(o), 2), torch.nan), "got 2 NaN or infinite"),
        (lambda o: torch.tensor([[0.0, torch.inf]]), "got 1 NaN or infinite"),
    ],
)
def test_wrong_answers_are_refused_by_the_policy_s_name(answer, message):
    with pytest.raises(ValueError, match=f"^policy: .*clumsy.*{message}"):
        rollout(clumsy(answer), maze.NAME)


def test_an_object_is_named_by_its_class():
    class Wrong(torch.nn.Module):
        def forward(self, observations):
            return None

    with pytest.raises(ValueError, match="expected Wrong to return a torch.Tensor"):
        act(Wrong(), np.zeros((1, 4)), make_env(maze.NAME).action_space)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("hopper-medium-v2", {"start_state": torch.zeros(4)}, "start_state: expected none for hopper-medium-v2"),
        (maze.NAME, {"start_state": torch.zeros(3)}, r"start_state: expected shape \(4,\) or \(B, 4\), got \(3,\)"),
        (maze.NAME, {"start_state": torch.zeros(0, 4)}, "start_state: expected shape"),
        (maze.NAME, {"start_state": torch.zeros(2, 4)}, "start_state: expected a place 0.1 m from every wall"),
        (maze.NAME, {"steps": 301}, r"steps: expected an integer in \[1, 300\], got 301"),
        ("pointmaze", {}, "did you mean 'pointmaze-umaze'"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        rollout(brake, name, **settings)
