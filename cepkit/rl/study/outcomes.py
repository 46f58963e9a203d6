"""What an action really comes to: the simulator is put into a state of the data, takes the action, and a policy goes on.

    outcome(s, a) = sum_{i < steps} discount^i r_i,    a_0 = a,  a_i = policy(s_i)

is the truth that Q(s, a) stands for, cut off after some steps, for the policy that goes on. An observation of HalfCheetah is the
whole state but for the distance run, which nothing depends on. So Q can be asked the one question that guidance asks of it:
which of a state's actions is better?
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.envs.engines import find_environment
from cepkit.rl.envs.rollouts import Policy, ask
from cepkit.validation import check_number, check_points

BODY = "halfcheetah"
_POSITIONS = 9  # the first of them, the distance, is no part of an observation


def outcomes(
    states: Tensor,
    actions: Tensor,
    policy: Policy,
    name: str,
    *,
    steps: int = 100,
    discount: float = 0.99,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Discounted rewards of each action and what follows, (B, K) float64, in units of the recorded rewards.

    Args:
        states: (B, 17), where to start.
        actions: (B, K, 6), the first actions to compare in each state.
        policy: observations (N, 17) float32 -> actions (N, 6), for every later step; asked for all B K rollouts at once.
        name: a data set of HalfCheetah; the rollouts are on D4RL's engine.
        steps: length of each rollout.
        discount: per step.
        device: where the policy receives observations.

    Raises:
        ValueError: another body, shapes that do not fit, a number out of range; as `cepkit.rl.make_env` and `ask`.
    """
    environment = find_environment(name)
    if environment.body != BODY:
        raise ValueError(f"name: expected a data set of HalfCheetah, whose observation is its state, got {name!r}")
    check_points(states, 2 * _POSITIONS - 1, name="states")
    if states.ndim != 2 or actions.ndim != 3 or len(actions) != len(states):
        wanted = f"({len(states)}, K, 6)" if states.ndim == 2 else "(B, K, 6) for states (B, 17)"
        raise ValueError(f"actions: expected shape {wanted}, got {tuple(actions.shape)} for states {tuple(states.shape)}")
    steps = check_number(steps, name="steps", low=1, integer=True)
    discount = check_number(discount, name="discount", low=0.0, high=1.0)
    env = environment.build()
    env.reset(seed=0)
    each = actions.shape[1]
    current = states.detach().cpu().double().numpy().repeat(each, 0)
    total, chosen = np.zeros(len(current)), actions.detach().cpu().numpy().reshape(len(current), -1)
    for step in range(steps):
        if step:
            chosen = ask(policy, current, env.action_space, device=device)
        for row, (state, action) in enumerate(zip(current, chosen, strict=True)):
            env.unwrapped.set_state(np.concatenate([[0.0], state[: _POSITIONS - 1]]), state[_POSITIONS - 1 :])
            current[row], reward, *_ = env.step(action)
            total[row] += discount**step * reward
    env.close()
    return torch.from_numpy(total.reshape(len(states), each))


def with_shared_noise(qgpo: QGPO, each: int, *, scale: float = 0.0, seed: int = 0) -> Policy:
    """A policy for `outcomes` that draws the same noise for all `each` rollouts of a state (common random numbers).

    Without it, chance in later steps hides what the first action did. Every call draws new noise; `seed` decides it all.
    """
    seeds = torch.Generator().manual_seed(check_number(seed, name="seed", low=0, integer=True))

    def go_on(observations: Tensor) -> Tensor:
        drawn = int(torch.randint(2**62, (), generator=seeds))
        rollouts = observations.unflatten(0, (-1, each)).unbind(1)
        noises = [torch.Generator(observations.device).manual_seed(drawn) for _ in rollouts]
        actions = [qgpo.draw(own, scale=scale, generator=noise) for own, noise in zip(rollouts, noises, strict=True)]
        return torch.stack(actions, 1).flatten(0, 1)

    return go_on


def ranking(q: Tensor, truth: Tensor) -> Tensor:
    """How alike two tables (B, K) order the actions of each state: correlation of ranks, (B,), 1 for the same order.

    Raises:
        ValueError: shapes that differ, or fewer than two actions.
    """
    if q.shape != truth.shape or q.ndim != 2 or q.shape[1] < 2:
        raise ValueError(
            f"q, truth: expected two tables of one shape (B, K), K at least 2, got {tuple(q.shape)}, {tuple(truth.shape)}"
        )
    ranks = [table.argsort(-1).argsort(-1).double() for table in (q, truth)]
    middle = (q.shape[1] - 1) / 2
    left, right = (rank - middle for rank in ranks)
    return (left * right).sum(-1) / (left.square().sum(-1) * right.square().sum(-1)).sqrt()
