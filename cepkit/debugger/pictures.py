"""Pictures of a report. Each draws on the Axes it is given and returns it; colour maps are those of `cepkit.plots`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter

from cepkit.plots import DENSITY_MAP, ERROR_MAP

if TYPE_CHECKING:
    from cepkit.debugger.report import Report

_INSIDE, _OUTSIDE, _MODEL, _EXACT = "#0072B2", "#D55E00", "#009E73", "#999999"


@dataclass(frozen=True)
class Picture:
    """A picture, the arrays of a report that it needs, and one sentence on how to read it."""

    draw: Callable[[Axes, Report], Axes]
    needs: frozenset[str]
    caption: str


def _frame(ax: Axes, report: Report, title: str) -> Axes:
    (x, y), (u, v) = report.box, report.labels
    ax.set(aspect="equal", xlim=x, ylim=y, xlabel=u, ylabel=v, title=title)
    return ax


def _heat(ax: Axes, report: Report, values: np.ndarray, *, cmap: str, label: str, low: float | None, high: float | None) -> Axes:
    (x_low, x_high), (y_low, y_high) = report.box
    image = ax.imshow(
        np.ma.masked_invalid(values), origin="lower", extent=(x_low, x_high, y_low, y_high), cmap=cmap, vmin=low, vmax=high
    )
    ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8)
    return ax


def _backdrop(ax: Axes, report: Report, index: int) -> None:
    """The density at one level as a pale picture, or the points, or nothing."""
    (x_low, x_high), (y_low, y_high) = report.box
    if "log_q" in report.arrays:
        log_q = report.arrays["log_q"][index]
        bright = np.sqrt(np.exp(np.clip(log_q - np.nanmax(log_q), -60, 0)))
        ax.imshow(bright, origin="lower", extent=(x_low, x_high, y_low, y_high), cmap=DENSITY_MAP, alpha=0.6)
    elif "points" in report.arrays:
        ax.plot(*report.arrays["points"].T, ".", color=_EXACT, markersize=2)


def _visible(report: Report, index: int, values: np.ndarray) -> np.ndarray:
    """Blank where the noisy density is negligible, if it is known: there an error is of no consequence."""
    if "log_q" not in report.arrays:
        return values
    log_q = report.arrays["log_q"][index]
    return np.where(log_q > np.nanmax(log_q) - 12, values, np.nan)


def _worst(report: Report, check: str) -> int:
    """The index of the noise level of a check's finding, else of the middle level."""
    times = report.arrays["times"]
    t = next((item.place.t for item in report.findings if item.check == check and item.place.t is not None), None)
    return len(times) // 2 if t is None else int(np.abs(times - t).argmin())


def guidance_field(ax: Axes, report: Report) -> Axes:
    """The guidance as arrows at the level where it is strongest beside the score."""
    index = _worst(report, "norm-ratio")
    _backdrop(ax, report, index)
    every = slice(1, None, 2)
    grid, field = report.arrays["grid"][every, every], report.arrays["guidance"][index][every, every]
    size = np.linalg.norm(field, axis=-1)
    bad = ~np.isfinite(size)
    # arrows as long as their root: the field spans decades, and its direction is what one looks for
    with np.errstate(invalid="ignore", divide="ignore"):
        arrow = np.where((size > 0)[..., None], field / np.sqrt(size)[..., None], 0.0)
    arrow[bad] = 0.0
    cell = (report.box[0][1] - report.box[0][0]) / len(grid)
    arrow *= 1.2 * cell / max(np.linalg.norm(arrow, axis=-1).max(), 1e-12)
    ax.quiver(grid[..., 0], grid[..., 1], arrow[..., 0], arrow[..., 1], angles="xy", scale_units="xy", scale=1, width=0.005)
    ax.plot(*grid[bad].T, "x", color=_OUTSIDE, markersize=4)
    return _frame(ax, report, f"guidance, t = {report.arrays['times'][index]:g}")


