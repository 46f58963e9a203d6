"""Row-wise formulas over many components, a cacheful of (row, component) pairs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from cepkit.components import Components

PAIRS_PER_CHUNK = {"cpu": 2**16}  # what stays in a core's cache
PAIRS_ON_ACCELERATOR = 2**24

Result = Tensor | tuple[Tensor, ...]


def by_chunks(formula: Callable[..., Result], x: Tensor, components: Components, *per_row: Tensor) -> Result:
    """Apply `formula` to chunks of the rows of x (..., D) and of each `per_row` tensor (rows, ...), and restore the shape."""
    rows, batch = x.reshape(-1, x.shape[-1]), x.shape[:-1]
    cost = components.count * (1 if components.dim <= 16 else components.dim)
    size = max(1, PAIRS_PER_CHUNK.get(x.device.type, PAIRS_ON_ACCELERATOR) // cost)
    pieces = zip(rows.split(size), *(value.split(size) for value in per_row), strict=True)
    chunks = (formula(*piece) for piece in pieces)
    result = _join(chunks) if torch.is_grad_enabled() and x.requires_grad else _fill(chunks, len(rows))
    if isinstance(result, tuple):
        return tuple(column.reshape(batch + column.shape[1:]) for column in result)
    return result.reshape(batch + result.shape[1:])


def _join(chunks: Iterable[Result]) -> Result:
    """The chunks one after the other, differentiable."""
    chunks = list(chunks)
    if isinstance(chunks[0], tuple):
        return tuple(torch.cat(column) for column in zip(*chunks, strict=True))
    return torch.cat(chunks)


def _fill(chunks: Iterable[Result], count: int) -> Result:
    """The same in preallocated tensors: thousands of small results kept between large temporaries fragment the heap."""
    columns: tuple[Tensor, ...] = ()
    start = 0
    for chunk in chunks:
        parts = chunk if isinstance(chunk, tuple) else (chunk,)
        columns = columns or tuple(part.new_empty((count, *part.shape[1:])) for part in parts)
        for column, part in zip(columns, parts, strict=True):
            column[start : start + len(part)] = part
        start += len(parts[0])
    return columns if isinstance(chunk, tuple) else columns[0]
