"""Made-up transitions of HalfCheetah's sizes, and the stages of a QGPO run at the paper's."""

from dataclasses import replace

import torch

from cepkit.rl.agent.behaviour import BehaviourTraining, SupportSampling
from cepkit.rl.agent.critic import CriticTraining
from cepkit.rl.agent.prepared import prepare
from cepkit.rl.agent.qgpo_config import PRESETS
from cepkit.rl.data.transitions import Transitions

STATE, ACTION = 17, 6
PAPER = replace(PRESETS["locomotion"], support_chunk=128)


def made_up_data(rows, config=PAPER, device="cpu"):
    """Prepared transitions in episodes of 1,000 steps."""
    g = torch.Generator().manual_seed(0)
    states, actions = torch.randn(rows + 1, STATE, generator=g), torch.rand(rows, ACTION, generator=g) * 2 - 1
    ends = torch.arange(1, rows + 1) % min(1000, rows) == 0
    rewards = torch.rand(rows, generator=g)
    returns = rewards.reshape(-1, min(1000, rows)).sum(1)
    columns = (states[:-1], actions, rewards, states[1:], torch.zeros_like(ends), returns, ends)
    return prepare(Transitions("made up", *(column.to(device) for column in columns)), config)


def made_up_support(data, config=PAPER):
    """Support actions for every state, (M, K, A)."""
    g = torch.Generator().manual_seed(1)
    shape = (len(data.states), config.support_actions, data.actions.shape[1])
    return (torch.rand(shape, generator=g) * 2 - 1).to(data.states.device)


def made_up_stage(name, data, config=PAPER, seeds=None):
    """A stage by name, for one seed or for several trained together."""
    if name == "behaviour":
        return BehaviourTraining(data, config, seeds)
    if name == "support":
        return SupportSampling(data, BehaviourTraining(data, config, seeds).network, config, seeds)
    support = made_up_support(data, config)
    return CriticTraining(data, support if seeds is None else support.expand(len(seeds), -1, -1, -1), config, seeds)
