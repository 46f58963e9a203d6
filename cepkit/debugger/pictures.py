"""Pictures of a report. Each draws arrays on the Axes it is given and returns it; colour maps are those of `cepkit.plots`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter

from cepkit.plots import DENSITY_MAP, ERROR_MAP

_INSIDE, _OUTSIDE, _MODEL, _EXACT = "#0072B2", "#D55E00", "#009E73", "#999999"
Arrays = Mapping[str, np.ndarray]  # those of a report, by name
Draw = Callable[[Axes, Arrays], Axes]


@dataclass(frozen=True)
class Picture:
    """A picture, the array of a report that it needs, and one sentence on how to read it."""

    draw: Draw
    needs: str
    caption: str


def _level(arrays: Arrays, name: str) -> int:
    """The index of the noise level of the map `name`, of the middle level if it is not there."""
    times = arrays["times"]
    return int(np.abs(times - arrays[f"{name}_time"]).argmin()) if f"{name}_time" in arrays else len(times) // 2


def _frame(ax: Axes, arrays: Arrays, title: str) -> Axes:
    (x, y), (u, v) = arrays["domain"], arrays["labels"]
    ax.set(aspect="equal", xlim=x, ylim=y, xlabel=u, ylabel=v, title=title)
    return ax


def _backdrop(ax: Axes, arrays: Arrays, level: int) -> None:
    """The density as a pale picture, or the points, or nothing."""
    if "log_q" in arrays:
        log_q = arrays["log_q"][level]
        bright = np.sqrt(np.exp(np.clip(log_q - np.nanmax(log_q), -60, 0)))
        ax.imshow(bright, origin="lower", extent=arrays["domain"].ravel(), cmap=DENSITY_MAP, alpha=0.6)
    elif "points" in arrays:
        ax.plot(*arrays["points"].T, ".", color=_EXACT, markersize=2)


def _map(name: str, title: str, label: str, *, low: float, high: float) -> Draw:
    """A picture of arrays[name] at its level, blank where the noisy density is known to be negligible."""

    def draw(ax: Axes, arrays: Arrays) -> Axes:
        level, values = _level(arrays, name), arrays[name]
        if "log_q" in arrays:
            log_q = arrays["log_q"][level]
            values = np.where(log_q > np.nanmax(log_q) - 12, values, np.nan)
        shown, extent = np.ma.masked_invalid(values), arrays["domain"].ravel()
        image = ax.imshow(shown, origin="lower", extent=extent, cmap=ERROR_MAP, vmin=low, vmax=high)
        ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8)
        return _frame(ax, arrays, f"{title}, t = {arrays['times'][level]:g}")

    return draw


def _curves(lines: Mapping[str, str], ylabel: str, *, scale: str = "linear", right: float | None = None) -> Draw:
    """A picture of lines over t, from the names of arrays to labels; arrays that are missing are left out.

    The line `right` is drawn too. The scale "symlog" becomes linear where no value is above 3.
    """

    def draw(ax: Axes, arrays: Arrays) -> Axes:
        shown = {name: np.maximum(arrays[name], 1e-7) if scale == "log" else arrays[name] for name in lines if name in arrays}
        for name, values in shown.items():
            ax.plot(arrays[f"{name}_times"], values, "o-", markersize=4, label=lines[name])
        if right is not None:
            ax.axhline(right, color=_EXACT, linewidth=0.8)
        ax.set(xlabel="t", ylabel=ylabel)
        if scale == "log":
            ax.set_yscale("log")
        elif scale == "symlog" and np.nanmax(np.abs(np.concatenate([[0.0], *shown.values()]))) > 3:
            ax.set_yscale("symlog", linthresh=1.0)
            ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        if shown:
            ax.legend(frameon=False, fontsize="small")
        return ax

    return draw


def guidance_field(ax: Axes, arrays: Arrays) -> Axes:
    """The guidance as arrows at the level where it is strongest beside the score."""
    level = _level(arrays, "log_ratio_map")
    _backdrop(ax, arrays, level)
    every = slice(1, None, 2)
    grid, field = arrays["grid"][every, every], arrays["guidance"][level][every, every]
    bad = ~np.isfinite(field).all(-1)
    field = np.where(bad[..., None], 0.0, field)
    # arrows as long as their root: the field spans decades, and its direction is what one looks for
    arrow = field / np.sqrt(np.maximum(np.linalg.norm(field, axis=-1, keepdims=True), 1e-30))
    cell = np.ptp(arrays["domain"][0]) / len(grid)
    arrow *= 1.2 * cell / max(np.linalg.norm(arrow, axis=-1).max(), 1e-12)
    ax.quiver(grid[..., 0], grid[..., 1], arrow[..., 0], arrow[..., 1], angles="xy", scale_units="xy", scale=1, width=0.005)
    ax.plot(*grid[bad].T, "x", color=_OUTSIDE, markersize=4)
    return _frame(ax, arrays, f"guidance, t = {arrays['times'][level]:g}")


def paths(ax: Axes, arrays: Arrays) -> Axes:
    """Guided paths, those that end outside the support in orange."""
    _backdrop(ax, arrays, 0)
    lines = arrays["paths"]
    out = arrays.get("departed", arrays["diverged"])[: lines.shape[1]]
    for chosen, colour in ((~out, _INSIDE), (out, _OUTSIDE)):
        index = np.flatnonzero(chosen)[:60]
        ax.plot(lines[:, index, 0], lines[:, index, 1], color=colour, linewidth=0.5, alpha=0.6)
        ax.plot(lines[-1, index, 0], lines[-1, index, 1], ".", color=colour, markersize=4)
    return _frame(ax, arrays, "guided paths")


def steps(ax: Axes, arrays: Arrays) -> Axes:
    """How far samples move when the steps are doubled."""
    low, middle, high = arrays["step_counts"]
    ax.bar([f"{low} to {middle}", f"{middle} to {high}"], np.nan_to_num(arrays["step_displacement"]), color=_INSIDE, width=0.5)
    ax.set(xlabel="steps", ylabel="median displacement / spread")
    return ax


def energies(ax: Axes, arrays: Arrays) -> Axes:
    """The energies of guided samples beside those of exact ones."""
    samples, exact = arrays["sample_energies"], arrays["exact_energies"]
    bins = np.histogram_bin_edges(np.concatenate([samples, exact]), 24)
    for values, label, colour in ((exact, "exact", _EXACT), (samples, "guided samples", _MODEL)):
        ax.hist(values, bins=bins, density=True, alpha=0.6, label=label, color=colour)
    ax.set(xlabel="energy E", ylabel="density")
    ax.legend(frameon=False)
    return ax


ratio_map = _map("log_ratio_map", "scale |guidance| / |score|", "log10 of the ratio", low=-2, high=1.5)
error_map = _map("error_map", "guidance against exact", "relative error", low=0, high=2)
curl_map = _map("curl_map", "curl of the guidance", "|curl| / |Jacobian|", low=0, high=1)
ratios = _curves({"ratio": "given", "exact_ratio": "exact"}, "scale |guidance| / |score|", scale="log")
errors = _curves({"guidance_error": "guidance", "score_error": "score"}, "error relative to exact", scale="log", right=1)
changes = _curves({"change": "given", "exact_change": "exact"}, "change from the first level")
outside = _curves({"outside": "guided paths"}, "share of paths outside")
factors = _curves(
    {
        "energy_factor": "guidance / -grad of your energy",
        "guidance_factor": "guidance / exact",
        "score_factor": "score / exact",
        "regression_factor": "score, from the noise",
    },
    "fitted factor c(t)",
    scale="symlog",
    right=1,
)

PICTURES = {  # in the order of the page
    "guidance": Picture(guidance_field, "guidance", "The guidance; arrows grow with the root of its size, crosses mark NaN."),
    "paths": Picture(paths, "paths", "Guided paths from noise to data; orange ones end outside the support or diverge."),
    "ratio-map": Picture(ratio_map, "log_ratio_map", "How strong the guidance is beside the score; above 0 it dominates."),
    "ratio": Picture(ratios, "ratio", "The same along the noise level; far above 1 it drowns the score."),
    "error-map": Picture(error_map, "error_map", "Where the guidance differs from the exact one; 1 is as bad as none."),
    "errors": Picture(errors, "score_error", "Errors along the noise level; at the grey line as bad as none."),
    "factors": Picture(factors, "times", "Fitted factors; every line should lie on 1, and its shape tells what is missing."),
    "curl": Picture(curl_map, "curl_map", "Where the guidance rotates; a gradient has no curl."),
    "time-change": Picture(changes, "change", "How much the guidance at the same x changes with t; a flat line ignores t."),
    "outside": Picture(outside, "outside", "The share of guided paths outside the support, from data (left) to noise (right)."),
    "steps": Picture(steps, "step_displacement", "How far samples still move when the steps are doubled."),
    "energies": Picture(energies, "sample_energies", "Energies of guided samples beside exact ones; the two should agree."),
}
