"""Pictures of densities, energies, fields and errors. Every function draws on the Axes it is given and returns it.

One colour map per quantity throughout the course, all safe for the colour-blind: densities `cividis`, energies
`viridis`, errors `magma`. Estimators keep one colour each (`ESTIMATOR_COLOURS`).
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter
from torch import Tensor

from cepkit.calling import call_field
from cepkit.diffusion.guidance import Guidance
from cepkit.diffusion.sampling import Step
from cepkit.diffusion.schedules import Schedule
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactGuidance
from cepkit.truth.metrics import reference_size
from cepkit.truth.toys import Toy
from cepkit.validation import check_number

DENSITY_MAP, ENERGY_MAP, ERROR_MAP = "cividis", "viridis", "magma"
ESTIMATOR_COLOURS = {
    "exact": "#000000",
    "mean energy": "#0072B2",
    "DPS": "#D55E00",
    "LGD-MC": "#CC79A7",
    "no guidance": "#999999",
    "CEP": "#009E73",
    "CEP, normalized labels": "#56B4E9",
    "MSE": "#0072B2",
    "exp-MSE": "#E69F00",
}
_POINT_COLOUR = "#D55E00"
Field = Callable[[Tensor, Tensor | float], Tensor]


def picture_points(toy: Toy, side: int = 90, *, extent: float | None = None) -> Tensor:
    """The centres of a side x side picture of the toy's square, shape (side, side, 2), rows from bottom to top.

    Raises:
        ValueError: the toy is not two-dimensional.
    """
    if toy.dim != 2:
        raise ValueError(f"toy: expected a two-dimensional toy to draw, got {toy.dim} dimensions")
    side = check_number(side, name="side", low=2, integer=True)
    reach = toy.extent if extent is None else extent
    offsets = torch.linspace(-reach, reach, side)
    x, y = torch.meshgrid(toy.centre[0] + offsets, toy.centre[1] + offsets, indexing="xy")
    return torch.stack([x, y], -1)


def frame(ax: Axes, toy: Toy, title: str = "", *, extent: float | None = None) -> Axes:
    """Give the axes equal aspect, the toy's square as limits, and labels; ticks are in the units of your own points."""
    reach = toy.extent if extent is None else extent
    ax.set(
        aspect="equal",
        xlim=(toy.centre[0] - reach, toy.centre[0] + reach),
        ylim=(toy.centre[1] - reach, toy.centre[1] + reach),
        xlabel="$x_1$",
        ylabel="$x_2$",
    )
    if title:
        ax.set_title(title)
    if toy.scaling is not None and (any(toy.scaling.mean) or {*toy.scaling.std} != {1.0}):  # ticks in the units of the data
        for axis, mean, std in zip((ax.xaxis, ax.yaxis), toy.scaling.mean, toy.scaling.std, strict=True):
            low, high = (mean + std * end for end in sorted(axis.get_view_interval()))
            ticks = [value for value in MaxNLocator(5).tick_values(low, high) if low <= value <= high]
            axis.set_ticks([(value - mean) / std for value in ticks], [f"{value:.10g}" for value in ticks])
    return ax


def heat(ax: Axes, toy: Toy, values: Tensor, *, cmap: str, title: str = "", colorbar: str | None = None, **limits: float) -> Axes:
    """A (side, side) picture over the toy's square; `limits` are vmin and vmax; `colorbar` is its label."""
    unknown = set(limits) - {"vmin", "vmax"}
    if unknown:
        raise ValueError(f"limits: expected vmin and vmax only, got {', '.join(sorted(unknown))}")
    (cx, cy), r = toy.centre, toy.extent
    image = ax.imshow(
        np.ma.masked_invalid(values.detach().cpu().numpy()),
        origin="lower",
        extent=(cx - r, cx + r, cy - r, cy + r),
        cmap=cmap,
        interpolation="bilinear",
        **limits,
    )
    if colorbar is not None:
        ax.figure.colorbar(image, ax=ax, label=colorbar, shrink=0.8)
    return frame(ax, toy, title)


