"""How long each stage of a run takes on this machine, and how much memory: a few steps on random data, extrapolated.

A stage whose steps change on the way (warm start of Q, backups, energy net) is measured in each phase, so that

    seconds = sum over phases of (steps of the phase) x (median seconds of a step in it).

A step costs what its networks and its batch cost, so the data may be fewer than the real ones; whatever grows with the data is
scaled by its rows. Memory is what a stage keeps (data, support actions, weights, optimiser) and what one step holds on the
way: on a GPU the measured peak; on a CPU the tensors saved for the backward pass, or for sampling those of one call of the
network, so that there it is rather the lower end.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from cepkit.rl.agent.action_support import SupportSampling
from cepkit.rl.agent.baselines import CloningTraining
from cepkit.rl.agent.behaviour import ActionDenoiser, BehaviourTraining, behaviour_network
from cepkit.rl.agent.critic import CriticTraining
from cepkit.rl.agent.prepared import Prepared, prepare
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.agent.stage import Seeds, Stage
from cepkit.rl.data.transitions import Transitions
from cepkit.validation import check_number

_ROWS = 10_000
_LONG = 1_000_000
_STEPS = 10
_CPU_CHUNK = 128


@dataclass(frozen=True)
class StageEstimate:
    """What one stage is expected to take.

    Attributes:
        name: of the stage.
        steps: how many it has.
        seconds: of all its steps.
        memory: bytes at their most.
    """

    name: str
    steps: int
    seconds: float
    memory: int


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take.

    Attributes:
        stages: in their order.
        device: measured on.
        seeds: trained together.
    """

    stages: tuple[StageEstimate, ...]
    device: str
    seeds: int

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def memory(self) -> int:
        """Bytes at their most."""
        return max(stage.memory for stage in self.stages)

    def __str__(self) -> str:
        lines = [f"{'stage':<10} {'steps':>9}  {'time':>9}  {'memory':>9}"]
        rows = [(stage.name, f"{stage.steps:,}", stage.seconds, stage.memory) for stage in self.stages]
        for name, steps, seconds, memory in [*rows, ("in all", "", self.seconds, self.memory)]:
            lines.append(f"{name:<10} {steps:>9}  {duration(seconds):>9}  {memory / 1e6:>6,.0f} MB")
        return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds as people read them: "8 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    seconds = max(0, round(seconds))
    if seconds < 120:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def estimate(
    config: QGPOConfig,
    n_states: int,
    dims: tuple[int, int],
    device: torch.device | str = "cpu",
    *,
    seeds: int = 1,
    budget: float = 1.0,
) -> Estimate:
    """Measure a few steps of each stage and extrapolate.

    Args:
        config: of the run.
        n_states: rows of the data.
        dims: numbers in a state and in an action, (S, A).
        device: where it would be trained.
        seeds: trained together.
        budget: seconds to measure each phase of a stage, about; at least one step is taken after one to warm up.

    Raises:
        ValueError: a number out of range.
    """
    n_states = check_number(n_states, name="n_states", low=2, integer=True)
    dims = tuple(check_number(size, name="dims", low=1, integer=True) for size in dims)
    seeds = check_number(seeds, name="seeds", low=1, integer=True)
    budget = check_number(budget, name="budget", low=0.0)
    rows = min(n_states, max(_ROWS, config.support_chunk))
    with torch.random.fork_rng(devices=[]):
        return _Probe(config, rows, n_states / rows, dims, torch.device(device), seeds, budget).estimate()


