"""A table that compares estimators: the error of each field along t, and the quality of the samples it gives."""

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from cepkit import plots
from cepkit.diffusion.denoisers import Denoiser
from cepkit.diffusion.guidance import Guidance, Guided, ZeroGuidance
from cepkit.diffusion.sampling import sample
from cepkit.diffusion.schedules import Schedule
from cepkit.truth.fields import ExactDenoiser, toy_estimators
from cepkit.truth.metrics import guidance_error, kernel_bandwidths, mmd2, mode_masses, sliced_wasserstein, total_variation
from cepkit.truth.toys import Toy
from cepkit.validation import check_number

TABLE_TIMES = (0.1, 0.3, 0.8)
FLOOR_SETS = 20
_FIELD_POINTS = 2048  # at least this many: at small t a field's error sits at few points


@dataclass(frozen=True)
class Row:
    """One estimator. Errors of the field are relative (1 is as bad as none); the rest is measured on finished samples.

    Points and distances are those of the toy, also where it was made of points in other units; the energy is in yours.
    """

    name: str
    field_errors: tuple[float, ...]
    mmd2: float
    sliced_wasserstein: float
    mode_error: float
    mean_energy: float
    samples: Tensor


@dataclass(frozen=True, repr=False)
class Comparison:
    """The table of `compare`; prints as text and shows as HTML."""

    toy: str
    beta: float
    times: tuple[float, ...]
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        """The row of this estimator."""
        return next(row for row in self.rows if row.name == name)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        head = ["estimator", *(f"field error t={t:g}" for t in self.times), "MMD²", "sliced W1", "mode masses TV", "average E"]
        body = []
        for r in self.rows:
            errors = [f"{e:.2f}" for e in r.field_errors] if r.field_errors else ["" for _ in self.times]
            measured = [f"{r.mmd2:.5f}", f"{r.sliced_wasserstein:.3f}", f"{r.mode_error:.3f}", f"{r.mean_energy:.3f}"]
            body.append([r.name, *errors, *measured])
        return head, body

    def __str__(self) -> str:
        head, body = self._cells()
        widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]

        def write(line: list[str]) -> str:
            return "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))

        return "\n".join([f"{self.toy}, beta = {self.beta:g}", write(head), *(write(line) for line in body)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, body = self._cells()
        first = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        rest = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in body)
        title = f"{html.escape(self.toy)}, β = {self.beta:g}"
        return f"<table><caption>{title}</caption><thead><tr>{first}</tr></thead><tbody>{rest}</tbody></table>"


def compare(
    toy: Toy,
    beta: float,
    schedule: Schedule,
    *,
    estimators: Mapping[str, Guidance] | None = None,
    denoiser: Denoiser | None = None,
    times: Iterable[float] = TABLE_TIMES,
    n: int = 2000,
    steps: int = 25,
    seed: int = 0,
) -> Comparison:
    """Measure estimators against the truth: each field along `times`, and n guided samples each from the same noise.

    Two further rows give the scale: "no guidance", and "two exact sets", exact draws against exact draws, in each column the
    largest of `FLOOR_SETS` tries. Exact samples exceed this floor once in 21 times, so whatever is below it may be exact.

    Args:
        estimators: by name; all of `toy_estimators` when absent.
        denoiser: what every row samples with; the exact one when absent.
    """
    n = check_number(n, name="n", low=2, integer=True)
    times = tuple(check_number(t, name="times", low=1e-6, high=1.0) for t in times)
    chosen = dict(toy_estimators(toy, beta, schedule) if estimators is None else estimators)
    chosen.setdefault("no guidance", ZeroGuidance())
    target = toy.truth.tilt(beta)
    generator = _seeded(seed)
    exact = target.sample(n, generator=generator)[0]
    bandwidths, masses = kernel_bandwidths(exact), target.mode_masses()

    def measure(name: str, errors: tuple[float, ...], x: Tensor) -> Row:
        return Row(
            name,
            errors,
            float(mmd2(x, exact, bandwidths=bandwidths)),
            float(sliced_wasserstein(x, exact)),
            float(total_variation(mode_masses(x, target), masses)),
            float(toy.energy(x).mean()) + (toy.scaling.zero if toy.scaling else 0.0),
            x,
        )

    rows = []
    denoiser = ExactDenoiser(toy.truth, schedule) if denoiser is None else denoiser
    for name, guidance in tqdm(chosen.items(), "measuring", leave=False, disable=None):  # in a terminal
        errors = tuple(
            float(guidance_error(guidance, toy.truth, t, beta, schedule, n=max(n, _FIELD_POINTS), generator=_seeded(seed)))
            for t in times
        )
        x = sample(Guided(denoiser, guidance), (n, toy.dim), steps=steps, generator=_seeded(seed + 1))
        rows.append(measure(name, errors, x))
    floor = [measure("two exact sets", (), target.sample(n, generator=generator)[0]) for _ in range(FLOOR_SETS)]
    worst = {field: max(getattr(row, field) for row in floor) for field in ("mmd2", "sliced_wasserstein", "mode_error")}
    rows.append(replace(floor[0], **worst))
    return Comparison(toy.name, beta, times, tuple(rows))


def samples_figure(toy: Toy, comparison: Comparison, schedule: Schedule, *, names: tuple[str, ...] | None = None) -> Figure:
    """One panel for each estimator: its samples over the exact target."""
    names = names or tuple(row.name for row in comparison.rows if row.name != "two exact sets")
    figure = Figure(figsize=(2.6 * len(names), 2.9), layout="constrained")
    target = toy.truth.tilt(comparison.beta)
    for ax, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        plots.density(ax, toy, target, 0.02, schedule)
        plots.points(ax, toy, comparison.row(name).samples[:800], title=name, size=2)
    return figure


def errors_figure(toy: Toy, estimators: dict[str, Guidance], beta: float, t: float, schedule: Schedule) -> Figure:
    """One error map for each estimator at time t."""
    figure = Figure(figsize=(3.0 * len(estimators), 2.9), layout="constrained")
    for ax, (name, guidance) in zip(figure.subplots(1, len(estimators), squeeze=False)[0], estimators.items(), strict=True):
        plots.error_map(ax, toy, guidance, t, beta, schedule, title=name)
    return figure


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