def brightness(toy: Toy, mixture: Mixture, t: float, schedule: Schedule, side: int) -> Tensor:
    """The square root of a noised density, scaled to its largest value: (side, side) in [0, 1]."""
    log_q = mixture.log_q(picture_points(toy, side), t, schedule)
    return (log_q - log_q.max()).exp().sqrt()


def density(ax: Axes, toy: Toy, mixture: Mixture, t: float, schedule: Schedule, *, title: str = "", side: int = 120) -> Axes:
    """A noised density as heat, by its square root so that faint parts show."""
    return heat(ax, toy, brightness(toy, mixture, t, schedule, side), cmap=DENSITY_MAP, title=title, vmin=0.0, vmax=1.0)


def visible(toy: Toy, t: float, schedule: Schedule, *, side: int = 90, depth: float = 12.0) -> Tensor:
    """Booleans (side, side), true where q_t is within exp(-depth) of its peak; elsewhere an error is of no consequence."""
    log_q = toy.truth.log_q(picture_points(toy, side), t, schedule)
    return log_q > log_q.max() - depth


def energy(
    ax: Axes,
    toy: Toy,
    guidance: Guidance,
    t: float,
    schedule: Schedule,
    *,
    title: str = "",
    side: int = 90,
    levels: int = 8,
    colorbar: bool = True,
    **limits: float,
) -> Axes:
    """An intermediate energy as heat and contours, blank where q_t is negligible.

    Given both vmin and vmax, the contours lie at the same energies in every picture.
    """
    x = picture_points(toy, side)
    with torch.no_grad():
        values = guidance.energy(x, t)
    values = torch.where(visible(toy, t, schedule, side=side), values, torch.nan)
    heat(ax, toy, values, cmap=ENERGY_MAP, title=title, colorbar="$E_t$" if colorbar else None, **limits)
    shown = values[torch.isfinite(values)]
    if len(shown) and float(shown.max() - shown.min()) > 1e-6:
        grid = x.numpy()
        if limits.keys() >= {"vmin", "vmax"}:
            levels = np.linspace(limits["vmin"], limits["vmax"], levels + 2)[1:-1]
        ax.contour(grid[..., 0], grid[..., 1], values.numpy(), levels=levels, colors="white", linewidths=0.5, alpha=0.7)
    return ax


def field(
    ax: Axes, toy: Toy, guidance: Field, t: float, *, title: str = "", side: int = 17, colour: str = "#222222",
    longest: float | None = None,
) -> Axes:  # fmt: skip
    """A vector field as arrows; `longest` is the length drawn as one grid cell (default: the field's own largest)."""
    x = picture_points(toy, side, extent=0.92 * toy.extent)
    v = call_field(guidance, "guidance", x, t).detach()
    longest = longest if longest is not None else float(v.norm(dim=-1).max())
    cell = 2 * toy.extent / side
    v = v * (cell / max(longest, 1e-12))
    x, v = x.numpy(), v.numpy()
    ax.quiver(
        x[..., 0], x[..., 1], v[..., 0], v[..., 1], color=colour, angles="xy", scale_units="xy", scale=1, width=0.006, zorder=3
    )
    return frame(ax, toy, title)


def error_map(
    ax: Axes, toy: Toy, guidance: Field, t: float, beta: float, schedule: Schedule, *, title: str = "", side: int = 60,
    vmax: float | None = 2.0, colorbar: bool = True,
) -> Axes:  # fmt: skip
    """|guidance - exact| relative to the exact field's size over p_t (see `reference_size`), blank where q_t is negligible."""
    x = picture_points(toy, side)
    log_q, score, energy_t, exact = toy.truth.fields(x, t, beta, schedule)
    weight = torch.softmax((log_q - energy_t).flatten(), 0).reshape(log_q.shape)
    error = (call_field(guidance, "guidance", x, t).detach() - exact).norm(dim=-1) / reference_size(exact, score, weight)
    error = torch.where(visible(toy, t, schedule, side=side), error, torch.nan)
    label = "relative error" if colorbar else None
    return heat(ax, toy, error, cmap=ERROR_MAP, title=title, colorbar=label, vmin=0.0, **({} if vmax is None else {"vmax": vmax}))


