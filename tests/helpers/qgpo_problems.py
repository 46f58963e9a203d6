"""Small offline problems with known answers, and a configuration small enough to train in a moment."""

import torch

from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.data.transitions import Transitions

TINY = {
    "behaviour_steps": 12, "behaviour_batch": 16, "behaviour_widths": (8, 4), "behaviour_embedding": 8,
    "support_actions": 4, "support_steps": 3, "support_chunk": 20, "warm_start_steps": 4, "critic_steps": 6,
    "critic_width": 8, "critic_layers": 2, "energy_steps": 6, "energy_batch": 4, "energy_width": 8,
    "energy_layers": 2, "cloning_steps": 6, "act_steps": 3,
}  # fmt: skip

BEHAVIOUR_STD, GOAL, WIDTH = 0.25, 0.4, 0.5


def tiny(**settings):
    return QGPOConfig(**{**TINY, **settings})


def walk(n=60, seed=0, state_dim=3, action_dim=2):
    """A random walk of n steps in episodes of 20, the second of which ends in a terminal."""
    g = torch.Generator().manual_seed(seed)
    states = torch.randn(n + 1, state_dim, generator=g).cumsum(0)
    ends = torch.arange(1, n + 1) % 20 == 0
    terminals = torch.zeros(n, dtype=torch.bool)
    terminals[39] = True
    actions = torch.rand(n, action_dim, generator=g) * 2 - 1
    rewards = torch.rand(n, generator=g)
    returns = rewards.reshape(-1, 20).sum(1)
    return Transitions("walk", states[:-1], actions, rewards, states[1:], terminals, returns, ends)


def bandit(n=4000, seed=0):
    """One step long: a ~ N(0.3 s, BEHAVIOUR_STD^2), reward -(a - GOAL)^2 / (2 WIDTH^2), then a terminal."""
    g = torch.Generator().manual_seed(seed)
    s = torch.rand(n, 1, generator=g) * 2 - 1
    a = 0.3 * s + BEHAVIOUR_STD * torch.randn(n, 1, generator=g)
    reward = -(a[:, 0] - GOAL).square() / (2 * WIDTH**2)
    done = torch.ones(n, dtype=torch.bool)
    return Transitions("bandit", s, a, reward, s, done, reward, done)


def bandit_policy(s, beta):
    """Mean (of the shape of s) and standard deviation of mu(a|s) exp(beta Q(s, a)), a Gaussian by completing the square."""
    precision = 1 / BEHAVIOUR_STD**2 + beta / WIDTH**2
    return (0.3 * s / BEHAVIOUR_STD**2 + beta * GOAL / WIDTH**2) / precision, precision**-0.5


def finish(run):
    for _ in run:
        pass
    return run
