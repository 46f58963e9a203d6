"""How far an engine is from D4RL's own machine, in one step.

The yardstick is 400 real transitions of each locomotion task, recorded from D4RL's v2 environments on MuJoCo 2.1.0 (d4rl 1.1) and
shipped with the package: state before, action, observation and reward after. The engine is put into each state and given the
action.

The recording is one continuous rollout for each task. A step after a step is therefore taken as the rollout took it: positions
and velocities are written into the running simulation without recomputing the bodies' places, because Ant's reward reads a
torso position that lags by a substep and would otherwise start from a fresh one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cepkit.rl.envs.engines import D4RL_FOLDER, ENGINES, find_environment
from cepkit.validation import check_name

BODIES = ("hopper", "halfcheetah", "walker2d", "ant")


@dataclass(frozen=True)
class RealTransitions:
    """Steps of D4RL's own machine: qpos, qvel and action before; observation, reward and terminal after; arrays of N rows."""

    qpos: np.ndarray
    qvel: np.ndarray
    action: np.ndarray
    next_obs: np.ndarray
    reward: np.ndarray
    terminal: np.ndarray


@dataclass(frozen=True)
class EngineDifference:
    """One engine against D4RL's machine on one task.

    Attributes:
        body, engine: the task and the engine measured.
        observation: largest absolute difference of the next observation, (N,).
        reward: absolute difference of the reward, (N,).
        terminals: how many steps ended an episode on one machine alone.
    """

    body: str
    engine: str
    observation: np.ndarray
    reward: np.ndarray
    terminals: int

    def __str__(self) -> str:
        return (
            f"{self.body:12s} {self.engine:13s} "
            f"observation {self.observation.max():8.1e} (median {np.median(self.observation):8.1e})  "
            f"reward {self.reward.max():8.1e}  terminals that differ {self.terminals} of {len(self.reward)}"
        )


def real_transitions(body: str) -> RealTransitions:
    """The recorded steps of "hopper", "halfcheetah", "walker2d" or "ant"."""
    check_name(body, BODIES, name="body")
    with np.load(D4RL_FOLDER / "transitions.npz", allow_pickle=False) as arrays:
        return RealTransitions(**{field: arrays[f"{body}/{field}"] for field in RealTransitions.__dataclass_fields__})


def engine_differences(engines: Sequence[str] = ENGINES[:3], bodies: Sequence[str] = BODIES) -> list[EngineDifference]:
    """Step each engine from each recorded state; one row for each task and engine, tasks first.

    Raises:
        ValueError: an unknown task or engine, or a package that is not installed.
    """
    return [_difference(check_name(body, BODIES, name="bodies"), engine) for body in bodies for engine in engines]


def _difference(body: str, engine: str) -> EngineDifference:
    real = real_transitions(body)
    env = find_environment(f"{body}-medium-v2", engine).build()
    env.reset(seed=0)
    simulation, count, width = env.unwrapped, len(real.reward), real.next_obs.shape[1]
    observation, reward, terminals, begins = np.empty(count), np.empty(count), 0, True
    for i in range(count):
        if begins:
            simulation.set_state(real.qpos[i], real.qvel[i])
        else:
            simulation.data.qpos[:], simulation.data.qvel[:] = real.qpos[i], real.qvel[i]
        got, got_reward, got_terminal, _, _ = env.step(real.action[i])
        observation[i] = np.abs(got[:width] - real.next_obs[i]).max()
        reward[i] = abs(got_reward - real.reward[i])
        terminals += bool(got_terminal) != bool(real.terminal[i])
        begins = bool(real.terminal[i])
    env.close()
    return EngineDifference(body, engine, observation, reward, terminals)
