"""D4RL's data sets in one table: what runs found on this machine earn, beside what papers report.

An empty cell means not run here. A filled one carries what it takes to trust it: the interval, training seeds, episodes, engine,
how the scale was chosen and which weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cepkit.rl.agent.seed_folders import run_folders
from cepkit.rl.study.paper import PAPER_SCORES, SOURCE, paper_text
from cepkit.rl.study.results import read_results
from cepkit.rl.study.returns_report import Group, Row, engine_text, read_groups, rows_of

PAPERS = ("QGPO", "BC", "SfBC", "IQL", "Diffusion-QL", "IDQL", "SRPO")
_NOT_RUN = "The full D4RL numbers have not been run here: no data set of this table has an evaluated run."


def found_groups(folder: str | Path) -> list[Group]:
    """Everything evaluated in the runs somewhere below a folder; nothing where there is no such run or no such folder.

    Raises:
        ValueError: a kept evaluation that does not read.
    """
    parents = {
        path.parent.parent if path.parent.name.startswith("seed-") else path.parent for path in Path(folder).rglob("config.json")
    }
    evaluated = [parent for parent in sorted(parents) if _has_results(parent)]
    return read_groups(evaluated) if evaluated else []


def score_board(folder: str | Path, *, names: Sequence[str] = tuple(PAPER_SCORES)) -> str:
    """A Markdown table, a row for each data set and, where several were evaluated, for each group of runs of it.

    Args:
        folder: runs are looked for anywhere below it.
        names: data sets in the order of the rows.

    Raises:
        ValueError: as `found_groups`.
    """
    here = {name: [rows_of(group) for group in found_groups(folder) if group.first.data == name] for name in names}
    papers = [method for method in PAPERS if any(paper_text(name, method) for name in names)]
    head = [
        "data set",
        "here: score (95 % interval)",
        "s",
        "s = 0",
        "what it stands on",
        *(f"{method}, paper" for method in papers),
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in names:
        reported = [paper_text(name, method) for method in papers]
        for rows in here[name] or [[]]:
            lines.append("| " + " | ".join([name, *_own(rows), *reported]) + " |")
    found = sum(map(len, here.values()))
    notes = [SOURCE[0].upper() + SOURCE[1:] + ". Each paper chose scale, checkpoint and seeds by its own protocol."]
    return "\n".join(lines + [""] + [f"- {note}" for note in ([] if found else [_NOT_RUN]) + notes])


def _has_results(folder: Path) -> bool:
    return any(read_results(run) for run in run_folders(folder))


def _own(rows: Sequence[Row]) -> list[str]:
    """Score, scale, the behaviour model's score, and in words all that these depend on; empty where nothing was run."""
    guided = next((row for row in rows if row.policy == "QGPO"), None)
    if guided is None:
        return ["", "", "", ""]
    behaviour = next((row for row in rows if row.policy == "behaviour model"), None)
    numbers, first = guided.numbers, guided.group.first
    seeds = f"{len(numbers.runs)} training seed{'s' if len(numbers.runs) > 1 else ''} x {numbers.episodes} episodes"
    stands_on = f"{seeds}; {engine_text(first)}; scale {guided.selection}; {first.checkpoint} weights"
    return [_score(guided), f"{guided.scale:g}", "" if behaviour is None else _score(behaviour), stands_on]


def _score(row: Row) -> str:
    if row.numbers.score is None:
        return f"return {row.numbers.mean:.1f} ({row.numbers.interval[0]:.1f} to {row.numbers.interval[1]:.1f}), no score"
    return f"{row.numbers.score:.1f} ({row.numbers.score_interval[0]:.1f} to {row.numbers.score_interval[1]:.1f})"
