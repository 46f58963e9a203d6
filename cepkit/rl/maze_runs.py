"""Runs on the course's maze that ship with it, small: their weights and what they earn, without support actions and logs.

    seed-<n>/config.json, behaviour.safetensors, critic.safetensors, cloning.safetensors      what `load_run` reads
    returns.json                                                                              what `evaluate_runs` writes

The guidance scale is chosen on episodes from other starts (`CHOOSING`) than those it is reported on (`REPORTING`). Weights are
those after the last step; none were picked by return.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from cepkit.checkpoints import write_atomically
from cepkit.rl import maze
from cepkit.rl.baselines import best_of_k, clone_policy
from cepkit.rl.config import PRESETS
from cepkit.rl.datasets import load_dataset
from cepkit.rl.ensemble import Ensemble
from cepkit.rl.evaluate import evaluate
from cepkit.rl.qgpo import QGPO
from cepkit.rl.rollouts import Policy
from cepkit.rl.run import load_run

CHOOSING = {"seed": 1000, "episodes": 20}
REPORTING = {"seed": 2000, "episodes": 50}
_KEPT = ("config.json", "behaviour.safetensors", "critic.safetensors", "cloning.safetensors")
_RETURNS = "returns.json"


def train_runs(folder: str | Path, build: str | Path, seeds: Sequence[int]) -> None:
    """Train the maze's preset with these seeds in the folder `build`, and keep what ships in `folder`.

    Raises:
        ValueError, OSError: as `Ensemble`.
    """
    for _ in Ensemble(build, PRESETS["maze"], load_dataset(maze.NAME), seeds):
        pass
    for seed in seeds:
        keep_run(Path(build) / f"seed-{seed}", folder)


def keep_run(run: str | Path, folder: str | Path) -> None:
    """Copy what ships of a finished run seed-<n> into `folder`."""
    to = Path(folder) / Path(run).name
    to.mkdir(parents=True, exist_ok=True)
    for name in _KEPT:
        shutil.copyfile(Path(run) / name, to / name)


def policies(qgpo: QGPO, scales: Iterable[float], *, seed: int = 0) -> dict[str, Policy]:
    """The policies to compare, by name: cloning, the best of K, and each guidance scale; each with noise of its own `seed`."""

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    k = qgpo.config.support_actions
    found: dict[str, Policy] = {"cloning": partial(clone_policy, qgpo), f"best of {k}": partial(_best, qgpo, k, generator())}
    return found | {f"s = {scale:g}": partial(_guided, qgpo, scale, generator()) for scale in scales}


def _best(qgpo: QGPO, k: int, generator: torch.Generator, states: Tensor) -> Tensor:
    return best_of_k(qgpo, states, k, generator)


def _guided(qgpo: QGPO, scale: float, generator: torch.Generator, states: Tensor) -> Tensor:
    return qgpo.act(states, scale, generator)


def evaluate_runs(folder: str | Path, *, scales: Sequence[float] | None = None) -> Path:
    """Evaluate every run of a folder and write returns.json after each policy; what it holds already is not run again.

    Args:
        scales: those of the preset by default. Scale 0 needs no choosing.

    Returns:
        The path of returns.json.
    """
    folder = Path(folder)
    path, scales = folder / _RETURNS, PRESETS["maze"].scales if scales is None else tuple(scales)
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"choosing": {}, "reporting": {}}
    found |= {"choosing starts": CHOOSING, "reporting starts": REPORTING}
    for run in sorted(folder.glob("seed-*")):
        qgpo = load_run(run)
        for part, starts in (("reporting", REPORTING), ("choosing", CHOOSING)):
            for name, policy in policies(qgpo, scales).items():
                done = found[part].setdefault(name, {})
                if run.name in done or (part == "choosing" and not name.startswith("s = ")):
                    continue
                done[run.name] = evaluate(policy, maze.NAME, **starts).returns.tolist()
                write_atomically(path, (json.dumps(found, indent=1) + "\n").encode())
    return path


def read_returns(folder: str | Path, part: str = "reporting") -> dict[str, Tensor]:
    """Returns (runs, episodes) of each policy, on the starts for "choosing" the scale or for "reporting".

    Raises:
        ValueError: no such file, or one that does not read.
    """
    path = Path(folder) / _RETURNS
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))[part]
        return {name: torch.tensor([runs[run] for run in sorted(runs)]) for name, runs in stored.items() if runs}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected the returns that `python data/maze_runs.py` writes, it does not read ({error})"
        ) from error


def best_scale(folder: str | Path) -> str:
    """The policy "s = ..." that earned most on the starts for choosing."""
    chosen = read_returns(folder, "choosing")
    return max(chosen, key=lambda name: float(chosen[name].mean()))
