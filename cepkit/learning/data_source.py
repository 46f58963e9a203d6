"""Where a run's points come from, written down so that the run can be taken up again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from cepkit.learning.config import LARGEST_SEED
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import TOYS, Toy, make_toy
from cepkit.validation import check_keys, check_name, check_number


@dataclass(frozen=True)
class DataSource:
    """Points drawn from a toy, or from the blurred points of a CSV file.

    Attributes:
        name: a toy's name, or the path of a CSV file whose last column is the energy.
        n: how many points to draw.
        seed: of the draw.
        std, standardize: as in `cepkit.truth.toys.from_points`; of CSV files only.
    """

    name: str
    n: int = 1_000_000
    seed: int = 0
    std: float = 0.0
    standardize: bool = False

    def __post_init__(self) -> None:
        if not self.is_file:
            check_name(self.name, TOYS, name="toy")
            if self.std or self.standardize:
                raise ValueError(f"std: expected 0, and no standardize, for the toy {self.name}; they are for CSV files")
        if not isinstance(self.standardize, bool):
            raise ValueError(f"standardize: expected True or False, got {self.standardize!r}")
        numbers = {
            "n": check_number(self.n, name="n", low=2, integer=True),
            "seed": check_number(self.seed, name="seed", low=0, high=LARGEST_SEED, integer=True),
            "std": check_number(self.std, name="std", low=0.0),
        }
        for name, value in numbers.items():
            object.__setattr__(self, name, value)

    @property
    def is_file(self) -> bool:
        return str(self.name).endswith(".csv")

    def toy(self) -> Toy:
        """The toy itself, truth included."""
        return from_points(self.name, std=self.std, standardize=self.standardize) if self.is_file else make_toy(self.name)

    def draw(self) -> tuple[Tensor, Tensor]:
        """The points (n, D) and energies (n,), float32."""
        return self.toy().sample(self.n, generator=torch.Generator().manual_seed(self.seed))

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; a file by its absolute path."""
        return asdict(self) | {"name": str(Path(self.name).resolve()) if self.is_file else str(self.name)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> DataSource:
        """What `to_dict` described.

        Raises:
            ValueError: an unknown key, by name, or a value out of range.
        """
        check_keys(values, cls, name="data")
        if "name" not in values:
            raise ValueError("data: expected the name of a toy or CSV file, got none")
        return cls(**values)


def fingerprint(x: Tensor, energy: Tensor) -> str:
    """SHA-256 of the values, to tell whether two runs saw the same data."""
    digest = hashlib.sha256()
    for part in (x, energy):
        digest.update(part.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
