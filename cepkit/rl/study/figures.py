"""Pictures of offline RL in the maze: the data, one state's actions, paths and returns. Each takes an Axes and returns it.

Colour maps are those of `cepkit.plots`, one per quantity: Q is minus an energy and shares its map the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from cepkit.plots import DENSITY_MAP, ENERGY_MAP
from cepkit.rl.data.transitions import Transitions
from cepkit.rl.envs import maze
from cepkit.rl.study.action_view import REACH, ActionView, EnergyView
from cepkit.rl.study.pooled import two_level_interval

Q_MAP = f"{ENERGY_MAP}_r"
POLICY_COLOURS = {"guided": "#009E73", "cloning": "#D55E00", "best of K": "#0072B2", "s = 0": "#999999"}
_ARROW = "#111111"


def data(ax: Axes, transitions: Transitions, *, episodes: Sequence[int] = (0, 1, 2), every: int = 5, title: str = "") -> Axes:
    """Where the maze's data were recorded, bright where a reward was paid, and the paths of some episodes."""
    maze.draw_maze(ax, title=title)
    place, paid = transitions.observations[::every, :2].numpy(), transitions.rewards[::every].numpy() > 0
    for chosen, colour in ((~paid, "#56B4E9"), (paid, "#009E73")):
        ax.plot(*place[chosen].T, ".", color=colour, markersize=1.2, alpha=0.35, zorder=2)
    ends = torch.cat([torch.tensor([-1]), transitions.ends.nonzero()[:, 0]])
    for episode in episodes:
        path = transitions.observations[int(ends[episode]) + 1 : int(ends[episode + 1]) + 1, :2].numpy()
        ax.plot(*path.T, linewidth=1.3, zorder=3)
    return ax


def mark_state(ax: Axes, state: Tensor, *, label: str = "") -> Axes:
    """A state in the maze: a dot, and its velocity as an arrow of a third of a second."""
    x, y, vx, vy = (float(value) for value in state)
    ax.plot(x, y, "o", color=_ARROW, markersize=7, markeredgecolor="white", zorder=5)
    if vx or vy:
        ax.annotate("", (x + vx / 3, y + vy / 3), (x, y), arrowprops={"arrowstyle": "->", "color": _ARROW}, zorder=5)
    if label:
        ax.annotate(label, (x, y), xytext=(7, 7), textcoords="offset points", fontweight="bold", zorder=6)
    return ax


def behaviour(ax: Axes, view: ActionView, *, title: str = "behaviour and its support", colorbar: bool = True) -> Axes:
    """The behaviour's density over actions (its root), with the support actions coloured by Q."""
    _heat(ax, view.density, DENSITY_MAP, 1.0, vmin=0.0, vmax=1.0)
    drawn = ax.scatter(*view.support.numpy().T, c=view.support_q.numpy(), cmap=Q_MAP, s=45, edgecolors="white", zorder=4)
    if colorbar:
        ax.figure.colorbar(drawn, ax=ax, label="Q", shrink=0.8)
    return _frame(ax, 1.08, title)


def q_map(ax: Axes, view: ActionView, *, actions: Tensor | None = None, title: str = "Q(s, a)", colorbar: bool = True) -> Axes:
    """Q over all actions, known only near the data, with some actions (n, 2) on top."""
    image = _heat(ax, view.q, Q_MAP, 1.0)
    if actions is not None:
        ax.plot(*actions.numpy().T, ".", color="#D55E00", markersize=3, alpha=0.7, zorder=4)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, label="Q", shrink=0.8)
    return _frame(ax, 1.08, title)


def energy(
    ax: Axes,
    view: EnergyView,
    which: str,
    *,
    limits: tuple[float, float] | None = None,
    longest: float | None = None,
    title: str = "",
) -> Axes:
    """E_t over noisy actions with its field as arrows, blank where no noisy action lies.

    Args:
        which: "exact" or "learned".
        limits: of the colours; both pictures of a pair share the exact one's by default.
        longest: length of a field drawn as one grid cell, by default the exact one's largest; an arrow is as long as its root.
    """
    values, field = getattr(view, which), getattr(view, f"{which}_field")
    low, high = energy_limits(view) if limits is None else limits
    _heat(ax, values, ENERGY_MAP, REACH, vmin=low, vmax=high)
    size = field.norm(dim=-1, keepdim=True)
    longest = float(view.exact_field.norm(dim=-1).max()) if longest is None else longest
    cell = float(view.points[0, 1, 0] - view.points[0, 0, 0])
    arrow = (cell * field / (size * max(longest, 1e-12)).sqrt().clamp_min(1e-12)).numpy()
    at = view.points.numpy()
    kept = size[..., 0].numpy() > 0
    ax.quiver(
        *at[kept].T, *arrow[kept].T, color="white", angles="xy", scale_units="xy", scale=1, width=0.008, zorder=3,
        edgecolor=_ARROW, linewidth=0.4,
    )  # fmt: skip
    return _frame(ax, REACH, title or f"{which} $E_t$, t = {view.t:g}")


def energy_limits(view: EnergyView) -> tuple[float, float]:
    """The range of the exact energy where noisy actions lie."""
    seen = view.exact[torch.isfinite(view.exact)]
    return float(seen.min()), float(seen.max())


def paths(ax: Axes, states: Tensor, *, colour: str = POLICY_COLOURS["guided"], title: str = "") -> Axes:
    """Paths (B, T, 4) in the maze from where they start (dots) to where they end (crosses)."""
    maze.draw_maze(ax, title=title)
    for path in states[..., :2].numpy():
        ax.plot(*path.T, color=colour, linewidth=1.1, alpha=0.8, zorder=3)
    ax.plot(*states[:, 0, :2].numpy().T, "o", color=_ARROW, markersize=4, zorder=4)
    ax.plot(*states[:, -1, :2].numpy().T, "x", color=_ARROW, markersize=6, zorder=4)
    return ax


def returns(ax: Axes, found: Mapping[str, Tensor], *, title: str = "") -> Axes:
    """Every episode's return for each policy, with its mean and a 95 % interval: (runs, episodes).

    The interval is `cepkit.rl.study.pooled.two_level_interval`: over runs and episodes, or with one run over its episodes alone.
    """
    random = np.random.default_rng(0)
    for row, values in enumerate(found.values()):
        every = values.flatten().numpy()
        ax.plot(every, row + random.uniform(-0.25, 0.25, len(every)), ".", color="#56B4E9", markersize=3, alpha=0.7)
        low, high = two_level_interval(values)
        ax.plot([low, high], [row, row], color=_ARROW, linewidth=2.5, zorder=3)
        ax.plot(every.mean(), row, "D", color="#D55E00", markersize=6, zorder=4)
    ax.set(yticks=range(len(found)), yticklabels=list(found), xlabel="return of an episode", title=title)
    ax.invert_yaxis()
    return ax


def _heat(ax: Axes, values: Tensor, cmap: str, reach: float, **limits: float):
    return ax.imshow(
        np.ma.masked_invalid(values.numpy()), origin="lower", extent=(-reach, reach, -reach, reach), cmap=cmap, zorder=1, **limits
    )


def _frame(ax: Axes, reach: float, title: str) -> Axes:
    ax.set(
        aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), xlabel="force along x", ylabel="force along y", title=title
    )
    return ax
