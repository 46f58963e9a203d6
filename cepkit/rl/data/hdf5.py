"""HDF5 files in D4RL's schema: read and checked, or written so that equal arrays give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cepkit.learning.checkpoints import write_atomically
from cepkit.rl.data.schema import KEYS, check_raw
from cepkit.validation import import_extra

_CHUNK_ROWS = 8192  # whole rows, which read fast and compress well


def read_hdf5(path: str | Path, *, content: bool = True) -> dict[str, np.ndarray]:
    """The arrays of D4RL's schema in a file, checked.

    Args:
        path: the file.
        content: check values too, see `cepkit.rl.data.schema.check_raw`.

    Returns:
        observations (N, S), actions (N, A), rewards (N,), terminals (N,) bool, and timeouts (N,) bool where the file has them.

    Raises:
        ValueError: no such file, one that is cut short or of another kind, or content outside the schema; it names file and key.
    """
    path = Path(path)
    h5py = import_extra("h5py")
    if not path.is_file():
        raise ValueError(f"{path}: expected an HDF5 file in D4RL's schema, found none")
    try:
        with h5py.File(path, "r") as file:
            found = {key: file[key] for key in KEYS if key in file}
            for key, node in found.items():
                if not isinstance(node, h5py.Dataset):
                    raise ValueError(f"{path}: {key}: expected an array, got a group")
            raw = {key: node[()] for key, node in found.items()} or {str(key): None for key in file}
    except (OSError, RuntimeError, KeyError) as error:  # h5py's words for a file that is cut short, foreign or damaged
        raise ValueError(f"{path}: expected a whole HDF5 file, but it does not read ({error})") from error
    return check_raw(raw, str(path), content=content)


def write_hdf5(path: str | Path, raw: Mapping[str, np.ndarray]) -> None:
    """Write a file in D4RL's schema, whole or not at all: float32 and bool, compressed by gzip after a byte shuffle.

    The same arrays give the same bytes with the same HDF5 library: no times are stored.

    Raises:
        ValueError: content outside the schema.
        OSError: the file cannot be written.
    """
    h5py = import_extra("h5py")
    arrays = check_raw(raw, str(path))
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        for key, array in arrays.items():
            stored = array if array.dtype == bool else array.astype(np.float32)
            rows = (min(len(stored), _CHUNK_ROWS), *stored.shape[1:])
            file.create_dataset(key, data=stored, chunks=rows, compression="gzip", compression_opts=9, shuffle=True)
    write_atomically(Path(path), memory.getvalue())
