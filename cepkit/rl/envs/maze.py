"""The course's maze: a ball is pushed through a U of seven cells and rewarded for every step near one fixed goal.

The physics is gymnasium-robotics' PointMaze (MuJoCo): state (x, y, v_x, v_y) in metres and metres per second, action a force in
[-1, 1]^2, 100 steps a second. The reward is 1 within `GOAL_RADIUS` of `GOAL` and else 0; nothing ends an episode but its time
limit, `STEPS`. An episode starts at rest in any cell but the goal's. The environment is built from the geometry
here, so the drawing shows what is simulated.
"""

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "pointmaze-umaze"
STEPS = 300
GOAL_RADIUS = 0.45
BALL_RADIUS = 0.1
_SOFTNESS = 0.02  # metres by which a fast ball may sink into a wall: every state that is reached can be started from
MAP: tuple[tuple[int | str, ...], ...] = (  # 1 is a wall, "r" a cell to start in, "g" the goal's; cells are 1 m wide
    (1, 1, 1, 1, 1),
    (1, "r", "r", "r", 1),
    (1, 1, 1, "r", 1),
    (1, "g", "r", "r", 1),
    (1, 1, 1, 1, 1),
)
_ROWS, _COLUMNS = len(MAP), len(MAP[0])
_WALL_COLOUR, _GOAL_COLOUR = "#7f7f7f", "#009E73"

Cell = tuple[int, int]


def cell_centre(cell: Cell) -> tuple[float, float]:
    """(x, y) of the middle of a cell (row, column); rows run downwards from the top, the origin is the middle of the map."""
    row, column = cell
    return column + 0.5 - _COLUMNS / 2, _ROWS / 2 - (row + 0.5)


def cell_at(x: float, y: float) -> Cell:
    """The cell (row, column) that holds a point; outside the map it is a cell that `is_wall` calls a wall."""
    return math.floor(_ROWS / 2 - y), math.floor(x + _COLUMNS / 2)


def is_wall(cell: Cell) -> bool:
    """Whether a cell is a wall or lies outside the map."""
    row, column = cell
    return not (0 <= row < _ROWS and 0 <= column < _COLUMNS) or MAP[row][column] == 1


def free_cells() -> list[Cell]:
    """The cells without a wall, the goal's included, row by row."""
    return [(row, column) for row in range(_ROWS) for column in range(_COLUMNS) if not is_wall((row, column))]


GOAL = next(cell_centre((row, column)) for row, column in free_cells() if MAP[row][column] == "g")


def extent() -> tuple[float, float, float, float]:
    """(left, right, bottom, top) of the map in metres, outer walls included, as `imshow` takes it."""
    return -_COLUMNS / 2, _COLUMNS / 2, -_ROWS / 2, _ROWS / 2


def walls() -> list[tuple[float, float, float, float]]:
    """The walls as rectangles (left, bottom, width, height): each row's neighbouring wall cells joined into one."""
    rectangles = []
    for row, cells in enumerate(MAP):
        for wall, columns in itertools.groupby(range(_COLUMNS), [cell == 1 for cell in cells].__getitem__):
            if wall:
                first, *others = columns
                x, y = cell_centre((row, first))
                rectangles.append((x - 0.5, y - 0.5, 1.0 + len(others), 1.0))
    return rectangles


def check_state(state: ArrayLike, *, name: str = "state") -> np.ndarray:
    """Check that the ball fits at (x, y, v_x, v_y), and return the state as float64.

    Raises:
        ValueError: not four finite numbers, or a place where the ball would overlap a wall.
    """
    try:
        values = np.asarray(state, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected four numbers (x, y, v_x, v_y), got {state!r}") from error
    if values.shape != (4,) or not np.isfinite(values).all():
        raise ValueError(f"{name}: expected four finite numbers (x, y, v_x, v_y), got {values.tolist()} of shape {values.shape}")
    x, y = float(values[0]), float(values[1])
    for left, bottom, width, height in walls():
        gap = math.hypot(max(left - x, 0.0, x - left - width), max(bottom - y, 0.0, y - bottom - height))
        if gap < BALL_RADIUS - _SOFTNESS:
            raise ValueError(f"{name}: expected a place {BALL_RADIUS} m from every wall, got ({x:g}, {y:g})")
    if is_wall(cell_at(x, y)):
        raise ValueError(f"{name}: expected a place inside the maze, got ({x:g}, {y:g})")
    return values


def draw_maze(ax: "Axes", *, title: str = "") -> "Axes":
    """Draw walls and goal on `ax`, equal aspect, axes in metres; the colours read on a light and on a dark page."""
    from matplotlib.patches import Circle, Rectangle  # half a second that training does not need

    for left, bottom, width, height in walls():
        ax.add_patch(Rectangle((left, bottom), width, height, facecolor=_WALL_COLOUR, edgecolor="none", zorder=1))
    ax.add_patch(Circle(GOAL, GOAL_RADIUS, facecolor=_GOAL_COLOUR, edgecolor="none", alpha=0.35, zorder=1))
    left, right, bottom, top = extent()
    ax.set(aspect="equal", xlim=(left, right), ylim=(bottom, top), xlabel="x (m)", ylabel="y (m)", title=title)
    return ax
