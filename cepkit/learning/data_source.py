"""Where a run's points come from, written down so that the run can be taken up again."""

import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cepkit.settings import Configuration, setting
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import TOYS, Toy, make_toy
from cepkit.validation import LARGEST_INTEGER, check_memory, check_name


@dataclass(frozen=True)
class DataSource(Configuration):
    """Points drawn from a toy, or from the blurred points of a CSV file.

    Attributes:
        name: a toy's name, or the path of a CSV file whose last column is the energy.
        n: how many points to draw.
        seed: of the draw.
        std: as in `cepkit.truth.own_points.from_points`; of CSV files only.
        standardize: scale the columns of a CSV file in any case, not only where it is needed.
    """

    title = "data"

    name: str
    n: int = setting(1_000_000, low=2)
    seed: int = setting(0, low=0, high=LARGEST_INTEGER)
    std: float = setting(0.0, low=0.0)
    standardize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.is_file:
            check_name(self.name, TOYS, name="toy")
            if self.std or self.standardize:
                raise ValueError(f"std: expected 0, and no standardize, for the toy {self.name}; they are for CSV files")

    @property
    def is_file(self) -> bool:
        """Whether `name` is meant as a file: no toy's, and with an ending, a separator, or of a file that is there."""
        name = str(self.name)
        return name not in TOYS and (Path(name).suffix != "" or "/" in name or os.sep in name or os.path.isfile(name))

    def toy(self) -> Toy:
        """The toy itself, truth included; its `about` says how a file was read."""
        if not self.is_file:
            return make_toy(self.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever names a file is told by `about`
            return from_points(self.name, std=self.std, standardize=self.standardize or None)

    def draw(self, toy: Toy | None = None) -> tuple[Tensor, Tensor]:
        """Draw the points (n, D) and energies (n,), float32, from `toy` where it is made already."""
        toy = toy or self.toy()
        check_memory(16 * self.n * (toy.dim + 1), "points")
        return toy.sample(self.n, generator=torch.Generator().manual_seed(self.seed))

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; a file by its absolute path."""
        return super().to_dict() | {"name": str(Path(self.name).resolve()) if self.is_file else str(self.name)}


def fingerprint(x: Tensor, energy: Tensor) -> str:
    """SHA-256 of the values, to tell whether two runs saw the same data."""
    digest = hashlib.sha256()
    for part in (x, energy):
        digest.update(part.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
