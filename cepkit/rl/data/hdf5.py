"""Datasets in D4RL's schema, and the HDF5 files that hold them.

One row is one step, episodes follow one another, and two flags mark the last step of each:

    observations (N, S)   what the policy saw           actions (N, A)   what it did, in [-1, 1]
    rewards (N,)          what it earned                terminals (N,)   the task ended with this step
    timeouts (N,)         the time limit ended the episode; absent in the oldest files

Columns stored as (N, 1) are read as (N,), as D4RL does. Other keys (`infos/...`) are never read. In D4RL the successor of a row
is the next row; where a file has `next_observations` that disagree, a warning says so.
"""

import io
import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cepkit.learning.checkpoints import write_atomically
from cepkit.validation import check_memory, import_extra

REQUIRED = ("observations", "actions", "rewards", "terminals")
KEYS = (*REQUIRED, "timeouts")
_OWN = "next_observations"
_VECTORS, _FLAGS = ("observations", "actions"), ("terminals", "timeouts")
_KINDS = dict.fromkeys(_VECTORS, ("f", "floating-point numbers")) | dict.fromkeys(_FLAGS, ("biuf", "bool"))
_KINDS["rewards"] = ("iuf", "numbers")  # some files count in whole rewards
_TOLERANCE = 1e-3  # rounding may put an action this far outside its bounds
LARGEST = 1e15  # magnitude: its square, summed over a large file, is still a float32
_COPIES = 3  # of the arrays while transitions are made
_CHUNK_ROWS = 8192  # whole rows, which read fast and compress well


def read_hdf5(path: str | Path) -> dict[str, np.ndarray]:
    """Read and check the arrays of D4RL's schema in a file.

    Returns:
        observations (N, S), actions (N, A), rewards (N,), terminals (N,) bool, and timeouts (N,) bool where the file has them.

    Raises:
        ValueError: no such file, one that is cut short or of another kind, content outside the schema, arrays that lie in another
            file or are larger than the free memory; the message names file and key.
    """
    path, h5py = Path(path), import_extra("h5py")
    if not path.is_file():
        raise ValueError(f"{path}: expected an HDF5 file in D4RL's schema, found none")
    try:
        with h5py.File(path, "r") as file:
            raw, need = dict.fromkeys(map(str, file)), 0
            found = [key for key in KEYS if key in raw]
            for key in found:
                if kind := _not_an_array(file, key):
                    raise ValueError(f"{path}: {key}: expected an array stored in this file, got {kind}")
                _check_shape(file[key], key, str(path))
                need += _COPIES * max(file[key].size, math.prod(file[key].chunks or ())) * file[key].dtype.itemsize
            check_memory(need, f"{path}: {', '.join(found)}")
            raw |= {key: file[key][()] for key in found}
            own = file[_OWN][()] if _OWN in raw and "observations" in found and _alike(file, _OWN, "observations") else None
    except (OSError, RuntimeError, KeyError, MemoryError) as error:  # a file that is cut short, foreign, damaged or too large
        raise ValueError(f"{path}: expected a whole HDF5 file, but it does not read ({error})") from error
    arrays = check_raw(raw, str(path))
    if own is not None:
        _compare_successors(own, arrays, path)
    return arrays


def _alike(file: Mapping, key: str, other: str) -> bool:
    return not _not_an_array(file, key) and file[key].shape == file[other].shape and file[key].dtype == file[other].dtype


