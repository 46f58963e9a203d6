"""Figures of offline RL: the maze, one state's actions, returns, losses and engines. Each takes Axes and returns them.

Colour maps are those of `cepkit.plots`, one per quantity: Q is minus an energy and shares its map the other way round.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from cepkit.learning.log import read_log
from cepkit.plots import DENSITY_MAP, ENERGY_MAP
from cepkit.rl.data.transitions import Transitions
from cepkit.rl.envs import maze
from cepkit.rl.envs.engine_check import BODIES, EngineDifference
from cepkit.rl.study.action_slices import REACH, ActionSlice, EnergySlice
from cepkit.rl.study.evaluate import mean_interval

Q_MAP = f"{ENERGY_MAP}_r"
POLICY_COLOURS = {"guided": "#009E73", "cloning": "#D55E00", "best of K": "#0072B2"}
ENGINE_COLOURS = {"d4rl-v2": "#009E73", "gymnasium-v4": "#0072B2", "gymnasium-v5": "#D55E00"}
_INK, _DOTS, _MEAN = "#111111", "#56B4E9", "#D55E00"
_LEAST = 1e-17  # where an exact zero is drawn on a logarithmic axis


def maze_data(ax: Axes, transitions: Transitions, *, title: str = "") -> Axes:
    """The maze with every fifth place of the dataset, in green where a reward was paid, and the paths of three episodes."""
    maze.draw_maze(ax, title=title)
    places, paid = transitions.observations[::5, :2].numpy(), transitions.rewards[::5].numpy() > 0
    for chosen, colour in ((~paid, _DOTS), (paid, "#009E73")):
        ax.plot(*places[chosen].T, ".", color=colour, markersize=1.2, alpha=0.35, zorder=2)
    first = 0
    for last in transitions.ends.nonzero()[:3, 0].tolist():
        ax.plot(*transitions.observations[first : last + 1, :2].numpy().T, linewidth=1.3, zorder=3)
        first = last + 1
    return ax


def maze_state(ax: Axes, state: Tensor, *, title: str = "") -> Axes:
    """The maze with a state (4,): a dot, and its velocity as an arrow of a third of a second."""
    maze.draw_maze(ax, title=title)
    x, y, vx, vy = state.tolist()
    ax.plot(x, y, "o", color=_INK, markersize=7, markeredgecolor="white", zorder=5)
    if vx or vy:
        ax.annotate("", (x + vx / 3, y + vy / 3), (x, y), arrowprops={"arrowstyle": "->", "color": _INK}, zorder=5)
    return ax


def maze_paths(ax: Axes, states: Tensor, *, title: str = "") -> Axes:
    """The maze with paths (B, T, 4) from where they start (dots) to where they end (crosses)."""
    maze.draw_maze(ax, title=title)
    for path in states[..., :2].numpy():
        ax.plot(*path.T, color=POLICY_COLOURS["guided"], linewidth=1.1, alpha=0.8, zorder=3)
    ax.plot(*states[:, 0, :2].numpy().T, "o", color=_INK, markersize=4, zorder=4)
    ax.plot(*states[:, -1, :2].numpy().T, "x", color=_INK, markersize=6, zorder=4)
    return ax


def behaviour(ax: Axes, actions: ActionSlice, *, title: str = "behaviour and its support") -> Axes:
    """The behaviour's density over actions (its root), with the support actions coloured by Q."""
    _heat(ax, actions.density, DENSITY_MAP, 1.0, vmin=0.0, vmax=1.0)
    dots = ax.scatter(*actions.support.numpy().T, c=actions.support_q.numpy(), cmap=Q_MAP, s=45, edgecolors="white", zorder=4)
    ax.figure.colorbar(dots, ax=ax, label="Q", shrink=0.8)
    return _frame(ax, 1.08, title)


def q_map(ax: Axes, actions: ActionSlice, *, drawn: Tensor | None = None, title: str = "Q(s, a)") -> Axes:
    """Q over all actions, reliable only near the data; either with a colour bar or with drawn actions (n, 2) on top."""
    image = _heat(ax, actions.q, Q_MAP, 1.0)
    if drawn is None:
        ax.figure.colorbar(image, ax=ax, label="Q", shrink=0.8)
    else:
        ax.plot(*drawn.numpy().T, ".", color="#D55E00", markersize=3, alpha=0.7, zorder=4)
    return _frame(ax, 1.08, title)


