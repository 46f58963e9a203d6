"""A toy from anyone's own points and energies, as arrays or as a CSV file."""

import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cepkit.truth.exact import Mixture
from cepkit.truth.toys import Toy
from cepkit.validation import as_float64, check_points


def from_points(
    x: Tensor | np.ndarray | str | Path,
    energy: Tensor | np.ndarray | None = None,
    *,
    std: float = 0.0,
    standardize: bool = False,
    name: str | None = None,
) -> Toy:
    """A toy from your own points and energies (low is good), with its exact truth.

    Args:
        x: points of shape (n, D), or the path of a CSV file whose last column is the energy (a header line is allowed).
        energy: energies of shape (n,); read from the file when `x` is a path.
        std: blur of each point; 0 keeps the points themselves.
        standardize: subtract the mean and divide by the overall standard deviation.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, an unreadable file, or points so far from the
            unit scale that noise at t = 1 would not cover them.
    """
    if isinstance(x, (str, Path)):
        if energy is not None:
            raise ValueError(
                f"energy: expected None with a CSV path, whose last column is the energy, got {type(energy).__name__}"
            )
        name = name or Path(x).stem
        x, energy = read_csv(Path(x))
    elif energy is None:
        raise ValueError("energy: expected one energy per point, got None")
    x = as_float64(x, "x")
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"x: expected shape (n, D) with at least one point, got {tuple(x.shape)}")
    check_points(x, None, name="x")
    if standardize:
        x = x - x.mean(0)
        x = x / x.std(correction=0).clamp_min(1e-12)
    size = float((x**2).mean().sqrt())
    if size > 20:
        raise ValueError(
            f"x: expected points of about unit scale, got a root mean square of {size:.3g}, which the noise at t = 1 "
            "does not cover; pass standardize=True"
        )
    truth = Mixture.from_points(x, as_float64(energy, "energy"), std=std)
    centre = (x.amax(0) + x.amin(0)) / 2
    extent = 1.15 * float((x - centre).abs().max()) + 3 * std
    return Toy(
        name or "own data",
        truth,
        lambda n, generator: truth.sample(n, generator=generator, dtype=torch.float64),
        extent=extent or 1.0,
        centre=tuple(centre.tolist()),
    )


def read_csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, D) and energies (n,): every column but the last, and the last. A header line is allowed.

    Raises:
        ValueError: an unreadable or empty file, a single column, lines of different lengths, or cells that are not numbers.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if any(cell.strip() for cell in row)]
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"x: expected a readable CSV file, got {path} ({error})") from error
    if rows and not any(_is_number(cell) for cell in rows[0][1]):
        rows = rows[1:]
    if not rows:
        raise ValueError(f"x: expected rows of numbers in {path}, got an empty file")
    width = len(rows[0][1])
    if width < 2:
        raise ValueError(f"x: expected at least two columns in {path} (coordinates, then the energy), got {width}")
    for number, row in rows:
        if len(row) != width:
            raise ValueError(f"x: expected {width} columns on every line of {path}, got {len(row)} on line {number}")
        for cell in row:
            if not _is_number(cell):
                raise ValueError(f"x: expected numbers in {path}, got {cell!r} on line {number}")
    table = np.array([[float(cell) for cell in row] for _, row in rows])
    return table[:, :-1], table[:, -1]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
