"""How far an engine is from D4RL's own physics in one step.

It is measured on 400 real transitions of each locomotion task, recorded from D4RL's v2 environments on MuJoCo 2.1.0 (d4rl 1.1):
state before, action, observation and reward after. The engine is put into each state and given the action.

The recording is one continuous rollout for each task, and a step after a step is taken as the rollout took it: positions and
velocities are written into the running simulation without recomputing where the bodies are. Ant's reward reads a torso position
that lags by a substep, and would otherwise start from a fresh one.
"""

from typing import NamedTuple

import numpy as np

from cepkit.rl.envs.engines import D4RL_FOLDER, ENGINES, find_environment
from cepkit.validation import check_name

BODIES = ("hopper", "halfcheetah", "walker2d", "ant")


class RealTransitions(NamedTuple):
    """Steps of D4RL's own engine: qpos, qvel and action before; observation, reward and terminal after; arrays of N rows."""

    qpos: np.ndarray
    qvel: np.ndarray
    action: np.ndarray
    next_obs: np.ndarray
    reward: np.ndarray
    terminal: np.ndarray


class EngineDifference(NamedTuple):
    """One engine against D4RL's own on one task."""

    body: str
    engine: str
    observation: np.ndarray  # (N,), largest absolute difference of the next observation
    reward: np.ndarray  # (N,), absolute difference of the reward
    terminals: int  # how many steps ended an episode on one of the two alone


def real_transitions(body: str) -> RealTransitions:
    """The recorded steps of "hopper", "halfcheetah", "walker2d" or "ant"."""
    check_name(body, BODIES, name="body")
    with np.load(D4RL_FOLDER / "transitions.npz", allow_pickle=False) as arrays:
        return RealTransitions(*(arrays[f"{body}/{field}"] for field in RealTransitions._fields))


def engine_differences() -> list[EngineDifference]:
    """One row for each task and each engine of locomotion, tasks first; errors as `engine_difference`."""
    return [engine_difference(body, engine) for body in BODIES for engine in ENGINES[:3]]


def engine_difference(body: str, engine: str) -> EngineDifference:
    """Step an engine from each recorded state of a task.

    Raises:
        ValueError: an unknown task or engine, or a package that is not installed.
    """
    real, observation, reward, terminals, starts = real_transitions(body), [], [], 0, True
    with find_environment(f"{body}-medium-v2", engine).opened() as (env,):
        env.reset(seed=0)
        simulation = env.unwrapped
        for qpos, qvel, action, next_obs, real_reward, terminal in zip(*real, strict=True):
            if starts:
                simulation.set_state(qpos, qvel)
            else:
                simulation.data.qpos[:], simulation.data.qvel[:] = qpos, qvel
            got, got_reward, got_terminal, _, _ = env.step(action)
            observation.append(np.abs(got[: len(next_obs)] - next_obs).max())
            reward.append(abs(got_reward - real_reward))
            terminals += bool(got_terminal) != bool(terminal)
            starts = bool(terminal)
    return EngineDifference(body, engine, np.array(observation), np.array(reward), terminals)
