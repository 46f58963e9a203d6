"""The leaderboard: what evaluated runs earn, policy by policy, beside the scores that papers report, with its caveats.

The guidance scale of the QGPO row is chosen by mean return. With one evaluation seed it is chosen on the very episodes whose
return is reported, which flatters it, and the row says so. With several evaluation seeds it is chosen on the first and reported
on the others. One scale is chosen for all training seeds of a row, and results use the final weights.

Papers' scores (paper_scores.csv) are normalised scores as in the tables of Lu et al. (ICML 2023, arXiv 2304.12824) and of the
papers of the other methods, as other papers restate them: QGPO; behaviour cloning (BC); SfBC (Chen et al. 2023); IQL (Kostrikov
et al. 2022); Diffusion-QL (Wang et al. 2023); IDQL (Hansen-Estruch et al. 2023); SRPO (Chen et al. 2024).
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jinja2
import torch
from matplotlib.figure import Figure
from torch import Tensor

from cepkit.rl.study.evaluate import mean_interval
from cepkit.rl.study.figures import POLICY_COLOURS
from cepkit.rl.study.results import BEST_OF_K, CLONING, Pooled, Result, pool, read_results, scale_name, scale_of, weights_of

_FOLDER = Path(__file__).parent
with (_FOLDER / "paper_scores.csv").open(encoding="utf-8", newline="") as _file:
    PAPER_SCORES: dict[str, dict[str, str]] = {row.pop("dataset"): row for row in csv.DictReader(_file)}
"""Scores that papers report, by dataset, then by method: as text, "" where there is none."""
_BASELINES = {scale_name(0.0): "behaviour model", CLONING: "behaviour cloning", BEST_OF_K: f"{BEST_OF_K.replace('-', ' ')} by Q"}


class ScaleChoice(NamedTuple):
    """A guidance scale, the evaluation seeds to report it on, and how it was chosen, in words."""

    scale: float
    seeds: tuple[int, ...]
    how: str


@dataclass(frozen=True)
class Experiment:
    """The runs of one folder, evaluated in one environment on one engine with equally many episodes."""

    folder: Path  # of the runs
    results: tuple[Result, ...]  # of every run, policy and evaluation seed, all with the runs' present weights
    outdated: int  # how many results of the folder are of other weights, and left out

    @property
    def first(self) -> Result:
        """One of the results: all agree in dataset, environment, engine and versions."""
        return self.results[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Evaluation seeds, which decide the episodes' starts."""
        return tuple(sorted({r.seed for r in self.results}))

    @property
    def runs(self) -> tuple[int, ...]:
        """Training seeds."""
        return tuple(sorted({r.run_seed for r in self.results}))

    @property
    def policies(self) -> tuple[str, ...]:
        """Policies evaluated for every run on every evaluation seed: the guided ones by rising scale, then baselines."""
        names = sorted({r.policy for r in self.results}, key=lambda name: (scale_of(name) is None, scale_of(name) or 0.0))
        return tuple(name for name in names if self.pooled(name) is not None)

    @property
    def scales(self) -> tuple[float, ...]:
        """Guidance scales evaluated for every run on every evaluation seed."""
        return tuple(scale_of(name) for name in self.policies if scale_of(name) is not None)

    def pooled(self, policy: str, seeds: Sequence[int] | None = None) -> Pooled | None:
        """The results of a policy on these evaluation seeds (default: all); None unless every run has one on each of them."""
        seeds = self.seeds if seeds is None else seeds
        found = [r for r in self.results if r.policy == policy and r.seed in seeds]
        return pool(found) if found and len(found) == len(self.runs) * len(seeds) else None

    def choose_scale(self) -> ScaleChoice | None:
        """Choose the scale to report; None where no scale was evaluated for all runs."""
        scales, seeds = self.scales, self.seeds
        if not scales:
            return None
        best = max(scales, key=lambda scale: self.pooled(scale_name(scale), seeds[:1]).mean)
        if len(scales) == 1:
            return ScaleChoice(best, seeds, "the only one evaluated")
        if len(seeds) == 1:
            return ScaleChoice(best, seeds, "selected on these episodes")
        reported = ", ".join(map(str, seeds[1:]))
        return ScaleChoice(best, seeds[1:], f"chosen on evaluation seed {seeds[0]}, reported on {reported}")


