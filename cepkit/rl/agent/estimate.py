"""How long a run takes on this machine: a few real steps of each stage on random data, times the number of steps."""

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import pairwise

import torch

from cepkit.learning.run import COPIES, weight_bytes
from cepkit.rl.agent.agent_networks import NETWORKS, make_networks
from cepkit.rl.agent.baselines import CloningTraining
from cepkit.rl.agent.behaviour import BehaviourTraining, SupportSampling
from cepkit.rl.agent.critic import CriticTraining
from cepkit.rl.agent.prepared import prepare
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.agent.stage import AgentStage
from cepkit.rl.data.transitions import Transitions
from cepkit.validation import check_memory

_STEPS = 20
_CPU_CHUNK = 128  # states; a CPU takes as long for each state in larger chunks


@dataclass(frozen=True)
class Estimate:
    """The expected `seconds` of each stage by name, and on a GPU the peak of its `memory` in bytes; prints as a table."""

    seconds: dict[str, float]
    memory: int | None

    def __str__(self) -> str:
        rows = self.seconds | {"in all": sum(self.seconds.values())}
        lines = [f"{name:<10} {timedelta(seconds=round(seconds))!s:>18}" for name, seconds in rows.items()]
        return "\n".join(lines + ([] if self.memory is None else [f"memory     {self.memory / 1e6:>15,.0f} MB"]))


def check_sizes(config: QGPOConfig, n_states: int, sizes: tuple[int, int], *, seeds: int = 1) -> None:
    """Refuse settings whose networks, support actions or batches need more memory than is free; arguments as `estimate`."""
    weights = sum(weight_bytes(partial(make_networks, stage, sizes, config, 0)) for stage in NETWORKS)
    support = 4 * n_states * config.support_actions * sizes[1]
    names = {"weights": COPIES * weights, "support_actions": support}
    drawn = min(config.support_chunk, n_states) * config.support_actions
    names["support_chunk, support_actions"] = 4 * drawn * max(config.behaviour_widths)
    names["behaviour_batch, behaviour_widths"] = 4 * config.behaviour_batch * sum(config.behaviour_widths)
    rows = config.energy_batch * config.support_actions
    names["energy_batch, support_actions"] = 4 * rows * config.energy_width * config.energy_layers
    for name, size in names.items():
        check_memory(seeds * size, name)


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

    Args:
        config: of the run.
        n_states: transitions in the data.
        sizes: numbers in a state and in an action, (S, A).
        device: where it would be trained.
        seeds: trained together.
        limit: seconds to measure a phase of a stage; the two first steps are taken however long they last.
    """
    check_sizes(config, n_states, sizes, seeds=seeds)
    device, members = torch.device(device), None if seeds == 1 else tuple(range(seeds))
    g, ends = torch.Generator().manual_seed(0), torch.arange(n_states) == n_states - 1
    states, rewards = torch.randn(n_states + 1, sizes[0], generator=g), torch.rand(n_states, generator=g)
    actions = torch.rand(n_states, sizes[1], generator=g) * 2 - 1
    episode = Transitions("random", states[:-1], actions, rewards, states[1:], ends, torch.tensor([0.0, 1000.0]), ends)
    data = prepare(episode.to(device), config)
    behaviour = make_networks("behaviour", sizes, config, config.seed if members is None else members)["behaviour"].to(device)
    chunk = config.support_chunk if device.type == "cuda" else min(config.support_chunk, _CPU_CHUNK)
    support = SupportSampling(data, behaviour.requires_grad_(False), replace(config, support_chunk=chunk), members)
    stages = [BehaviourTraining(data, config, members), support, CriticTraining(data, support.actions, config, members)]
    stages += [CloningTraining(data, config, members)] if config.cloning_steps else []
    seconds = {stage.name: _seconds(stage, limit) for stage in stages}
    return Estimate(seconds, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None)


def _seconds(stage: AgentStage, limit: float) -> float:
    """Steps of each phase (warm start of Q, backups, energy net) times the mean seconds of a step in it."""
    marks, total = {0, stage.steps}, 0.0
    if isinstance(stage, CriticTraining):
        marks |= {stage.first_backup, stage.last_backup, stage.first_energy, stage.first_energy + stage.config.energy_steps}
    for first, end in pairwise(sorted(marks)):
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
