"""Training that can be watched: a progress bar, and the guidance error against the truth as it falls."""

import html
from collections.abc import Mapping

from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cepkit import plots
from cepkit.learning.history import History
from cepkit.learning.loop import Training
from cepkit.learning.sufficiency import shortfall
from cepkit.truth.metrics import ErrorProbe


def watch(training: Training, probe: ErrorProbe, *, every: int = 100, floors: Mapping[str, float] | None = None) -> History:
    """Train to the end below a running notebook cell, and return the history. In the end it says at which t the guidance does
    not suffice.

    Args:
        probe: where the error is measured.
        every: steps between two measurements.
        floors: named horizontal lines for comparison, such as the mean energy's own error.
    """
    history, total = History(probe, every=every), training.config.steps
    bar = display(_bar(training.index, total, None), display_id=True)
    figure = Figure(figsize=(9.5, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    picture = None
    for step in history.follow(training):
        if history.steps and history.steps[-1] == step.index:
            _draw(left, right, history, training.config.objective, floors or {})
            picture = picture or display(figure, display_id=True)
            picture.update(figure)
            bar.update(_bar(step.index, total, history))
    if history.errors and training.finished and training.config.objective != "MSE":
        said = shortfall(probe.times, history.errors[-1].tolist(), probe.mean_energy.tolist())
        bar.update(_bar(training.index, total, history, said))
    return history


def _draw(left: Axes, right: Axes, history: History, name: str, floors: Mapping[str, float]) -> None:
    for ax in (left, right):
        ax.clear()
    plots.curves(
        left, history.seconds, {name: history.means}, xlabel="seconds of training", ylabel="mean guidance error", log="y"
    )
    for floor, value in floors.items():
        left.axhline(value, color=plots.ESTIMATOR_COLOURS.get(floor, "#555555"), linestyle="--", linewidth=1, label=floor)
    left.legend(frameon=False)
    now = {"now": history.errors[-1].tolist(), "at first": history.errors[0].tolist()}
    plots.curves(right, history.probe.times, now, xlabel="time t", ylabel="guidance error", log="y")


def _bar(index: int, total: int, history: History | None, said: str = "") -> HTML:
    words = f"step {index} of {total}"
    if history is not None:
        words += f", {history.seconds[-1]:.0f} s, mean guidance error {history.means[-1]:.3f}"
    note = f"<br><b>Note</b>: {html.escape(said)}." if said else ""
    return HTML(f'<progress value="{index}" max="{total}" style="width: 40%"></progress> {html.escape(words)}{note}')
