"""What is drawn is what is simulated; the goal, the starts and the reward are as said; no file is left behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gymnasium
import matplotlib
import numpy as np
import pytest

from cepkit.rl import make_env
from cepkit.rl.envs import maze

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture
def env():
    return make_env(maze.NAME)


def at(x, y, vx=0.0, vy=0.0):
    return {"state": np.array([x, y, vx, vy])}


def test_the_walls_are_the_model_s_boxes(env):
    model = env.unwrapped.model
    boxes = [model.geom(i) for i in range(model.ngeom) if model.geom(i).name.startswith("block")]
    assert len(boxes) == 18 == sum(width * height for _, _, width, height in maze.walls())
    for box in boxes:
        (x, y), half = box.pos[:2], box.size[:2]
        assert any(
            left <= x - half[0] and x + half[0] <= left + width and bottom <= y - half[1] and y + half[1] <= bottom + height
            for left, bottom, width, height in maze.walls()
        )
    assert model.geom("particle_geom").size[0] == maze.BALL_RADIUS


def test_cells_are_where_the_environment_has_them(env):
    theirs = env.unwrapped.maze
    for cell in maze.free_cells():
        assert np.array_equal(theirs.cell_rowcol_to_xy(np.array(cell)), maze.cell_centre(cell))
        assert tuple(theirs.cell_xy_to_rowcol(np.array(maze.cell_centre(cell)) + 0.4)) == maze.cell_at(
            *(np.array(maze.cell_centre(cell)) + 0.4)
        )
    assert len(maze.free_cells()) == 7 and maze.GOAL == (-1.0, -1.0) and maze.is_wall((-1, 0)) and maze.is_wall((0, 5))


def test_the_drawing_shows_walls_and_goal():
    fig, ax = plt.subplots()
    assert maze.draw_maze(ax, title="maze") is ax
    *walls, goal = ax.patches
    assert [(*wall.get_xy(), wall.get_width(), wall.get_height()) for wall in walls] == maze.walls()
    assert goal.center == maze.GOAL and goal.radius == maze.GOAL_RADIUS
    assert (*ax.get_xlim(), *ax.get_ylim()) == maze.extent() == (-2.5, 2.5, -2.5, 2.5) and ax.get_aspect() == 1.0
    plt.close(fig)


def test_episodes_start_at_rest_in_every_cell_but_the_goal_s(env):
    starts = np.array([env.reset(seed=seed)[0] for seed in range(120)])
    cells = {maze.cell_at(x, y) for x, y in starts[:, :2]}
    assert cells == set(maze.free_cells()) - {maze.cell_at(*maze.GOAL)} and not starts[:, 2:].any()
    assert np.array_equal(starts[7], env.reset(seed=7)[0]) and len(np.unique(starts, axis=0)) == 120
    assert np.array_equal(env.unwrapped.goal, maze.GOAL)


@pytest.mark.parametrize(("distance", "reward"), [(0.44, 1.0), (0.46, 0.0)])
def test_the_reward_is_for_being_near_the_goal(env, distance, reward):
    _, info = env.reset(seed=0, options=at(maze.GOAL[0] + distance, maze.GOAL[1]))
    _, got, terminated, truncated, after = env.step(np.zeros(2))
    assert (got, after["success"], info["success"], terminated, truncated) == (reward, bool(reward), bool(reward), False, False)
    assert abs(distance - maze.GOAL_RADIUS) < 0.02


def test_only_the_time_limit_ends_an_episode_and_the_goal_stays(env):
    env.reset(seed=0, options=at(*maze.GOAL))
    steps = [env.step(np.zeros(2)) for _ in range(maze.STEPS)]
    assert all(step[1] == 1.0 and not step[2] for step in steps) and [step[3] for step in steps] == [False] * 299 + [True]
    assert np.array_equal(env.unwrapped.goal, maze.GOAL)


def test_the_physics_is_gymnasium_robotics(env):
    theirs = gymnasium.make("PointMaze_UMaze-v3", disable_env_checker=True)
    Path(theirs.unwrapped.tmp_xml_file_path).unlink()
    theirs.reset(seed=3)
    env.reset(seed=3)
    start = np.array([0.2, 1.1, -1.0, 2.0])
    env.unwrapped.point_env.set_state(start[:2], start[2:])
    theirs.unwrapped.point_env.set_state(start[:2], start[2:])
    for action in np.random.default_rng(0).uniform(-1, 1, (100, 2)).repeat(3, axis=0)[:299]:  # long enough to meet walls
        assert np.array_equal(env.step(action)[0], theirs.step(action)[0]["observation"])
    theirs.unwrapped.close()


def test_mazes_share_a_model_and_nothing_else(env):
    other, actions = make_env(maze.NAME), np.random.default_rng(1).uniform(-1, 1, (50, 2))
    env.reset(seed=1)
    alone = [env.step(action)[0] for action in actions]
    env.reset(seed=1)
    other.reset(seed=2)
    beside = []
    for action in actions:
        other.step(-action)
        beside.append(env.step(action)[0])
    assert np.array_equal(alone, beside) and env.unwrapped.model is other.unwrapped.model


def test_a_chosen_state_is_where_it_starts(env):
    state = np.array([1.2, 0.3, -0.5, 2.0])
    observation, _ = env.reset(options={"state": state})
    assert np.array_equal(observation, state)
    after, *_ = env.step(np.zeros(2))
    assert after[:2] == pytest.approx(state[:2] + 0.01 * state[2:], abs=1e-3)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([0.0, 0.0, 0.0, 0.0], "0.1 m from every wall, got .0, 0."),
        ([0.0, 1.45, 0.0, 0.0], "0.1 m from every wall"),
        ([7.0, 0.0, 0.0, 0.0], "inside the maze"),
        ([0.0, 1.0, np.nan, 0.0], "four finite numbers"),
        ([0.0, 1.0], "four finite numbers"),
        ("here", "four numbers"),
    ],
)
def test_states_that_cannot_be_are_refused(env, state, message):
    with pytest.raises(ValueError, match=message):
        env.reset(options={"state": state})
    with pytest.raises(ValueError, match="only 'state'"):
        env.reset(options={"goal_cell": (1, 1)})


def test_a_state_reached_by_pushing_into_a_wall_is_one_to_start_from(env):
    env.reset(seed=0, options=at(-1.0, 1.0, -5.0, 5.0))
    for _ in range(30):
        pressed, *_ = env.step(np.array([-1.0, 1.0]))
    assert pressed[0] < -1.39 and np.array_equal(env.reset(options={"state": pressed})[0], pressed)


@pytest.mark.parametrize("name", [maze.NAME, "AntMaze_UMaze-v4", "PointMaze_Open-v3"])
def test_no_model_file_is_left_behind(name, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make_env(name).reset(seed=0)
    assert not list(tmp_path.iterdir())
