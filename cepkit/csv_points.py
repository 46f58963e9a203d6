"""Points and energies from a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np


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