def ratio_map(ax: Axes, report: Report) -> Axes:
    """scale |guidance| / |score| over x."""
    index = _worst(report, "norm-ratio")
    ratio = _visible(report, index, np.log10(np.maximum(report.arrays["ratio_map"][index], 1e-4)))
    _heat(ax, report, ratio, cmap=ERROR_MAP, label="log10 of the ratio", low=-2, high=1.5)
    return _frame(ax, report, f"scale |guidance| / |score|, t = {report.arrays['times'][index]:g}")


def ratio_over_time(ax: Axes, report: Report) -> Axes:
    """The norm ratio at each noise level."""
    a = report.arrays
    return _curves(ax, a["ratio_times"], {"given": a["ratio"], "exact": a.get("exact_ratio")}, "scale |guidance| / |score|")


def curl_map(ax: Axes, report: Report) -> Axes:
    """The curl over x at the level where it is largest."""
    t = float(report.arrays["curl_map_time"])
    curl = np.abs(_visible(report, int(np.abs(report.arrays["times"] - t).argmin()), report.arrays["curl_map"]))
    _heat(ax, report, curl, cmap=ERROR_MAP, label="|curl| / |Jacobian|", low=0, high=1)
    return _frame(ax, report, f"curl of the guidance, t = {t:g}")


def error_map(ax: Axes, report: Report) -> Axes:
    """The guidance's relative error over x at its worst level."""
    index = _worst(report, "truth-guidance")
    error = _visible(report, index, report.arrays["error_map"][index])
    _heat(ax, report, error, cmap=ERROR_MAP, label="relative error", low=0, high=2)
    return _frame(ax, report, f"guidance against exact, t = {report.arrays['times'][index]:g}")


def errors_over_time(ax: Axes, report: Report) -> Axes:
    """The relative errors of guidance and score at each level."""
    a = report.arrays
    if "guidance_error" in a:
        ax.plot(a["guidance_factor_times"], np.maximum(a["guidance_error"], 1e-7), "o-", color=_MODEL, label="guidance")
    ax.plot(a["score_factor_times"], np.maximum(a["score_error"], 1e-7), "s--", color=_INSIDE, label="score")
    ax.set(xlabel="t", ylabel="error relative to exact", yscale="log")
    ax.axhline(1, color=_EXACT, linewidth=0.8)
    ax.legend(frameon=False)
    return ax


def factors(ax: Axes, report: Report) -> Axes:
    """The least-squares factors c(t), each of which should be 1."""
    a = report.arrays
    names = {
        "energy_factor": "guidance / -grad of your energy",
        "guidance_factor": "guidance / exact",
        "score_factor": "score / exact",
        "density_factor": "score / grad of your log density",
        "regression_factor": "score, from the noise",
    }
    for name, label in names.items():
        if name in a:
            times = a["regression_times" if name == "regression_factor" else f"{name}_times"]
            ax.plot(times, a[name], "o-", markersize=4, label=label)
    ax.axhline(1, color=_EXACT, linewidth=0.8)
    ax.set(xlabel="t", ylabel="fitted factor c(t)")
    values = np.concatenate([a[name] for name in names if name in a] + [np.array([0.0, 1.0])])
    if np.nanmax(np.abs(values)) > 3:  # factors such as 1/alpha_t span decades, and others are negative
        ax.set_yscale("symlog", linthresh=1.0)
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small")
    return ax


def time_change(ax: Axes, report: Report) -> Axes:
    """How the guidance at fixed x changes with the noise level."""
    a = report.arrays
    lines = {"given": a["change"], "exact": a.get("exact_change")}
    return _curves(ax, a["change_times"], lines, "change from the first level", log=False)


def denoised(ax: Axes, report: Report) -> Axes:
    """Denoised points x0_hat at the level where most of them leave the domain."""
    ax.plot(*report.arrays["denoised"].T, ".", color=_INSIDE, markersize=2)
    return _frame(ax, report, f"denoised points, t = {float(report.arrays['denoised_time']):g}")