def find_experiments(folder: str | Path) -> list[Experiment]:
    """Everything evaluated in the runs anywhere below a folder; none where there is no such run or no such folder.

    Raises:
        ValueError: an evaluation file that cannot be read.
    """
    found, outdated = defaultdict(list), Counter()
    for run in sorted(path.parent for path in Path(folder).rglob("config.json")):
        runs, results = (run.parent if run.name.startswith("seed-") else run), read_results(run)
        weights = weights_of(run) if results else ""
        for r in results:
            if r.weights != weights:
                outdated[runs] += 1
                continue
            machine = (r.versions.get(name) for name in ("gymnasium", "mujoco", "gymnasium-robotics"))
            found[runs, r.data, r.environment, r.engine, r.episodes, *machine].append(r)
    return [Experiment(runs, tuple(results), outdated[runs]) for (runs, *_), results in found.items()]


def leaderboard(experiments: Sequence[Experiment], datasets: Sequence[str] = ()) -> str:
    """A Markdown table with a row for each policy of each experiment, papers' scores beside, and its caveats as a list below.

    Names in `datasets`, such as those of `PAPER_SCORES`, get a row with papers' scores even where nothing was run.
    """
    run_here = {experiment.first.data for experiment in experiments}
    named = run_here.union(datasets) & PAPER_SCORES.keys()
    template = (_FOLDER / "leaderboard.md.jinja").read_text(encoding="utf-8")
    text = jinja2.Template(template, trim_blocks=True).render(
        sections=[_section(experiment) for experiment in experiments],
        missing=[name for name in datasets if name not in run_here],
        methods=list(next(iter(PAPER_SCORES.values()))) if named else [],
        paper_scores=PAPER_SCORES,
        notes=list(dict.fromkeys(note for experiment in experiments for note in experiment.first.notes)),
        cell=_cell,
        interval=mean_interval,
    )
    return text.strip()


def _section(experiment: Experiment) -> tuple[Experiment, ScaleChoice | None, list[tuple[str, float | None, Pooled, str]]]:
    """What the template needs: rows of policy in words, scale, numbers and how the scale was chosen, all on the same episodes."""
    choice = experiment.choose_scale()
    policies = [] if choice is None else [("QGPO", scale_name(choice.scale), choice.how)]
    policies += [(words, policy, "") for policy, words in _BASELINES.items()]
    seeds = None if choice is None else choice.seeds
    rows = [(words, scale_of(policy), experiment.pooled(policy, seeds), how) for words, policy, how in policies]
    return experiment, choice, [row for row in rows if row[2] is not None]


def _cell(text: object) -> str:
    """Text that stays in its cell of a Markdown table and is no HTML, whatever a dataset is called."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def scale_figure(experiments: Sequence[Experiment]) -> Figure:
    """Score (or return) over guidance scale, a panel for each experiment, with the mean, training seeds (dots) and baselines.

    With three training seeds or more a band is the 95 % interval over trainings, `cepkit.rl.mean_interval`.
    """
    figure = Figure(figsize=(6.4, 4.0 * len(experiments)), layout="constrained")
    for ax, experiment in zip(figure.subplots(len(experiments), squeeze=False)[:, 0], experiments, strict=True):
        first, scales = experiment.first, experiment.scales
        if scales:
            values = [_measured(experiment.pooled(scale_name(scale))) for scale in scales]
            label, colour = f"QGPO, {len(experiment.runs)} training seeds", POLICY_COLOURS["guided"]
            ax.plot(scales, [each.mean() for each in values], "-", color=colour, label=label)
            ax.plot(scales, torch.stack(values).mean(-1), ".", color=colour)
            ax.fill_between(scales, *zip(*map(mean_interval, values), strict=True), color=colour, alpha=0.2, linewidth=0)
        for policy, colour in ((CLONING, POLICY_COLOURS["cloning"]), (BEST_OF_K, POLICY_COLOURS["best of K"])):
            pooled = experiment.pooled(policy)
            if pooled is not None:
                ax.axhline(_measured(pooled).mean(), color=colour, linestyle="--", label=_BASELINES[policy])
        measured = "return" if first.score is None else "normalised score"
        task = first.data if first.environment == first.data else f"{first.data} in {first.environment}"
        ax.set(xlabel="guidance scale s", ylabel=f"{measured}, mean, training seeds (dots), 95 % interval")
        ax.set_title(f"{task}, {first.engine}", parse_math=False)
        ax.grid(alpha=0.3)
        if ax.lines:
            ax.legend(fontsize="small")
    return figure


def _measured(pooled: Pooled) -> Tensor:
    """Scores, or else returns, (R, E)."""
    return pooled.returns if pooled.scores is None else pooled.scores