def points(
    ax: Axes, toy: Toy, x: Tensor, values: Tensor | None = None, *, title: str = "", size: float = 3.0, label: str | None = None,
    colour: str = _POINT_COLOUR,
) -> Axes:  # fmt: skip
    """Points (n, 2), coloured by `values` (n,) as energies if given."""
    xy = x.detach().cpu().numpy()
    style = {"color": colour} if values is None else {"c": values.detach().cpu().numpy(), "cmap": ENERGY_MAP}
    drawn = ax.scatter(xy[:, 0], xy[:, 1], s=size, linewidths=0, alpha=0.8, label=label, zorder=2, **style)
    if values is not None:
        ax.figure.colorbar(drawn, ax=ax, label="energy E", shrink=0.8)
    return frame(ax, toy, title)


def trajectories(ax: Axes, toy: Toy, steps: Sequence[Step], *, count: int = 60, title: str = "", colour: str = "#0072B2") -> Axes:
    """The paths of the first `count` points of a sampler's steps."""
    path = torch.stack([step.x[:count] for step in steps]).detach().cpu().numpy()
    ax.plot(path[..., 0], path[..., 1], color=colour, linewidth=0.6, alpha=0.6)
    ax.plot(path[-1, :, 0], path[-1, :, 1], ".", color=_POINT_COLOUR, markersize=4)
    return frame(ax, toy, title)


def curves(
    ax: Axes, x: Sequence[float], lines: Mapping[str, Iterable[float]], *, xlabel: str, ylabel: str, title: str = "",
    log: str = "",
) -> Axes:  # fmt: skip
    """Named lines over x, estimators in their own colours; `log` names the logarithmic axes, e.g. "xy"."""
    for name, y in lines.items():
        ax.plot(list(x), [float(v) for v in y], marker="o", markersize=4, label=name, color=ESTIMATOR_COLOURS.get(name))
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    for axis in log:
        getattr(ax, f"set_{axis}scale")("log")
        scale = getattr(ax, f"{axis}axis")
        at_every_point = axis == "x" and len(x) <= 6
        scale.set_major_locator(FixedLocator(list(x)) if at_every_point else LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
        scale.set_major_formatter(FormatStrFormatter("%g"))
        scale.set_minor_formatter(NullFormatter())
    ax.legend(frameon=False)
    return ax


def masses(ax: Axes, groups: Mapping[str, Tensor], *, title: str = "") -> Axes:
    """Mode masses side by side, one group of bars for each name."""
    width = 0.8 / max(len(groups), 1)
    for i, (name, mass) in enumerate(groups.items()):
        at = np.arange(len(mass)) + (i - (len(groups) - 1) / 2) * width
        ax.bar(at, mass.detach().cpu().numpy(), width, label=name, color=ESTIMATOR_COLOURS.get(name))
    ax.set(xlabel="mode", ylabel="share of samples", title=title)
    ax.legend(frameon=False)
    return ax


def figure_one(axes: np.ndarray, toy: Toy, beta: float, times: Sequence[float], schedule: Schedule) -> np.ndarray:
    """The paper's Figure 1 from the truth: rows q_t, exp(-E_t) and p_t, one column for each time; `axes` is (3, len(times))."""
    if axes.shape != (3, len(times)):
        raise ValueError(f"axes: expected shape (3, {len(times)}), got {axes.shape}")
    target, exact = toy.truth.tilt(beta), ExactGuidance(toy.truth, beta, schedule)
    side = 90
    x = picture_points(toy, side)
    for column, t in zip(axes.T, times, strict=True):
        density(column[0], toy, toy.truth, t, schedule, title=f"$q_t$, t = {t:g}", side=side)
        factor = exact.energy(x, t)
        heat(column[1], toy, (factor.min() - factor).exp(), cmap=ENERGY_MAP, title=r"$\exp(-E_t)$", vmin=0.0, vmax=1.0)
        density(column[2], toy, target, t, schedule, title="$p_t$", side=side)
        for ax in column:
            ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    return axes


def png(figure: Figure) -> bytes:
    """The figure as a PNG file on white."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, facecolor="white")
    return stream.getvalue()
