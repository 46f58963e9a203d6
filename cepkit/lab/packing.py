"""Pack paths, maps and measures for the browser: little-endian binary in dictionaries, pictures as bytes between limits."""

import math

import torch
from torch import Tensor

from cepkit.canvas.to_browser import pack_binary, pack_picture
from cepkit.lab.measures import FieldMeasures, SampleMeasures
from cepkit.lab.simulation import Maps, Paths, SampleSettings
from cepkit.truth.toys import Toy

_STEPS = 32000  # of a 16-bit integer that make up the span
_SPAN = 3.0  # particles are told apart out to this many extents from the centre


def pack_paths(paths: Paths, settings: SampleSettings, toy: Toy, stage: str) -> dict:
    """Pack paths as 16-bit integers (P, T, N, 2); a panel that failed has its particles out of sight."""
    span = _SPAN * toy.extent
    place = (paths.x - torch.tensor(toy.centre)).mul_(_STEPS / span).nan_to_num_(_STEPS).clamp_(-_STEPS, _STEPS).round_()
    for panel, failure in enumerate(paths.failures):
        if failure:
            place[panel] = _STEPS
    shape = {"times": paths.times, "count": paths.x.shape[2], "span": span}
    return {**vars(settings), "stage": stage, **shape, "data": pack_binary(place, "<i2")}


def pack_maps(maps: Maps, beta: float) -> dict:
    """Pack pictures as bytes and fields as 32-bit floats."""
    return {
        "beta": beta,
        "times": maps.times,
        "sizes": maps.size.tolist(),
        "side": maps.target.shape[-1],
        "arrows": maps.score.shape[1],
        "target": pack_picture(maps.target, (0.0, 1.0)),
        "data": pack_picture(maps.data, (0.0, 1.0)),
        "energies": [pack_picture(values) for values in maps.energies],
        "errors": [pack_picture(values, (0.0, 4.0)) for values in maps.errors],
        "score": pack_binary(maps.score, "<f4"),
        "guidance": [pack_binary(values, "<f4") for values in maps.guidance],
    }


def pack_numbers(measures: FieldMeasures | SampleMeasures) -> dict:
    """Turn the curves over t, or the numbers of the captions, into plain numbers; NaN becomes None, since JSON has none."""
    return {name: _plain(value.tolist() if isinstance(value, Tensor) else value) for name, value in measures._asdict().items()}


def _plain(value: float | list) -> float | list | None:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value if math.isfinite(value) else None
