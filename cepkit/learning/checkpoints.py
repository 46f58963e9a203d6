"""Files that are whole or absent: written beside their place, flushed to disk, then renamed over it.

Tensors are stored as safetensors, which holds numbers and text only: nothing is unpickled.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn


def make_folder(path: Path) -> Path:
    """Make a folder and those above it, where they are missing.

    Raises:
        OSError: it cannot be made; the message names it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"could not make the folder {path} ({error.strerror})") from error
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`; when that fails, or the process dies on the way, the old file stays.

    Raises:
        OSError: the folder cannot be written, or the disk is full; the message names the file.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        try:
            partial.unlink(missing_ok=True)
        except OSError:
            pass  # the folder itself cannot be written; the first error says more
        raise OSError(error.errno, f"could not write {path} ({error.strerror}); what was saved before is intact") from error


def write_json(path: Path, values: Mapping[str, object]) -> None:
    """Write a mapping as JSON, atomically."""
    write_atomically(path, (json.dumps(values, indent=2) + "\n").encode())


def read_json(path: Path) -> object:
    """Read a JSON file.

    Raises:
        ValueError: it holds something else.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, but it does not read ({error})") from error


def read_settings(path: Path, keys: Iterable[str]) -> dict:
    """Read the mapping in a run's JSON file.

    Raises:
        ValueError: no such file, one that does not read, or one without some of `keys`.
    """
    if not path.is_file():
        raise ValueError(f"{path.parent}: expected a run folder with {path.name}, found none")
    written = read_json(path)
    missing = set(keys) - (written.keys() if isinstance(written, dict) else set())
    if missing:
        raise ValueError(f"{path}: expected the settings of a run, but {', '.join(sorted(missing))} is missing")
    return written


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and a few words about them to one safetensors file, atomically.

    The order of several words in the file is left to chance by safetensors; with at most one, equal content is equal bytes.

    Raises:
        OSError: as `write_atomically`.
    """
    whole = {name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}
    write_atomically(path, safetensors.torch.save(whole, dict(metadata)))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and metadata of a safetensors file.

    Raises:
        ValueError: no such file, or one that is truncated or of another kind.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected a safetensors file, found none")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{path}: expected a whole safetensors file, but it does not read ({error})") from error


def fill(networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load and freeze networks by name from the tensors <name>.<weight> of a file.

    Raises:
        ValueError: a tensor is missing, unknown, of another shape or not finite; the message names it, and nothing is changed.
    """
    wanted = {f"{name}.{key}": value for name, network in networks.items() for key, value in network.state_dict().items()}
    check_same_tensors(tensors, wanted, path)
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            raise ValueError(f"{path}: expected finite numbers, got NaN or infinite ones in {name}")
    for name, network in networks.items():
        network.load_state_dict({key: tensors[f"{name}.{key}"] for key in network.state_dict()})
        network.eval().requires_grad_(False)


def check_same_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that differ from `wanted` in a name, a shape or a dtype, naming the first."""
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise ValueError(f"{path}: expected the tensor {name} of this architecture, which it lacks")
        if name not in wanted:
            raise ValueError(f"{path}: holds the tensor {name}, which this architecture does not have")
        got, want = tensors[name], wanted[name]
        if got.shape != want.shape or got.dtype != want.dtype:
            raise ValueError(
                f"{path}: expected {name} of shape {tuple(want.shape)} and {want.dtype}, "
                f"got {tuple(got.shape)} and {got.dtype}: a checkpoint of another architecture"
            )
