"""A trained run beside the truth: a table of errors and one figure."""

from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from cepkit import plots
from cepkit.course.comparison import Comparison, compare
from cepkit.diffusion.denoisers import Denoiser
from cepkit.diffusion.guidance import Guidance, Guided, same_schedule
from cepkit.diffusion.process import perturb
from cepkit.diffusion.sampling import sample
from cepkit.diffusion.schedules import Schedule
from cepkit.learning.checkpoints import write_atomically
from cepkit.learning.points_run import LoadedRun, load_run, load_toy
from cepkit.learning.sufficiency import shortfall
from cepkit.truth.fields import ExactDenoiser, toy_estimators
from cepkit.truth.metrics import PROBE_TIMES
from cepkit.truth.toys import Toy
from cepkit.validation import check_beta, check_points, one_per_point

_SHOWN_TIMES = (0.1, 0.3, 0.6)


@dataclass(frozen=True)
class NormalizedGuidance(Guidance):
    """A learned guidance whose energies at different times share one zero, the exact one's; its field is unchanged.

    Averaged over the noised data, exp(-E_t) gives E_{q_t}[exp(-E_t)] = E[exp(-beta E)], the same number at every t. That fixes
    the constant C(t) which contrastive training leaves free; no truth is needed, only data.

    Args:
        guidance: any guidance, right up to a constant for each t.
        x: clean points (n, D), a few thousand.
        energy_of_x: their energies (n,).
    """

    guidance: Guidance
    x: Tensor
    energy_of_x: Tensor
    beta: float
    schedule: Schedule

    def __post_init__(self) -> None:
        check_beta(self.beta)
        check_points(self.x, None, name="x")
        one_per_point(self.energy_of_x, self.x, "energy_of_x")
        same_schedule(self.guidance, self.schedule, "guidance")

    def constant(self, t: Tensor | float) -> Tensor:
        """What is added at time t, a scalar: log E_{q_t}[exp(-f)] - log E[exp(-beta E)]."""
        generator = torch.Generator(self.x.device).manual_seed(0)  # the same noise at every call
        x_t = perturb(self.x, t, self.schedule, generator=generator).x_t
        with torch.no_grad():
            log_weight = torch.stack([-self.guidance.energy(x_t, t), -self.beta * self.energy_of_x])
        noisy, clean = torch.logsumexp(log_weight, -1)
        return noisy - clean

    def energy(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        if isinstance(t, Tensor) and t.ndim:
            raise ValueError(f"t: expected one time for all points, got shape {tuple(t.shape)}")
        return self.guidance.energy(x_t, t) + self.constant(t)

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.guidance(x_t, t)


def show_run(folder: str | Path, *, n: int = 2000) -> tuple[str, Comparison, Path | None]:
    """Measure a run against the truth and draw it: a headline, a table, and the path of the figure written to the folder (None
    unless the data are two-dimensional).

    The table compares the learned guidance with those that need no training; every row samples with the run's own denoiser
    (with the exact one if the run has none).

    Raises:
        ValueError: no run there, or one without an energy net or without a truth (arrays of your own, a file that has changed).
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    run = load_run(folder)
    if run.guidance is None:
        raise ValueError(f"{folder}: has no energy net to show")
    toy, config = load_toy(folder), run.config
    learned = f"learned ({config.objective})"
    known = toy_estimators(toy, config.beta, config.schedule)
    denoiser = run.denoiser or ExactDenoiser(toy.truth, config.schedule)
    shown = {learned: run.guidance, **known}
    table = compare(toy, config.beta, config.schedule, estimators=shown, denoiser=denoiser, times=PROBE_TIMES, n=n)
    errors = table.row(learned).field_errors
    headline = (
        f"{folder}: {toy.name}, beta = {config.beta:g}, {config.objective}, step {run.step} of {config.steps}; "
        f"mean field error {sum(errors) / len(errors):.3f}"
    )
    said = shortfall(table.times, errors, table.row("mean energy").field_errors) if config.objective != "MSE" else ""
    headline = "\n".join(filter(None, (headline, toy.about, toy.few_points(config.beta), said)))
    path = folder / "figure.png" if toy.dim == 2 else None
    if path is not None:
        write_atomically(path, plots.png(_figure(run, toy, denoiser, known["exact"])))
    return headline, table, path


def _figure(run: LoadedRun, toy: Toy, denoiser: Denoiser, exact: Guidance) -> Figure:
    """Rows exact energy, learned energy, error; a last column with samples of both over the target."""
    config = run.config
    x, energy = toy.sample(4096, generator=torch.Generator().manual_seed(config.seed))
    learned = NormalizedGuidance(run.guidance, x, energy, config.beta, config.schedule)
    figure = Figure(figsize=(3.1 * (len(_SHOWN_TIMES) + 1), 8.4), layout="constrained")
    axes = figure.subplots(3, len(_SHOWN_TIMES) + 1)
    for column, t in zip(axes.T, _SHOWN_TIMES, strict=False):
        values = exact.energy(plots.picture_points(toy, 70), t)[plots.visible(toy, t, config.schedule, side=70)]
        limits = {"vmin": float(values.min()), "vmax": float(values.max()) + 1e-3}
        plots.energy(column[0], toy, exact, t, config.schedule, title=f"exact $E_t$, t = {t:g}", side=70, **limits)
        plots.energy(column[1], toy, learned, t, config.schedule, title="learned", side=70, **limits)
        plots.error_map(column[2], toy, run.guidance, t, config.beta, config.schedule, title="error of the field", side=70)
    pairs = {"exact guidance": (ExactDenoiser(toy.truth, config.schedule), exact), "learned": (denoiser, run.guidance)}
    target = toy.truth.tilt(config.beta)
    for ax, (name, (base, guidance)) in zip(axes[:, -1], pairs.items(), strict=False):
        plots.density(ax, toy, target, 0.02, config.schedule)
        x = sample(Guided(base, guidance), (800, toy.dim), generator=torch.Generator().manual_seed(config.seed))
        plots.points(ax, toy, x, title=f"samples, {name}", size=2)
    plots.density(axes[2, -1], toy, target, 0.02, config.schedule, title="target")
    for ax in axes.flat:
        ax.set(xlabel="", ylabel="", xticks=[], yticks=[])
    return figure