def energy(ax: Axes, energies: EnergySlice, which: str, *, title: str = "") -> Axes:
    """The "exact" or the "learned" E_t over noisy actions with its field as arrows, blank where no noisy action lies.

    Both pictures of a pair have the exact energy's colours. An arrow is as long as the root of its force, and one grid cell long
    at the largest exact force.
    """
    seen = energies.exact[torch.isfinite(energies.exact)]
    _heat(ax, getattr(energies, which), ENERGY_MAP, REACH, vmin=float(seen.min()), vmax=float(seen.max()))
    field, points = getattr(energies, f"{which}_field"), energies.points
    size = field.norm(dim=-1, keepdim=True)
    longest = max(float(energies.exact_field.norm(dim=-1).max()), 1e-12)
    cell = float(points[0, 1, 0] - points[0, 0, 0])
    arrows, shown = cell * field / (size * longest).sqrt().clamp_min(1e-12), size[..., 0] > 0
    ax.quiver(
        *points[shown].numpy().T, *arrows[shown].numpy().T, color="white", angles="xy", scale_units="xy", scale=1, width=0.008,
        zorder=3, edgecolor=_INK, linewidth=0.4,
    )  # fmt: skip
    return _frame(ax, REACH, title or f"{which} $E_t$, t = {energies.t:g}")


def returns(ax: Axes, found: Mapping[str, Tensor], *, title: str = "") -> Axes:
    """Every episode's return, (E,) or (R, E) by policy, with their mean (diamond) and, for several runs, that of each (bars).

    From three runs on a line is the 95 % interval over trainings, `cepkit.rl.mean_interval`.
    """
    spread = np.random.default_rng(0)  # sideways, so that dots do not hide each other
    for row, values in enumerate(found.values()):
        runs, episodes = np.atleast_2d(values.numpy()), values.flatten().numpy()
        ax.plot(episodes, row + spread.uniform(-0.25, 0.25, len(episodes)), ".", color=_DOTS, markersize=3, alpha=0.7)
        ax.plot(mean_interval(torch.from_numpy(runs)), [row, row], color=_INK, linewidth=2.5, zorder=3)
        if len(runs) > 1:
            ax.plot(runs.mean(1), [row] * len(runs), "|", color=_INK, markersize=14, zorder=3)
        ax.plot(episodes.mean(), row, "D", color=_MEAN, markersize=6, zorder=4)
    ax.set(yticks=range(len(found)), yticklabels=list(found), xlabel="return of an episode", title=title)
    ax.invert_yaxis()
    return ax


def losses(axes: np.ndarray, folder: str | Path) -> np.ndarray:
    """The losses that the stages of a run folder have logged so far, one of the `axes` for each stage that has any."""
    logs = {stage: read_log(Path(folder) / "log" / stage) for stage in ("behaviour", "critic", "cloning")}
    shown = {stage: series for stage, series in logs.items() if series}
    for ax, (stage, series) in zip(np.ravel(axes), shown.items(), strict=False):
        for name, (steps, values) in series.items():
            ax.plot(steps, values, linewidth=0.9, label=name)
        ax.set(xlabel="step", title=stage, yscale="log" if all(min(v) > 0 for _, v in series.values()) else "linear")
        ax.legend(frameon=False)
    for ax in np.ravel(axes)[len(shown) :]:
        ax.set_axis_off()
    return axes


def engine_differences(ax: Axes, rows: Sequence[EngineDifference], quantity: str, *, title: str = "") -> Axes:
    """Differences of the "observation" or the "reward" from D4RL's machine: a dot for each step, a triangle for the largest."""
    engines = list(dict.fromkeys(row.engine for row in rows))
    bodies = [body for body in BODIES if any(row.body == body for row in rows)]
    spread = np.random.default_rng(0)
    for row in rows:
        values, colour = np.maximum(getattr(row, quantity), _LEAST), ENGINE_COLOURS[row.engine]
        at = bodies.index(row.body) + (engines.index(row.engine) - (len(engines) - 1) / 2) * 0.27
        ax.plot(at + spread.uniform(-0.09, 0.09, len(values)), values, ".", markersize=2, alpha=0.5, color=colour)
        ax.plot(at, values.max(), "v", markersize=6, color=colour, label=row.engine if row.body == bodies[0] else None)
    ax.axhline(1e-9, color="#777777", linewidth=0.8, linestyle="--")
    ax.set(xticks=range(len(bodies)), xticklabels=bodies, yscale="log", ylabel=f"difference of the {quantity}", title=title)
    ax.legend(frameon=False, ncols=3, loc="center", bbox_to_anchor=(0.5, 0.62), columnspacing=1.0, handletextpad=0.1)
    return ax


def _heat(ax: Axes, values: Tensor, cmap: str, reach: float, **limits: float):
    extent = (-reach, reach, -reach, reach)
    return ax.imshow(np.ma.masked_invalid(values.numpy()), origin="lower", extent=extent, cmap=cmap, zorder=1, **limits)


def _frame(ax: Axes, reach: float, title: str) -> Axes:
    span = (-reach, reach)
    ax.set(aspect="equal", xlim=span, ylim=span, xlabel="force along x", ylabel="force along y", title=title)
    return ax
