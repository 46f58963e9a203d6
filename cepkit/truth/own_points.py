"""A toy from anyone's own points and energies, as arrays or as a CSV file."""

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cepkit.truth.exact import Mixture
from cepkit.truth.scaling import Scaling
from cepkit.truth.toys import Toy
from cepkit.validation import as_float64, check_number, check_points

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MISSING = ("", "na", "n/a", "nan", "null", "none", "-")


def from_points(
    x: Tensor | np.ndarray | str | Path,
    energy: Tensor | np.ndarray | None = None,
    *,
    std: float = 0.0,
    standardize: bool | None = None,
    name: str | None = None,
) -> Toy:
    """A toy from your own points and energies (low is good), with its exact truth.

    Points in any units will do. Where a column is far from unit scale, every column is centred and divided by its standard
    deviation, with a warning; the toy then lives at that scale, pictures are labelled in your units, and
    `toy.scaling.undo(samples)` leads back to them. Energies keep their unit, so beta is per unit of energy.

    Args:
        x: points of shape (n, D), or the path of a CSV file, see `read_csv`.
        energy: energies of shape (n,); read from the file when `x` is a path.
        std: blur of each point, at the scale of the toy; 0 keeps the points themselves.
        standardize: True scales the columns in any case, False never.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, an unreadable file, or, with standardize=False, points so
            large that noise at t = 1 would not cover them.
    """
    about = ""
    if isinstance(x, (str, Path)):
        if energy is not None:
            raise ValueError(
                f"energy: expected None with a CSV path, whose last column is the energy, got {type(energy).__name__}"
            )
        name = name or Path(x).stem
        x, energy, about = read_csv(Path(x))
    elif energy is None:
        raise ValueError("energy: expected one energy per point, got None")
    x, std = as_float64(x, "x"), check_number(std, name="std", low=0.0)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"x: expected shape (n, D) with at least one point, got {tuple(x.shape)}")
    check_points(x, None, name="x")
    energy = as_float64(energy, "energy")
    scaling = Scaling.of(x, energy, blur=std, standardize=standardize)
    x, energy = scaling(x, energy)
    if str(scaling) and standardize is None:
        warnings.warn(f"{name or 'own data'}: {scaling}; toy.scaling.undo(samples) leads back", stacklevel=2)
    truth = Mixture.from_points(x, energy, std=std)
    centre = (x.amax(0) + x.amin(0)) / 2
    extent = 1.15 * float((x - centre).abs().max()) + 3 * std
    return Toy(
        name or "own data",
        truth,
        lambda n, generator: truth.sample(n, generator=generator, dtype=torch.float64),
        extent=extent or 1.0,
        centre=tuple(centre.tolist()),
        scaling=scaling,
        about="; ".join(filter(None, (about, str(scaling)))),
    )


class Table(NamedTuple):
    """What a CSV file holds: points (n, D), energies (n,), and in words how it was read."""

    x: np.ndarray
    energy: np.ndarray
    about: str


def read_csv(path: Path) -> Table:
    """Points and energies: every column but the last, and the last.

    Columns are separated by commas, semicolons or tabs, the latter two with points or commas in decimals. A first line of names
    is a header, one of 0, 1, 2 ... too where the numbers below it are no integers. A first column without a name that holds
    distinct integers is the row numbers of a table, and is left out.

    Raises:
        ValueError: an unreadable or empty file, a single column, lines of different lengths, or cells that are not numbers.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no regular file")
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip()), "")
            separator = next((mark for mark in ("\t", ";") if mark in first), ",")
            file.seek(0)
            lines = csv.reader(file, delimiter=separator)
            rows = [(number, row) for number, row in enumerate(lines, 1) if any(cell.strip() for cell in row)]
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"x: expected a readable CSV file, got {path} ({error})") from error
    header = rows.pop(0) if rows and _is_header(rows, separator) else None
    if not rows:
        raise ValueError(f"x: expected rows of numbers in {path}, got an empty file")
    table = np.array(_numbers(path, rows, len((header or rows[0])[1]), separator))
    about = f"{len(table):,} points, columns separated by {_SEPARATORS[separator]}"
    names = [cell.strip() for cell in header[1]] if header else []
    about += f", header on line {header[0]} ({', '.join(names[:8])}{', ...' * (len(names) > 8)})" if header else ", no header"
    if names and (not names[0] or names[0].startswith("Unnamed:")):
        rising = np.unique(table[:, 0])
        if len(rising) < len(table) or not np.array_equal(rising, np.rint(rising)):
            raise ValueError(f"x: expected a name for the first column of {path}, or row numbers in it, got {names[0]!r}")
        table, about = table[:, 1:], f"{about}; the first column has no name and holds row numbers: left out"
    if table.shape[1] < 2:
        raise ValueError(
            f"x: expected at least two columns in {path} (coordinates, then the energy) between commas, semicolons or tabs, "
            f"got {table.shape[1]}"
        )
    return Table(table[:, :-1], table[:, -1], about)


def _is_header(rows: Sequence[tuple[int, list[str]]], separator: str) -> bool:
    """Whether the first row names the columns: by words, or by counting them where some column below holds no integers."""
    cells = [cell.strip() for cell in rows[0][1]]
    if not any(_number(cell, separator) is not None for cell in cells):
        return any(cell.lower() not in _MISSING for cell in cells)
    names = cells[1:] if cells[0] in ("", "Unnamed: 0") else cells
    if names != [str(i) for i in range(len(names))] or len(rows) < 2:
        return False
    below = list(zip(*(row for _, row in rows[1:]), strict=False))
    return len(names) < len(cells) or any(all(set(cell) & set(".eE") for cell in column) for column in below)


def _numbers(path: Path, rows: Sequence[tuple[int, list[str]]], width: int, separator: str) -> list[list[float]]:
    table = []
    for number, row in rows:
        if len(row) != width:
            raise ValueError(f"x: expected {width} columns on every line of {path}, got {len(row)} on line {number}")
        try:
            values = [*map(float, row)]
        except ValueError:
            values = [_number(cell, separator) for cell in row]
            if None in values:
                raise ValueError(f"x: expected numbers in {path}, got {row[values.index(None)]!r} on line {number}") from None
        table.append(values)
    return table


def _number(cell: str, separator: str) -> float | None:
    try:
        return float(cell.replace(",", ".") if separator != "," and "." not in cell else cell)
    except ValueError:
        return None
