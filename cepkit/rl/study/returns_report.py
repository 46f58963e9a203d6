"""A table and a figure of what has been evaluated, each row with what one must know to trust it.

The guidance scale of the QGPO row is chosen by mean return. With one evaluation seed it is chosen on the very episodes whose
return is reported, which flatters it: such a row says "selected on these episodes". With several evaluation seeds it is chosen
on the first and reported on the others, which is honest. One scale is chosen for all training seeds of a row, and weights are
those after the last step, never a best checkpoint.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from cepkit.learning.checkpoints import write_atomically
from cepkit.rl.agent.seed_folders import run_folders
from cepkit.rl.study.paper import PAPER_SCORES, SOURCE, paper_text
from cepkit.rl.study.pooled import Pooled, pool
from cepkit.rl.study.results import BEST_OF_K, CLONING, Result, read_results, scale_name, scale_of

SELECTED_HERE = "selected on these episodes"
_NOTES = (
    "Return: mean over training seeds and episodes, with a 95 % two-level bootstrap interval (training seeds, then episodes "
    "within each).",
    "Score: D4RL's normalised score, 0 for a random policy and 100 for an expert; only where D4RL's reference returns belong to "
    "the environment.",
    "Checkpoint: last is the weights after the last step; nothing was picked by return.",
)
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class Group:
    """What was evaluated of the runs of one folder, in one environment on one engine with as many episodes.

    Attributes:
        folder: of the runs.
        results: of every run, policy and evaluation seed.
    """

    folder: Path
    results: tuple[Result, ...]

    @property
    def first(self) -> Result:
        """One of them: all agree in data, environment, engine and versions."""
        return self.results[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the episodes' starts."""
        return tuple(sorted({r.seed for r in self.results}))

    @property
    def runs(self) -> tuple[int, ...]:
        """Training seeds."""
        return tuple(sorted({r.run_seed for r in self.results}))

    def of(self, policy: str, seeds: Sequence[int]) -> list[Result]:
        """The results of a policy on some evaluation seeds."""
        return [r for r in self.results if r.policy == policy and r.seed in seeds]

    def complete(self, policy: str, seeds: Sequence[int]) -> bool:
        """Whether every run was evaluated with a policy on every one of these seeds."""
        return len(self.of(policy, seeds)) == len(self.runs) * len(seeds)

    @property
    def scales(self) -> tuple[float, ...]:
        """Guidance scales evaluated for every run on every seed."""
        found = {scale_of(r.policy) for r in self.results} - {None}
        return tuple(sorted(s for s in found if self.complete(scale_name(s), self.seeds)))


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        group: what it is of.
        policy: in words.
        scale: guidance scale, None for a baseline without one.
        numbers: over the episodes reported.
        selection: how the scale was chosen, or "" where there was nothing to choose.
        paper: what the paper reports for the same method, or "".
    """

    group: Group
    policy: str
    scale: float | None
    numbers: Pooled
    selection: str
    paper: str


def read_groups(folders: Sequence[str | Path]) -> list[Group]:
    """Everything evaluated in these folders, grouped by what can be put together.

    Raises:
        ValueError: no runs, or runs of which none has been evaluated.
    """
    groups: list[Group] = []
    for folder in dict.fromkeys(map(Path, folders)):
        results = [result for run in run_folders(folder) for result in read_results(run)]
        if not results:
            raise ValueError(f"{folder}: expected runs that have been evaluated, found none; first: cepkit eval {folder}")
        kinds: dict[tuple, list[Result]] = {}
        for r in results:
            machine = (r.versions.get("gymnasium"), r.versions.get("mujoco"))
            kinds.setdefault((r.data, r.environment, r.engine, r.episodes, machine), []).append(r)
        groups += [Group(folder, tuple(kind)) for kind in kinds.values()]
    return groups


def choose_scale(group: Group) -> tuple[float, tuple[int, ...], str] | None:
    """The scale to report, the evaluation seeds to report on, and how it was chosen; None if no scale is common to all runs."""
    scales, seeds = group.scales, group.seeds
    if not scales:
        return None
    on = seeds[:1]
    best = max(scales, key=lambda s: pool(group.of(scale_name(s), on)).mean)
    if len(scales) == 1:
        return best, seeds, "the only one evaluated"
    if len(seeds) == 1:
        return best, seeds, SELECTED_HERE
    return best, seeds[1:], f"chosen on evaluation seed {seeds[0]}, reported on {', '.join(map(str, seeds[1:]))}"


def rows_of(group: Group) -> list[Row]:
    """QGPO at its chosen scale, then the baselines, all on the same episodes."""
    data, found = group.first.data, []
    chosen = choose_scale(group)
    seeds = group.seeds if chosen is None else chosen[1]
    if chosen is not None:
        numbers = pool(group.of(scale_name(chosen[0]), seeds))
        found.append(Row(group, "QGPO", chosen[0], numbers, chosen[2], paper_text(data, "QGPO")))
    for policy, words, scale, paper in (
        (scale_name(0.0), "behaviour model", 0.0, ""),
        (CLONING, "behaviour cloning", None, paper_text(data, "BC")),
        (BEST_OF_K, BEST_OF_K.replace("-", " ") + " by Q", None, ""),
    ):
        if group.complete(policy, seeds):
            found.append(Row(group, words, scale, pool(group.of(policy, seeds)), "", paper))
    return found


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, with notes below."""
    head = (
        "data set", "policy", "scale", "return (95 % interval)", "score", "success", "paper's score", "training seeds",
        "episodes per seed", "engine", "how the scale was chosen", "checkpoint",
    )  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        n, first = row.numbers, row.group.first
        low, high = n.interval
        score = ""
        if n.score is not None:
            score = f"{n.score:.1f} ({n.score_interval[0]:.1f} to {n.score_interval[1]:.1f})"
        cells = (
            first.data,
            row.policy,
            "" if row.scale is None else f"{row.scale:g}",
            f"{n.mean:.1f} ({low:.1f} to {high:.1f})",
            score,
            "" if n.success is None else f"{n.success:.0%}",
            row.paper,
            ", ".join(map(str, n.runs)),
            f"{n.episodes} (starts of seed {', '.join(map(str, n.seeds))})",
            engine_text(first),
            row.selection,
            first.checkpoint,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def engine_text(result: Result) -> str:
    """Engine, environment and versions."""
    names = ("mujoco", "gymnasium", "gymnasium-robotics")
    known = ", ".join(f"{name} {result.versions[name]}" for name in names if name in result.versions)
    return f"{result.engine} ({result.gymnasium_id}; {known})"


def notes(groups: Sequence[Group]) -> list[str]:
    """What the table must not leave unsaid."""
    found = list(_NOTES)
    if any(group.first.data in PAPER_SCORES for group in groups):
        found.append(f"Paper's score: {SOURCE}. Each paper chose scale, checkpoint and seeds by its own protocol.")
    for group in groups:
        found += group.first.notes
        if len(group.runs) == 1:
            found.append(f"{group.folder}: one training seed, so its interval says nothing about another training.")
        chosen = choose_scale(group)
        if chosen is not None and chosen[2] == SELECTED_HERE:
            found.append(
                f"{group.folder}: evaluate with another --seed too, and the scale is chosen on one and reported on the other."
            )
    return list(dict.fromkeys(found))


def figure_of(groups: Sequence[Group]) -> Figure:
    """Return (or score) over guidance scale with 95 % intervals, a line per group, its baselines as horizontal lines."""
    kinds = {"normalised score": [], "return": []}
    for group in groups:
        kinds["return" if group.first.score is None else "normalised score"].append(group)
    shown = {kind: members for kind, members in kinds.items() if members}
    figure = Figure(figsize=(6.4 * len(shown), 4.4), layout="constrained")
    for ax, (kind, members) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        for index, group in enumerate(members):
            _draw(ax, group, _COLOURS[index % len(_COLOURS)])
        ax.set(xlabel="guidance scale s", ylabel=f"{kind}, mean and 95 % interval")
        ax.grid(alpha=0.3)
        ax.legend(fontsize="small")
    return figure


def _draw(ax, group: Group, colour: str) -> None:
    def numbers(policy: str) -> tuple[float, float, float]:
        found = pool(group.of(policy, group.seeds))
        if found.score is None:
            return found.mean, *found.interval
        return found.score, *found.score_interval

    first, scales = group.first, group.scales
    label = first.data if first.environment == first.data else f"{first.data} in {first.environment}"
    if scales:
        means, lows, highs = zip(*(numbers(scale_name(s)) for s in scales), strict=True)
        ax.plot(scales, means, "o-", color=colour, label=f"{label}, {first.engine}, {len(group.runs)} training seeds")
        ax.fill_between(scales, lows, highs, color=colour, alpha=0.2, linewidth=0)
    for policy, style in ((CLONING, "--"), (BEST_OF_K, ":")):
        if group.complete(policy, group.seeds):
            ax.axhline(numbers(policy)[0], color=colour, linestyle=style, label=f"{label}: {policy}")


def write_report(folders: Sequence[str | Path], out: Path) -> tuple[str, list[Path]]:
    """Write the table to <out>.md and the figure to <out>.png; return the table and both paths.

    Raises:
        ValueError: as `read_groups`.
        OSError: the place cannot be written.
    """
    groups = read_groups(folders)
    rows = [row for group in groups for row in rows_of(group)]
    text = table(rows) + "\n\n" + "\n".join(f"- {note}" for note in notes(groups))
    picture = io.BytesIO()
    figure_of(groups).savefig(picture, format="png", dpi=110, facecolor="white")
    out = out.with_suffix("") if out.suffix in (".md", ".png") else out
    paths = [out.with_name(f"{out.name}{suffix}") for suffix in (".md", ".png")]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"could not make the folder {out.parent} ({error.strerror})") from error
    write_atomically(paths[0], (text + "\n").encode())
    write_atomically(paths[1], picture.getvalue())
    return text, paths
