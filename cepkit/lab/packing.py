"""How paths, maps and measures travel to the browser: little-endian binary in dictionaries, pictures as bytes between limits."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from cepkit.canvas.packing import pack_binary, pack_picture
from cepkit.lab.measures import Along, Finished
from cepkit.lab.simulation import Maps, Paths, Settings
from cepkit.truth.toys import Toy

_STEPS = 32000  # of a 16-bit integer that make up the span
_SPAN = 3.0  # particles are told apart out to this many extents from the centre
_LEVELS, _BLANK = 254, 255


def pack_paths(paths: Paths, settings: Settings, toy: Toy, stage: str, *, every: int = 1) -> dict:
    """Paths as 16-bit integers (P, T, N, 2); a panel that failed has its particles out of sight."""
    span = _SPAN * toy.extent
    kept = sorted({*range(0, len(paths.times), every), len(paths.times) - 1})
    x = paths.x if len(kept) == len(paths.times) else paths.x[:, kept]
    place = (x - torch.tensor(toy.centre)).mul_(_STEPS / span).nan_to_num_(_STEPS).clamp_(-_STEPS, _STEPS).round_()
    for panel, failure in enumerate(paths.failures):
        if failure is not None:
            place[panel] = _STEPS
    return {
        **vars(settings),
        "stage": stage,
        "times": [paths.times[k] for k in kept],
        "count": paths.x.shape[2],
        "span": span,
        "data": pack_binary(place, "<i2"),
    }


def pack_maps(maps: Maps, beta: float, *, every: int = 1) -> dict:
    """Pictures as bytes, fields as 32-bit floats."""
    kept = sorted({*range(0, len(maps.times), every), len(maps.times) - 1})
    densities = {"target": maps.target, "data": maps.data}
    return {
        "beta": beta,
        "times": [maps.times[k] for k in kept],
        "side": maps.target.shape[-1],
        "arrows": maps.points.shape[0],
        **{name: pack_picture(values[kept], (0.0, 1.0)) for name, values in densities.items()},
        "energies": [pack_picture(values[kept]) for values in maps.energies],
        "errors": [pack_picture(values[kept], (0.0, 4.0)) for values in maps.errors],
        "score": pack_binary(maps.score[kept], "<f4"),
        "guidance": [pack_binary(values[kept], "<f4") for values in maps.guidance],
    }


def pack_chart(along: Along) -> dict:
    """The curves over t."""
    return {
        "times": along.times,
        "score": _numbers(along.score),
        "guidance": [_numbers(row) for row in along.guidance],
        "errors": [_numbers(row) for row in along.errors],
    }


def pack_readout(finished: Finished) -> dict:
    """The numbers of the captions."""
    return {
        "mmd2": _numbers(finished.mmd2),
        "floor": finished.mmd2_floor,
        "modes": _numbers(finished.mode_error),
        "energy": _numbers(finished.mean_energy),
        "target_energy": finished.target_energy,
    }


def _numbers(values: Iterable[float]) -> list[float | None]:
    """Plain numbers, None for NaN and infinities, which JSON does not have."""
    return [value if math.isfinite(value) else None for value in map(float, values)]