class _Probe:
    """Random data of `rows` rows, standing for `growth` times as many."""

    def __init__(
        self,
        config: QGPOConfig,
        rows: int,
        growth: float,
        dims: tuple[int, int],
        device: torch.device,
        seeds: int,
        budget: float,
    ) -> None:
        self.config, self.rows, self.growth, self.dims, self.device, self.budget = config, rows, growth, dims, device, budget
        self.seeds: Seeds = None if seeds == 1 else tuple(range(seeds))
        self.count = seeds
        transitions = _random_transitions(rows, *dims).to(device)
        self.data: Prepared = prepare(transitions, config)
        raw = _bytes(transitions.tensors.values()) + _bytes(getattr(self.data, entry.name) for entry in fields(self.data))
        self.kept = int(raw * growth)  # the data
        one = 4 * config.support_actions * dims[1] * rows * seeds
        self.support_bytes = int(one * growth)

    def estimate(self) -> Estimate:
        config = self.config
        stages = [self._behaviour(), self._support(), self._critic()]
        if config.cloning_steps:
            stages.append(self._cloning())
        return Estimate(tuple(stages), str(self.device), self.count)

    def _behaviour(self) -> StageEstimate:
        seconds, memory = self._measure(BehaviourTraining(self.data, self.config, self.seeds))
        steps = self.config.behaviour_steps
        return StageEstimate("behaviour", steps, steps * seconds, self.kept + memory)

    def _cloning(self) -> StageEstimate:
        seconds, memory = self._measure(CloningTraining(self.data, self.config, self.seeds))
        steps = self.config.cloning_steps
        return StageEstimate("cloning", steps, steps * seconds, self.kept + self.support_bytes + memory)

    def _support(self) -> StageEstimate:
        config = self.config
        network = behaviour_network(*self.dims, config, 0 if self.seeds is None else self.seeds).to(self.device).eval()
        chunk = min(config.support_chunk, len(self.data.states))
        if self.device.type == "cpu":  # which is as quick, state by state, in smaller chunks
            config = replace(config, support_chunk=min(chunk, _CPU_CHUNK))
        stage = SupportSampling(self.data, network.requires_grad_(False), config, self.seeds)
        drawn = stage.actions.nbytes
        seconds, memory = self._measure(stage, once=lambda: self._one_call(network, chunk))
        states = self.rows * self.growth
        steps = -(-round(states) // self.config.support_chunk)
        held = self.kept + self.support_bytes + max(0, memory - drawn)
        return StageEstimate("support", steps, states / min(chunk, config.support_chunk) * seconds, held)

    def _one_call(self, network: torch.nn.Module, chunk: int) -> None:
        """One call of the network on a chunk of states, keeping what a backward pass would need."""
        members = () if self.seeds is None else (self.count,)
        states = self.data.states[:chunk, None]
        actions = torch.zeros(*members, chunk, self.config.support_actions, self.dims[1], device=self.device, requires_grad=True)
        states = states.expand(*members, *states.shape)
        denoiser = ActionDenoiser(network, states, self.config.schedule, self.config.behaviour_target)
        denoiser(actions, torch.tensor(0.5, device=self.device))

    def _critic(self) -> StageEstimate:
        config = self.config
        lead = () if self.seeds is None else (self.count,)
        shape = (*lead, len(self.data.states), config.support_actions, self.dims[1])
        support = torch.rand(shape, device=self.device) * 2 - 1
        both = min(config.critic_steps, config.energy_steps) if config.together else 0
        phases = (  # steps of the phase, and a run that is in this phase from its first step
            (config.warm_start_steps, {"warm_start_steps": _LONG}),
            (both, {"warm_start_steps": 0, "critic_steps": _LONG, "energy_steps": _LONG}),
            (config.critic_steps - both, {"warm_start_steps": 0, "critic_steps": _LONG, "together": False}),
            (config.energy_steps - both, {"warm_start_steps": 0, "critic_steps": 0, "energy_steps": _LONG}),
        )
        steps, seconds, memory = 0, 0.0, 0
        for count, settings in phases:
            if not count:
                continue
            stage = CriticTraining(self.data, support, replace(config, **settings), self.seeds)
            if not config.together and settings.get("energy_steps"):
                next(iter(stage))  # finds the final Q once, which is counted below and is no part of a step
            each, held = self._measure(stage)
            steps, seconds, memory = steps + count, seconds + count * each, max(memory, held)
        held = self.kept + 2 * self.support_bytes + memory if self.seeds else self.kept + self.support_bytes + memory
        if config.energy_steps and not config.together:
            seconds += self._timed(stage.final_q) * self.growth
            held += self.support_bytes // self.dims[1]  # Q at every support action
        return StageEstimate("critic", steps, seconds, held)

    def _measure(self, stage: Stage, *, once: Callable[[], object] | None = None) -> tuple[float, int]:
        """Median seconds of a step, and bytes that the stage keeps and a step needs. `once` stands for one without gradient."""
        seen: list[float] = []
        if self.device.type == "cuda":
            before = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            first = self._timed(lambda: next(iter(stage)))
            needed = torch.cuda.max_memory_allocated(self.device) - before
        else:
            begun = time.perf_counter()
            needed = _saved_bytes(once or (lambda: next(iter(stage))))
            first = 0.0 if once else time.perf_counter() - begun
        if first > max(self.budget, 1.0):  # so slow that warming up matters little
            return first, needed + _bytes(stage.tensors().values())
        begun = time.perf_counter()
        while not seen or (len(seen) < _STEPS and time.perf_counter() - begun < self.budget):
            if stage.finished:  # a stage shorter than the measurement starts again
                stage.index = 0
            seen.append(self._timed(lambda: next(iter(stage))))
        return statistics.median(seen), needed + _bytes(stage.tensors().values())

    def _timed(self, act: Callable[[], object]) -> float:
        self._wait()
        begun = time.perf_counter()
        act()
        self._wait()
        return time.perf_counter() - begun

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _random_transitions(rows: int, state_dim: int, action_dim: int) -> Transitions:
    """One long episode of `rows` transitions, the last a terminal."""
    g = torch.Generator().manual_seed(0)
    states = torch.randn(rows + 1, state_dim, generator=g)
    ends = torch.arange(rows) == rows - 1
    actions = torch.rand(rows, action_dim, generator=g) * 2 - 1
    rewards = torch.rand(rows, generator=g)
    return Transitions("random", states[:-1], actions, rewards, states[1:], ends, torch.tensor([0.0, 1000.0]), ends)


def _bytes(values) -> int:
    return sum(value.nbytes for value in values if isinstance(value, Tensor))


def _saved_bytes(act: Callable[[], object]) -> int:
    """Bytes of the tensors that `act` keeps for the backward pass, each storage once."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        act()
    return sum(storages.values())
