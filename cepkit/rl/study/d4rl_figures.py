"""Pictures of locomotion data, of engines beside D4RL's machine, and of what policies and critics are worth. Each takes an Axes.

Engines keep one colour each (`ENGINE_COLOURS`), safe for the colour-blind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from cepkit.learning.log_reader import Series
from cepkit.rl.envs.engine_check import BODIES, EngineDifference
from cepkit.rl.study.evaluate import Evaluation, bootstrap_interval

ENGINE_COLOURS = {"d4rl-v2": "#009E73", "gymnasium-v4": "#0072B2", "gymnasium-v5": "#D55E00"}
_GUIDED, _OTHER, _DATA = "#009E73", "#777777", "#0072B2"
_LEAST = 1e-17  # where an exact zero is drawn on a logarithmic axis


def episode_returns(ax: Axes, returns: Tensor, *, references: Mapping[str, float] | None = None, title: str = "") -> Axes:
    """Returns (M,) of whole episodes in the order of the file, with labelled lines for returns to compare with."""
    ax.plot(range(len(returns)), returns.tolist(), "o", markersize=4, color=_DATA, label="episode of the data")
    for (name, value), style in zip((references or {}).items(), ("--", ":", "-."), strict=False):
        ax.axhline(value, color=_OTHER, linestyle=style, label=name)
    ax.set(xlabel="episode, in the order of the file", ylabel="return", title=title)
    ax.legend(frameon=False)
    return ax


def engine_differences(ax: Axes, rows: Sequence[EngineDifference], *, quantity: str = "observation", title: str = "") -> Axes:
    """The largest difference from D4RL's machine in one step ("observation" or "reward"), every recorded step a dot, log scale.

    Raises:
        ValueError: another quantity.
    """
    if quantity not in ("observation", "reward"):
        raise ValueError(f"quantity: expected 'observation' or 'reward', got {quantity!r}")
    engines = list(dict.fromkeys(row.engine for row in rows))
    bodies = [body for body in BODIES if any(row.body == body for row in rows)]
    spread = np.random.default_rng(0)  # sideways, so that dots do not hide each other
    for row in rows:
        values = np.maximum(getattr(row, quantity), _LEAST)
        at = bodies.index(row.body) + (engines.index(row.engine) - (len(engines) - 1) / 2) * 0.27
        label = row.engine if row.body == bodies[0] else None
        colour = ENGINE_COLOURS.get(row.engine, _OTHER)
        ax.plot(at + spread.uniform(-0.09, 0.09, len(values)), values, ".", markersize=2, alpha=0.5, color=colour)
        ax.plot(at, values.max(), "v", markersize=6, color=colour, label=label)
    ax.axhline(1e-9, color=_OTHER, linewidth=0.8, linestyle="--")
    ax.set(xticks=range(len(bodies)), xticklabels=bodies, yscale="log", ylabel=f"difference of the {quantity}", title=title)
    ax.legend(frameon=False, ncols=3, loc="center", bbox_to_anchor=(0.5, 0.62), columnspacing=1.0, handletextpad=0.1)
    return ax


def returns_by_engine(ax: Axes, evaluations: Mapping[str, Sequence[Evaluation]], *, title: str = "") -> Axes:
    """Mean returns with 95 % intervals: one group for each policy, one dot in it for each engine it was measured on."""
    seen: set[str] = set()
    for group, found in enumerate(evaluations.values()):
        for place, each in enumerate(found):
            engine, (low, high) = each.environment.engine, each.interval()
            colour = ENGINE_COLOURS.get(engine, _OTHER)
            at = group + (place - (len(found) - 1) / 2) * 0.2
            ax.plot([at] * len(each.returns), each.returns.tolist(), ".", markersize=3, alpha=0.35, color=colour)
            _interval(ax, at, each.mean, low, high, colour, None if engine in seen else engine)
            seen.add(engine)
    ax.set(xticks=range(len(evaluations)), xticklabels=list(evaluations), ylabel="return", title=title)
    ax.legend(frameon=False)
    return ax


def returns_by_policy(ax: Axes, returns: Mapping[str, Tensor], *, reference: str | None = None, title: str = "") -> Axes:
    """Every return, (E,) for each policy, with the mean and its 95 % bootstrap interval; `reference`'s interval is a band."""
    for place, (name, values) in enumerate(returns.items()):
        low, high = bootstrap_interval(values)
        colour = _GUIDED if name.startswith("s =") else _OTHER
        ax.plot([place] * len(values), values.tolist(), ".", markersize=4, alpha=0.4, color=colour)
        _interval(ax, place, float(values.mean()), low, high, colour)
        if name == reference:
            ax.axhspan(low, high, color=colour, alpha=0.15, linewidth=0)
    ax.set(xticks=range(len(returns)), xticklabels=list(returns), ylabel="return", title=title)
    return ax


def q_against_truth(ax: Axes, q: Tensor, truth: Tensor, *, title: str = "") -> Axes:
    """Two tables (B, K) of actions in states, each value less its state's mean: what Q says against what the simulator says."""
    x, y = ((table - table.mean(-1, keepdim=True)).flatten().tolist() for table in (truth, q))
    ax.axhline(0, color=_OTHER, linewidth=0.6)
    ax.axvline(0, color=_OTHER, linewidth=0.6)
    ax.plot(x, y, ".", markersize=4, alpha=0.5, color=_DATA)
    ax.set(xlabel="outcome in the simulator, less the state's mean", ylabel="Q, less the state's mean", title=title)
    return ax


def losses(axes: np.ndarray, logs: Mapping[str, Mapping[str, Series]]) -> np.ndarray:
    """Curves of the losses that stages have logged so far, one of the `axes` for each stage that has any, log scale."""
    shown = {stage: series for stage, series in logs.items() if series}
    for ax, (stage, series) in zip(np.ravel(axes), shown.items(), strict=False):
        for name, (steps, values) in series.items():
            ax.plot(steps, values, linewidth=0.9, label=name)
        ax.set(xlabel="step", title=stage, yscale="log" if all(min(v) > 0 for _, v in series.values()) else "linear")
        ax.legend(frameon=False)
    for ax in np.ravel(axes)[len(shown) :]:
        ax.set_axis_off()
    return axes


def _interval(ax: Axes, at: float, mean: float, low: float, high: float, colour: str, label: str | None = None) -> None:
    ax.errorbar(at, mean, [[max(mean - low, 0.0)], [max(high - mean, 0.0)]], fmt="o", color=colour, capsize=4, label=label)
