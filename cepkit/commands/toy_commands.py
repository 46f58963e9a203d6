"""`cepkit toy train` and `cepkit toy show`: learned guidance on a toy or on your own points."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from cepkit.commands.cli import STOPPED
from cepkit.commands.options import optional, options_of
from cepkit.commands.progress import follow
from cepkit.learning.data_source import DataSource
from cepkit.learning.loop import TrainingConfig, TrainingStep
from cepkit.learning.points_run import resume_run, start_run

_POINTS = 1_000_000


def train(
    toy: Positional[optional(str, "[TOY]", "")] = None,
    /,
    *,
    out: Path,
    resume: bool = False,
    points: int = _POINTS,
    std: float = 0.0,
    standardize: bool = False,
    settings: options_of(TrainingConfig),
) -> int:
    """Train by contrastive energy prediction, into a folder.

    Args:
        toy: a toy's name, or a CSV file whose last column is the energy
        out: folder of the run
        resume: go on with the run in that folder; its settings stay
        points: how many points to draw
        std: blur of the points of a CSV file
        standardize: scale the points of a CSV file
        settings: of a new run
    """
    if resume:
        new = {"toy": toy, "points": points != _POINTS, "std": std, "standardize": standardize} | settings
        given = [name for name, value in new.items() if value or name in settings]
        if given:
            raise ValueError(f"--resume: the run keeps its own settings; leave out {', '.join(given)}")
        run = resume_run(out)
    elif toy is None:
        raise ValueError("toy: expected a toy's name or a CSV file, or --resume")
    else:
        run = start_run(out, TrainingConfig(**settings), DataSource(toy, n=points, std=std, standardize=standardize))
    config, start = run.training.config, time.perf_counter()

    def describe(step: TrainingStep) -> tuple[str, int, int, dict[str, object]]:
        losses = {"denoising": step.denoiser_loss, config.objective: step.energy_loss}
        return "training", step.index, config.steps, {name: loss for name, loss in losses.items() if loss is not None}

    stopped = follow(run, describe)
    if stopped is not None:
        print(f"Stopped at step {stopped.index}; go on with: cepkit toy train --resume --out {out}", file=sys.stderr)
        return STOPPED
    print(f"Done in {time.perf_counter() - start:.0f} s. See it with: cepkit toy show {out}")
    return 0


def show(folder: Annotated[Positional[Path], arg(metavar="FOLDER")], /, *, samples: int = 2000) -> None:
    """Measure a run against the truth: print the table of errors, write figure.png.

    Args:
        folder: folder of the run
        samples: samples per estimator
    """
    from cepkit.course.show_run import show_run

    headline, table, path = show_run(folder, n=samples)
    print(headline, table, sep="\n\n")
    if path is not None:
        print(f"\nPicture: {path}")
