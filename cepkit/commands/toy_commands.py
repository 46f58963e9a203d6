"""`cepkit toy train` and `cepkit toy show`: learned guidance on a toy or on your own points."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from cepkit.commands.options import optional, options_of
from cepkit.commands.progress import follow
from cepkit.learning.data_source import DataSource
from cepkit.learning.loop import TrainingConfig
from cepkit.learning.points_run import resume_run, start_run

_POINTS = 1_000_000


def train(
    out: Path,
    settings: options_of(TrainingConfig),
    toy: Positional[optional(str, "[TOY]", "")] = None,
    resume: bool = False,
    points: int = _POINTS,
    std: float = 0.0,
    standardize: bool = False,
) -> int:
    """Train by contrastive energy prediction, into a folder.

    Args:
        out: folder of the run
        settings: of a new run
        toy: a toy's name, or a CSV file whose last column is the energy
        resume: go on with the run in that folder; its settings stay
        points: how many points to draw
        std: blur of the points of a CSV file
        standardize: scale the columns of a CSV file in any case, not only where it is needed
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
    if run.toy.about:
        print(run.toy.about)
    resume_command = ["cepkit", "toy", "train", "--resume", "--out", str(out)]
    return follow(run, resume_command, look=["cepkit", "toy", "show", str(out)])


def show(folder: Annotated[Positional[Path], arg(metavar="FOLDER")], samples: int = 2000) -> None:
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