def _compare_successors(own: np.ndarray, arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Warn of successors in a file that are not the next rows, where an episode goes on."""
    on = ~arrays["terminals"][:-1] & ~arrays.get("timeouts", arrays["terminals"])[:-1]
    other = on & ~np.isclose(own[:-1], arrays["observations"][1:], rtol=1e-3, atol=1e-5).all(1)
    if other.any():
        found = f"{other.sum():,} of {on.sum():,} differ from the observation of the next row"
        warnings.warn(f"{path}: {_OWN}: {found}; the next row is what counts, as in D4RL", UserWarning, stacklevel=4)


def _not_an_array(file: Mapping, key: str) -> str:
    """What lies under a key instead of an array of this file, found without reading it or any other file; else empty."""
    h5py = import_extra("h5py")
    if not isinstance(file.get(key, getlink=True), h5py.HardLink):
        return "a link"
    if not isinstance(file[key], h5py.Dataset):
        return "a group"
    if file[key].shape is None:
        return "nothing"
    return "external storage" if file[key].external else "a virtual dataset" if file[key].is_virtual else ""


def refuse_foreign(path: Path) -> None:
    """Refuse a file of any layout in which an array, at whatever depth, lies in another file."""
    with import_extra("h5py").File(path, "r") as file:
        names: list[str] = []
        file.visit_links(names.append)
        for name in names:
            if (kind := _not_an_array(file, name)) not in ("", "a group", "nothing"):
                raise ValueError(f"{path}: {name}: expected an array stored in this file, got {kind}")


def write_hdf5(path: str | Path, raw: Mapping[str, np.ndarray]) -> None:
    """Write a file in D4RL's schema, whole or not at all: float32 and bool, compressed by gzip after a byte shuffle.

    The same arrays give the same bytes with the same HDF5 library: no times are stored.

    Raises:
        ValueError: content outside the schema.
        OSError: the file cannot be written.
    """
    arrays, memory = check_raw(raw, str(path)), io.BytesIO()
    with import_extra("h5py").File(memory, "w") as file:
        for key, array in arrays.items():
            stored = array if array.dtype == bool else array.astype(np.float32)
            rows = (min(len(stored), _CHUNK_ROWS), *stored.shape[1:])
            file.create_dataset(key, data=stored, chunks=rows, compression="gzip", compression_opts=9, shuffle=True)
    write_atomically(Path(path), memory.getvalue())


def check_raw(raw: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """Check the arrays of D4RL's schema and return them, flags as bool, the rest as they came; errors name `where`.

    Raises:
        ValueError: a missing key, a wrong shape or dtype, lengths that disagree, values that are not finite, flags other than 0
            and 1, actions outside [-1, 1].
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"{where}: expected a mapping of arrays by key, got {type(raw).__name__}")
    missing = [key for key in REQUIRED if key not in raw]
    if missing:
        found = ", ".join(sorted(map(str, raw))) or "nothing"
        gymnasium = "; Gymnasium's terminations and truncations are called terminals and timeouts here"
        hint = gymnasium if "terminations" in raw or "truncations" in raw else ""
        raise ValueError(f"{where}: expected the keys {', '.join(REQUIRED)}; {', '.join(missing)} missing, found {found}{hint}")
    arrays = {key: np.asarray(raw[key]) for key in KEYS if key in raw}
    for key, array in arrays.items():
        _check_shape(array, key, where)
        arrays[key] = array if key in _VECTORS else array.reshape(len(array))
    rows = len(arrays["observations"])
    if rows == 0:
        raise ValueError(f"{where}: observations: expected at least one row, got none")
    for key, array in arrays.items():
        if len(array) != rows:
            raise ValueError(f"{where}: {key}: expected {rows} rows as observations has, got {len(array)}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = ~np.isfinite(array).reshape(rows, -1).all(1)
            found = f"NaN or infinite in {bad.sum()} of {rows} rows, first in row {bad.argmax()}"
            raise ValueError(f"{where}: {key}: expected finite values, got {found}")
        if key not in _FLAGS and (largest := max(float(array.max()), -float(array.min()))) > LARGEST:
            raise ValueError(f"{where}: {key}: expected values up to {LARGEST:g}, got {largest:g}")
        if key in _FLAGS and array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
            raise ValueError(f"{where}: {key}: expected 0 or 1, got values from {array.min():g} to {array.max():g}")
    low, high = float(arrays["actions"].min()), float(arrays["actions"].max())
    if low < -1 - _TOLERANCE or high > 1 + _TOLERANCE:
        found = f"from {low:g} to {high:g}; rescale them by the bounds of the actuators"
        raise ValueError(f"{where}: actions: expected values in [-1, 1], got {found}")
    return {key: array.astype(bool, copy=False) if key in _FLAGS else array for key, array in arrays.items()}


def _check_shape(array: np.ndarray, key: str, where: str) -> None:
    """Check an array, in memory or not, by its dtype and shape."""
    kinds, wanted = _KINDS[key]
    if array.dtype.kind not in kinds:
        raise ValueError(f"{where}: {key}: expected {wanted}, got dtype {array.dtype}")
    fits = len(array.shape) == 2 and 0 not in array.shape[1:] if key in _VECTORS else array.shape[1:] in ((), (1,))
    if not fits or not array.shape:
        wanted = "(N, dimensions)" if key in _VECTORS else "(N,)"
        raise ValueError(f"{where}: {key}: expected shape {wanted}, got {array.shape}")