def paths(ax: Axes, report: Report) -> Axes:
    """Guided paths, those that end outside the support in orange."""
    a = report.arrays
    _backdrop(ax, report, 0)
    lines = a["paths"]
    out = a.get("departed", a["diverged"])[: lines.shape[1]]
    for chosen, colour in ((~out, _INSIDE), (out, _OUTSIDE)):
        index = np.flatnonzero(chosen)[:60]
        if len(index):
            ax.plot(lines[:, index, 0], lines[:, index, 1], color=colour, linewidth=0.5, alpha=0.6)
            ax.plot(lines[-1, index, 0], lines[-1, index, 1], ".", color=colour, markersize=4)
    return _frame(ax, report, "guided paths")


def outside_over_time(ax: Axes, report: Report) -> Axes:
    """The share of paths outside the support on the way from noise to data."""
    a = report.arrays
    ax.plot(a["outside_times"], a["outside"], "o-", color=_OUTSIDE)
    ax.set(xlabel="t", ylabel="share of paths outside", ylim=(-0.02, 1.02))
    ax.invert_xaxis()
    return ax


def steps(ax: Axes, report: Report) -> Axes:
    """How far samples move when the steps are doubled."""
    a = report.arrays
    labels = [f"{low} to {high}" for low, high in zip(a["step_counts"], a["step_counts"][1:], strict=False)]
    ax.bar(labels, np.nan_to_num(a["step_displacement"]), color=_INSIDE, width=0.5)
    ax.set(xlabel="steps", ylabel="median displacement / spread")
    return ax


def energies(ax: Axes, report: Report) -> Axes:
    """The energies of guided samples beside those of exact ones."""
    mine, exact = report.arrays["sample_energies"], report.arrays["exact_energies"]
    both = np.concatenate([mine, exact])
    bins = np.linspace(both.min(), max(both.max(), both.min() + 1e-6), 25)
    for values, label, colour in ((exact, "exact", _EXACT), (mine, "guided samples", _MODEL)):
        ax.hist(values, bins=bins, density=True, alpha=0.6, label=label, color=colour)
    ax.set(xlabel="energy E", ylabel="density")
    ax.legend(frameon=False)
    return ax


def _curves(ax: Axes, times: np.ndarray, lines: dict[str, np.ndarray | None], label: str, *, log: bool = True) -> Axes:
    for (name, values), colour in zip(lines.items(), (_MODEL, _EXACT), strict=True):
        if values is not None:
            ax.plot(times, np.maximum(values, 1e-7) if log else values, "o-", label=name, color=colour)
    ax.set(xlabel="t", ylabel=label, yscale="log" if log else "linear")
    ax.legend(frameon=False)
    return ax


def _picture(draw: Callable[[Axes, Report], Axes], needs: str, caption: str) -> Picture:
    return Picture(draw, frozenset(needs.split()), caption)


PICTURES = {
    "guidance": _picture(guidance_field, "guidance", "The guidance; arrows grow with the root of its size, crosses mark NaN."),
    "paths": _picture(paths, "paths", "Guided paths from noise to data; orange ones end outside the support or diverge."),
    "ratio-map": _picture(ratio_map, "ratio_map", "How strong the guidance is beside the score; above 0 it dominates."),
    "ratio": _picture(ratio_over_time, "ratio", "The same along the noise level; far above 1 it drowns the score."),
    "error-map": _picture(error_map, "error_map", "Where the guidance differs from the exact one; 1 is as bad as none."),
    "errors": _picture(errors_over_time, "score_error", "Errors along the noise level; at the grey line as bad as none."),
    "factors": _picture(factors, "times", "Fitted factors; every line should lie on 1, and its shape tells what is missing."),
    "curl": _picture(curl_map, "curl_map", "Where the guidance rotates; a gradient has no curl."),
    "time-change": _picture(time_change, "change", "How much the guidance at the same x changes with t; a flat line ignores t."),
    "denoised": _picture(denoised, "denoised", "Denoised points x0_hat; they belong among the data."),
    "outside": _picture(outside_over_time, "outside", "The share of guided paths outside the support, noise on the left."),
    "steps": _picture(steps, "step_displacement", "How far samples still move when the steps are doubled."),
    "energies": _picture(energies, "sample_energies", "Energies of guided samples beside exact ones; the two should agree."),
}
