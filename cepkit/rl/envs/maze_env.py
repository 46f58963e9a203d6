"""The course's maze as a Gymnasium environment: gymnasium-robotics' PointMaze with a fixed goal.

MuJoCo spends 0.17 s and 11 MB on the sky of each PointMaze it compiles, and an evaluation holds dozens. Nothing in the model
changes while it runs, not even the mark of the goal, so all mazes of a process share the first one's. This module imports
gymnasium-robotics; Gymnasium imports it when `cepkit.rl.envs.engines` asks for the maze.
"""

from pathlib import Path
from typing import Any

import gymnasium_robotics
import mujoco
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium_robotics.envs.maze.maze_v4 import MazeEnv
from gymnasium_robotics.envs.maze.point import PointEnv
from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv

from cepkit.rl.envs.maze import GOAL, MAP, check_state


class _Ball(PointEnv):
    _compiled: mujoco.MjModel | None = None

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        if _Ball._compiled is None:
            _Ball._compiled, _ = super()._initialize_simulation()
        return _Ball._compiled, mujoco.MjData(_Ball._compiled)


class CourseMaze(PointMazeEnv):
    """Reward 1 within reach of the goal; `reset(options={"state": (x, y, v_x, v_y)})` starts from a chosen state."""

    def __init__(self, render_mode: str | None = None) -> None:
        MazeEnv.__init__(
            self,
            agent_xml_path=str(Path(gymnasium_robotics.__file__).parent / "envs" / "assets" / "point" / "point.xml"),
            maze_map=MAP,
            maze_size_scaling=1,
            maze_height=0.4,
            reward_type="sparse",
            continuing_task=True,
            reset_target=False,
        )
        camera = {"distance": 8.8}
        self.point_env = _Ball(xml_file=self.tmp_xml_file_path, render_mode=render_mode, default_camera_config=camera)
        self.target_site_id = self.point_env.model.site("target").id
        self.action_space, self.render_mode = self.point_env.action_space, render_mode
        place = Box(-np.inf, np.inf, shape=(2,), dtype=np.float64)
        parts = {"observation": self.point_env.observation_space, "achieved_goal": place, "desired_goal": place}
        self.observation_space = Dict(parts)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        options = dict(options or {})
        state = options.pop("state", None)
        if options:
            raise ValueError(f"options: expected only 'state', got {', '.join(map(repr, options))}")
        state = None if state is None else check_state(state, name="options['state']")
        observation, info = super().reset(seed=seed)
        self.goal = np.array(GOAL)
        self.update_target_site_pos()
        if state is not None:
            self.point_env.set_state(state[:2], state[2:])
            observation = self._get_obs(state)
        observation["desired_goal"] = self.goal.copy()
        info["success"] = bool(self.compute_reward(observation["achieved_goal"], self.goal, info))
        return observation, info
