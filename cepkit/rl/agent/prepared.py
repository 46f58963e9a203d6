"""Transitions prepared for training: states in one table, rewards rescaled, returns and the range of Q.

Row i of the table is s_i; the successor of a transition that goes on is the next row, and only successors that no row holds
follow at the end. So support actions are drawn, and stored, once for each state, although they are used at s and at s'.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.data.hdf5 import LARGEST
from cepkit.rl.data.rewards import training_rewards
from cepkit.rl.data.transitions import Transitions


@dataclass(frozen=True, eq=False)
class Prepared:
    """The tables that the stages train on, all on one device.

    Attributes:
        states: (M, S), the table, shifted by `mean` and divided by `std`; the first N rows are the observations.
        successors: (N,), rows of the next states.
        actions: (N, A).
        rewards: (N,), for training.
        not_done: (N,), 0 at terminals and 1 elsewhere.
        returns: (N,), discounted returns to go along the data, see `returns_to_go`.
        mean, std: (S,), of the observations; 0 and 1 where these are not normalised.
        low, high: between which every Q lies.
    """

    states: Tensor
    successors: Tensor
    actions: Tensor
    rewards: Tensor
    not_done: Tensor
    returns: Tensor
    mean: Tensor
    std: Tensor
    low: float
    high: float

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers in a state and in an action."""
        return self.states.shape[1], self.actions.shape[1]

    @property
    def device(self) -> torch.device:
        return self.states.device


def prepare(transitions: Transitions, config: QGPOConfig) -> Prepared:
    """Make the tables for training, on the device of the transitions.

    Raises:
        ValueError: no transitions, or values that are not finite or too large to square.
    """
    if not len(transitions):
        raise ValueError("transitions: expected at least one, got none")
    for name in ("observations", "actions", "rewards", "next_observations"):
        value = getattr(transitions, name)
        if beyond := int((~(value.abs() <= LARGEST)).sum()):
            raise ValueError(f"transitions: expected finite {name} up to {LARGEST:g}, got {beyond} NaN, infinite or beyond")
    observations, ends = transitions.observations, transitions.ends
    mean, std = torch.zeros_like(observations[0]), torch.ones_like(observations[0])
    if config.normalize_observations:
        mean, std = observations.mean(0), observations.std(0, correction=0)
        std = torch.where(std > 1e-6, std, torch.ones_like(std))  # a coordinate that never moves says nothing
    n = len(transitions)
    successors = torch.arange(1, n + 1, device=observations.device)
    successors[ends] = n + torch.arange(int(ends.sum()), device=observations.device)
    states = torch.cat([observations, transitions.next_observations[ends]])
    rewards = training_rewards(transitions, config.family)
    not_done = (~transitions.terminals).to(rewards)
    extremes = (float(rewards.min()), float(rewards.max()))
    forever = [reward / (1 - config.discount) for reward in extremes]
    return Prepared(
        states=(states - mean) / std,
        successors=successors,
        actions=transitions.actions,
        rewards=rewards,
        not_done=not_done,
        returns=returns_to_go(rewards, transitions.terminals, ends, config.discount),
        mean=mean,
        std=std,
        low=min(extremes[0], forever[0]),
        high=max(extremes[1], forever[1]),
    )


def returns_to_go(rewards: Tensor, terminals: Tensor, ends: Tensor, discount: float) -> Tensor:
    """Sum the discounted rewards from each transition of the data on, shape (N,).

    Where the data break off without a terminal, they are taken to go on at the mean reward.
    """
    beyond = float(rewards.double().mean()) / (1 - discount)
    found, value = [], 0.0
    rows = zip(reversed(rewards.tolist()), reversed(terminals.tolist()), reversed(ends.tolist()), strict=True)
    for reward, terminal, end in rows:
        ahead = 0.0 if terminal else beyond if end else value
        value = reward + discount * ahead
        found.append(value)
    return torch.tensor(found[::-1], dtype=rewards.dtype, device=rewards.device)
