"""The course's maze data: a noisy driver who visits random places, recorded in D4RL's schema with rewards for one goal.

The driver steers to a goal of its own, cell by cell along the shortest way (breadth-first search), with a
proportional-derivative controller and noise, a = clip(10 (waypoint - x) - 2 v + 0.5 noise, -1, 1). Once it has spent 40 steps
within 0.3 m of its goal it picks another, uniformly over the other cells. The recorded reward is the environment's: 1 near the
one fixed goal, whatever the driver's own. A policy that sees only the state cannot know where the driver is heading, so cloning
earns less than the driver did.

Episodes last the environment's 300 steps and end by a time-out, never by a terminal: the reward near the goal goes on for ever.
`qlearning_dataset` drops the last step of each, whose next observation the schema does not hold, so 134 episodes of 300 steps
give 134 x 299 = 40,066 transitions.
"""

import functools
import io
from collections import deque
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cepkit.learning.checkpoints import write_atomically
from cepkit.rl.envs import maze
from cepkit.rl.envs.engines import find_environment
from cepkit.validation import check_number, import_extra

EPISODES = 134
_GAIN, _DAMPING, _NOISE = 10.0, 2.0, 0.5
_ARRIVED, _STAY = 0.3, 40
_SPREAD = 0.25  # the driver's goals lie this far from a cell's centre at most, as the environment's starts do
_COLUMNS = {"observations": np.float32, "actions": np.float32, "rewards": np.float32, "terminals": bool, "timeouts": bool}


def make(path: str | Path, *, episodes: int = EPISODES, seed: int = 0) -> Path:
    """Drive, write the HDF5 file and return its path: the same bytes each time on one machine with the same packages.

    Args:
        path: the file to write, replaced as a whole or not at all.
        episodes: of 300 steps each. Episode i depends on `seed` and i alone, so fewer episodes are the beginning of more.
        seed: of starts, goals and noise.

    Raises:
        ValueError: a number out of range, or a package that is not installed.
        OSError: the file cannot be written.
    """
    content = io.BytesIO()
    with import_extra("h5py").File(content, "w") as file:
        for name, array in record(episodes=episodes, seed=seed).items():
            file.create_dataset(name, data=array, compression="gzip", shuffle=True, track_times=False)
    write_atomically(Path(path), content.getvalue())
    return Path(path)


def record(*, episodes: int = EPISODES, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of the dataset in D4RL's schema, N = 300 episodes rows; arguments and errors as `make`."""
    episodes = check_number(episodes, name="episodes", low=1, high=10**6, integer=True)
    seed, rows = check_number(seed, name="seed", low=0, integer=True), []
    with find_environment(maze.NAME).opened() as (env,):
        for episode in range(episodes):
            random, ended = np.random.default_rng([seed, episode]), False
            driver = _Driver(random)
            state, _ = env.reset(seed=int(random.integers(2**31)))
            while not ended:
                action = driver.act(state)
                following, reward, terminal, timeout, _ = env.step(action)
                rows.append((state, action, reward, terminal, timeout))
                state, ended = following, terminal or timeout
    return {key: np.array(column, _COLUMNS[key]) for key, column in zip(_COLUMNS, zip(*rows, strict=True), strict=True)}


class _Driver:
    def __init__(self, random: np.random.Generator) -> None:
        self._random, self._goal, self._stayed = random, None, 0

    def act(self, state: np.ndarray) -> np.ndarray:
        if self._goal is None or self._stayed >= _STAY:
            self._goal, self._stayed = self._pick_goal(maze.cell_at(*state[:2])), 0
        self._stayed += bool(np.linalg.norm(state[:2] - self._goal) < _ARRIVED)
        return np.clip(_force(state, self._goal) + _NOISE * self._random.standard_normal(2), -1.0, 1.0).astype(np.float32)

    def _pick_goal(self, here: maze.Cell) -> np.ndarray:
        others = [cell for cell in maze.free_cells() if cell != here]
        centre = maze.cell_centre(others[self._random.integers(len(others))])
        return np.array(centre) + self._random.uniform(-_SPREAD, _SPREAD, 2)


def reference_policy(observations: Tensor) -> Tensor:
    """The same controller without noise on its way to the rewarded goal, (B, 4) -> (B, 2): nearly the best possible."""
    states = observations.detach().cpu().numpy().astype(np.float64)
    forces = np.stack([_force(state, np.array(maze.GOAL)) for state in states])
    return torch.from_numpy(forces).clamp(-1.0, 1.0).to(observations)


def _force(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Proportional-derivative control towards the goal, or while it lies in another cell, the next cell on the way."""
    here, there = maze.cell_at(*state[:2]), maze.cell_at(*goal)
    waypoint = goal if here == there else np.array(maze.cell_centre(_ways_to(there)[here]))
    return _GAIN * (waypoint - state[:2]) - _DAMPING * state[2:]


@functools.cache
def _ways_to(goal: maze.Cell) -> dict[maze.Cell, maze.Cell]:
    """For each free cell the next one on the shortest way to `goal`."""
    towards, queue = {goal: goal}, deque([goal])
    while queue:
        row, column = cell = queue.popleft()
        for neighbour in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if neighbour not in towards and not maze.is_wall(neighbour):
                towards[neighbour] = cell
                queue.append(neighbour)
    return towards
