"""What lies between Gymnasium's environments and the data: D4RL's clipping, its zeros, and flat observations of mazes.

This module needs gymnasium as soon as it is imported, so it is imported by `cepkit.rl.envs.engines` alone, when an environment is
made.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np


class ClippedActions(gym.ActionWrapper):
    """Actions clipped to their bounds, as D4RL's `NormalizedBoxEnv` does, so that the cost is that of the force applied."""

    def action(self, action: np.ndarray) -> np.ndarray:
        return np.clip(action, self.action_space.low, self.action_space.high)


class ZeroPadded(gym.ObservationWrapper):
    """Observations followed by `count` zeros: Ant's contact forces, which MuJoCo 2 left at zero and D4RL recorded so."""

    def __init__(self, env: gym.Env, count: int) -> None:
        super().__init__(env)
        self._zeros = np.zeros(count)
        space = env.observation_space
        self.observation_space = gym.spaces.Box(self.observation(space.low), self.observation(space.high), dtype=space.dtype)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return np.concatenate([observation, self._zeros])


class FlatMaze(gym.ObservationWrapper):
    """A maze's dictionary as D4RL's one vector: position first, then the rest; the goal is not part of it.

    The model file that gymnasium-robotics leaves behind for each maze is removed: MuJoCo has read it by now.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        Path(env.unwrapped.tmp_xml_file_path).unlink(missing_ok=True)
        parts = env.observation_space.spaces
        self._position_apart = not hasattr(env.unwrapped, "point_env")  # AntMaze keeps the position out of "observation"
        size = parts["observation"].shape[0] + 2 * self._position_apart
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, shape=(size,), dtype=np.float64)

    def observation(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        if self._position_apart:
            return np.concatenate([observation["achieved_goal"], observation["observation"]])
        return observation["observation"]
