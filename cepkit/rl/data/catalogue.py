"""The datasets that have a name: D4RL's (Fu et al. 2020, arXiv 2004.07219) and the two that ship with this project.

The table is `catalogue.csv`. File names, time limits and reference returns in it are those of D4RL's package, version 1.1
(`d4rl/infos.py` and the environments it registers). The references are the mean returns of a random policy and of an expert.
AntMaze v1 is registered there with the references of v0 and v2. Sizes are as other work reports them, where we know them.
"""

import csv
import difflib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A named dataset, as far as it is known without its file."""

    name: str  # as users write it
    family: str  # decides rewards, presets and environments, see `cepkit.rl.data.scores.family_of`
    reference: tuple[float, float] | None  # returns of a random policy and of an expert
    episode_steps: int  # the environment's time limit, which ends an episode in files that record no time-outs
    environment: str  # Gymnasium's name of its environment, or of the nearest to it; empty where there is none
    file: str  # its place on the official host; empty for a dataset that ships with the project
    transitions: int | None  # rows of the file, where we know

    @property
    def shipped(self) -> bool:
        """Whether it comes with the project, not from D4RL."""
        return not self.file


def _entry(row: dict[str, str]) -> Entry:
    reference = (float(row["random_return"]), float(row["expert_return"])) if row["random_return"] else None
    transitions = int(row["transitions"]) if row["transitions"] else None
    texts = {key: row[key] for key in ("name", "family", "environment", "file")}
    return Entry(**texts, reference=reference, episode_steps=int(row["episode_steps"]), transitions=transitions)


with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as _table:
    CATALOGUE = {row["name"]: _entry(row) for row in csv.DictReader(_table)}

MAKERS = {"pointmaze-umaze": "cepkit.rl.envs.maze_data:make"}  # by `cepkit data make`; the function takes the path to write


def entry_of(name: str) -> Entry:
    """What the catalogue knows of a name.

    Raises:
        ValueError: an unknown name; the nearest ones are suggested.
    """
    if name not in CATALOGUE:
        near = difflib.get_close_matches(str(name), CATALOGUE, n=3, cutoff=0.5)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ValueError(f"dataset: expected a known name, got {str(name)!r}{hint} (`cepkit data list` shows them all)")
    return CATALOGUE[name]
