"""Outcomes of actions in the simulator: it is set to a state of the dataset, takes the action, and a policy goes on.

    outcome(s, a) = sum_{i < steps} discount^i r_i,    a_0 = a,  a_i = policy(s_i)

is the ground truth of Q(s, a) for the policy that goes on, cut off after some steps. An observation of HalfCheetah is the whole
state but for the distance run, which nothing depends on. So the one question that guidance asks of Q can be checked: which of a
state's actions is better?
"""

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.envs.engines import find_environment
from cepkit.rl.envs.rollouts import Policy, act
from cepkit.validation import check_number, check_points

_DISCOUNT = 0.99  # per step, that of every preset
_POSITIONS = 9  # the first of them, the distance, is no part of an observation


def outcomes(states: Tensor, actions: Tensor, policy: Policy, name: str, *, steps: int = 100) -> Tensor:
    """Discounted rewards of each action and of the steps that follow, (B, K) float64, in units of the dataset's rewards.

    Args:
        states: (B, 17), where to start.
        actions: (B, K, 6), the first actions to compare in each state.
        policy: observations (N, 17) float32 -> actions (N, 6), for every later step; asked for all B K rollouts at once.
        name: a dataset of HalfCheetah; the rollouts are on D4RL's engine.
        steps: length of each rollout.

    Raises:
        ValueError: another body, shapes that do not fit, a number out of range; as `cepkit.rl.make_env` and `act`.
    """
    environment = find_environment(name)
    if environment.body != "halfcheetah":
        raise ValueError(f"name: expected a dataset of HalfCheetah, whose observation is its state, got {name!r}")
    check_points(states, 2 * _POSITIONS - 1, name="states")
    if states.ndim != 2 or actions.ndim != 3 or len(actions) != len(states):
        wanted = f"({len(states)}, K, 6)" if states.ndim == 2 else "(B, K, 6) for states (B, 17)"
        raise ValueError(f"actions: expected shape {wanted}, got {tuple(actions.shape)} for states {tuple(states.shape)}")
    steps = check_number(steps, name="steps", low=1, integer=True)
    each = actions.shape[1]
    current = states.detach().cpu().double().numpy().repeat(each, 0)
    total, chosen = np.zeros(len(current)), actions.detach().cpu().numpy().reshape(len(current), -1)
    with environment.opened() as (env,):
        env.reset(seed=0)
        for step in range(steps):
            if step:
                chosen = act(policy, current, env.action_space)
            for row, (state, action) in enumerate(zip(current, chosen, strict=True)):
                env.unwrapped.set_state(np.concatenate([[0.0], state[: _POSITIONS - 1]]), state[_POSITIONS - 1 :])
                current[row], reward, *_ = env.step(action)
                total[row] += _DISCOUNT**step * reward
    return torch.from_numpy(total.reshape(len(states), each))


def with_shared_noise(qgpo: QGPO, each: int, *, seed: int = 0) -> Policy:
    """The behaviour model as a policy for `outcomes`, with common random numbers for the `each` rollouts of a state.

    With noise of their own, chance in later steps hides what the first action did. Every call draws new noise, decided by `seed`.
    """
    seeds = torch.Generator().manual_seed(check_number(seed, name="seed", low=0, integer=True))

    def go_on(observations: Tensor) -> Tensor:
        drawn = int(torch.randint(2**62, (), generator=seeds))
        rollouts = observations.unflatten(0, (-1, each)).unbind(1)
        noises = [torch.Generator(observations.device).manual_seed(drawn) for _ in rollouts]
        actions = [qgpo.draw(states, generator=noise) for states, noise in zip(rollouts, noises, strict=True)]
        return torch.stack(actions, 1).flatten(0, 1)

    return go_on


def ranking(q: Tensor, truth: Tensor) -> Tensor:
    """Spearman's correlation of ranks between two tables (B, K), by state, (B,): how alike they order its actions.

    1 is the same order and 0 chance. Ties share their mean rank, so a table that is constant in a state says nothing there: 0.

    Raises:
        ValueError: shapes that differ, or fewer than two actions.
    """
    if q.shape != truth.shape or q.ndim != 2 or q.shape[1] < 2:
        shapes = f"{tuple(q.shape)}, {tuple(truth.shape)}"
        raise ValueError(f"q, truth: expected two tables of one shape (B, K), K at least 2, got {shapes}")
    ranks = [torch.from_numpy(rankdata(table.detach().cpu().numpy(), axis=1)) for table in (q, truth)]
    return torch.cosine_similarity(*(rank - (q.shape[1] + 1) / 2 for rank in ranks), dim=1)
