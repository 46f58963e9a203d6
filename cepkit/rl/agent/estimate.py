"""How long each stage of a run takes on this machine, and how much memory: a few real steps on random data, times their number.

A stage whose steps change on the way (warm start of Q, backups, energy net) is measured in each phase.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

import torch
from torch import Tensor

from cepkit.learning.run import state_of
from cepkit.rl.agent.action_support import SupportSampling
from cepkit.rl.agent.agent_networks import make_networks
from cepkit.rl.agent.baselines import CloningTraining
from cepkit.rl.agent.behaviour import BehaviourTraining
from cepkit.rl.agent.critic import CriticTraining
from cepkit.rl.agent.prepared import prepare
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.agent.stage import AgentStage
from cepkit.rl.data.transitions import Transitions

_STEPS = 20
_CPU_CHUNK = 128  # states; a CPU takes as long for each state in larger chunks


@dataclass(frozen=True)
class StageEstimate:
    """The expected cost of one stage: its name and steps, `seconds` of all steps, and `memory` in bytes (see `estimate`)."""

    name: str
    steps: int
    seconds: float
    memory: int


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a run, by stage; prints as a table."""

    stages: tuple[StageEstimate, ...]

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    def __str__(self) -> str:
        total = StageEstimate("in all", sum(s.steps for s in self.stages), self.seconds, max(s.memory for s in self.stages))
        lines = [f"{'stage':<10} {'steps':>9}  {'time':>18}  {'memory':>9}"]
        for stage in (*self.stages, total):
            time_text = str(timedelta(seconds=round(stage.seconds)))
            lines.append(f"{stage.name:<10} {stage.steps:>9,}  {time_text:>18}  {stage.memory / 1e6:>6,.0f} MB")
        return "\n".join(lines)


def estimate(
    config: QGPOConfig,
    n_states: int,
    sizes: tuple[int, int],
    device: torch.device | str = "cpu",
    *,
    seeds: int = 1,
    limit: float = 5.0,
) -> Estimate:
    """Time up to 20 steps of each stage, after one to warm up, on random data of the size of the real ones.

    Memory is the peak of a stage on a GPU. Elsewhere it is that of the data, support actions, weights and optimisers alone.

    Args:
        config: of the run.
        n_states: transitions in the data.
        sizes: numbers in a state and in an action, (S, A).
        device: where it would be trained.
        seeds: trained together.
        limit: seconds to measure a phase of a stage; the two first steps are taken however long they last.
    """
    device, members = torch.device(device), None if seeds == 1 else tuple(range(seeds))
    data = prepare(_random_transitions(n_states, *sizes).to(device), config)
    behaviour = make_networks("behaviour", sizes, config, config.seed if members is None else members)["behaviour"].to(device)
    chunk = config.support_chunk if device.type == "cuda" else min(config.support_chunk, _CPU_CHUNK)
    sampled = replace(config, support_chunk=chunk)
    support = SupportSampling(data, behaviour.eval().requires_grad_(False), sampled, members)
    stages: list[AgentStage] = [BehaviourTraining(data, config, members), support]
    stages.append(CriticTraining(data, support.actions, config, members))
    if config.cloning_steps:
        stages.append(CloningTraining(data, config, members))
    held = [*vars(data).values(), support.actions]
    found = []
    for stage in stages:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        seconds = _seconds(stage, limit)
        own = [] if stage is support else state_of(stage).values()
        memory = sum(value.nbytes for value in (*held, *own) if isinstance(value, Tensor))
        memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else memory
        steps = -(-len(data.states) // config.support_chunk) if stage is support else stage.steps
        found.append(StageEstimate(stage.name, steps, seconds, memory))
    return Estimate(tuple(found))


def _seconds(stage: AgentStage, limit: float) -> float:
    """Steps of each phase times the mean seconds of a step in it."""
    marks: Sequence[int] = (0, stage.steps)
    if isinstance(stage, CriticTraining):
        last_energy = stage.first_energy + stage.config.energy_steps
        marks = sorted({0, stage.first_backup, stage.last_backup, stage.first_energy, last_energy, stage.steps})
    total = 0.0
    for first, end in pairwise(marks):
        stage.index, steps, seen = first, iter(stage), []
        while len(seen) < min(_STEPS + 1, end - first) and (len(seen) < 2 or sum(seen) < limit):
            begun = time.perf_counter()
            next(steps)
            if stage.device.type == "cuda":
                torch.cuda.synchronize(stage.device)
            seen.append(time.perf_counter() - begun)
        steady = seen[1:] or seen
        total += (end - first) * sum(steady) / len(steady)
    return total


def _random_transitions(rows: int, state_dim: int, action_dim: int) -> Transitions:
    """One long episode of `rows` transitions, the last a terminal."""
    g = torch.Generator().manual_seed(0)
    states = torch.randn(rows + 1, state_dim, generator=g)
    ends = torch.arange(rows) == rows - 1
    actions = torch.rand(rows, action_dim, generator=g) * 2 - 1
    rewards = torch.rand(rows, generator=g)
    return Transitions("random", states[:-1], actions, rewards, states[1:], ends, torch.tensor([0.0, 1000.0]), ends)
