"""Files that are whole or absent: written beside their place, flushed to disk, then renamed over it.

Tensors are stored as safetensors, which holds numbers and text only: nothing is unpickled.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from cepkit.settings import parsed

T = TypeVar("T")
_SEAL = "cepkit"  # the one entry of a file's metadata: a checksum, a space, and the words in JSON


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
        partial.unlink(missing_ok=True)  # what a killed writer left, or a link, which would lead elsewhere
        with partial.open("xb") as file:
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


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file as the annotations of `kind` ask, see `parsed`.

    Raises:
        ValueError: it holds no JSON, or something else; the message names the file and the place in it.
    """
    try:
        return parsed(json.loads(path.read_text(encoding="utf-8")), kind, "")
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, but it does not read ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and a few words about them to one safetensors file, atomically.

    Their SHA-256 goes with them, and equal content is equal bytes.

    Raises:
        OSError: as `write_atomically`.
    """
    whole = {name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}
    words = json.dumps(dict(metadata), sort_keys=True)
    write_atomically(path, safetensors.torch.save(whole, {_SEAL: f"{_digest(whole, words)} {words}"}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and metadata of a safetensors file.

    Raises:
        ValueError: no such file, or one that is truncated, of another kind, or has changed since it was written (files of earlier
            versions hold no checksum).
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected a safetensors file, found none")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{path}: expected a whole safetensors file, but it does not read ({error})") from error
    if _SEAL not in metadata:
        return tensors, metadata
    written, _, words = metadata[_SEAL].partition(" ")
    found = _digest(tensors, words)
    if found != written:
        raise ValueError(f"{path}: has changed since it was written: expected SHA-256 {written}, got {found}")
    return tensors, json.loads(words)


def _digest(tensors: Mapping[str, Tensor], words: str) -> str:
    """SHA-256 of the words and of every tensor's name, dtype, shape and bytes, in hex."""
    digest = hashlib.sha256(words.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def fill(networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load and freeze networks by name from the tensors <name>.<weight> of a file.

    Raises:
        ValueError: a tensor is missing, unknown, of another shape or not finite; the message names it, and nothing is changed.
    """
    wanted = {f"{name}.{key}": value for name, network in networks.items() for key, value in network.state_dict().items()}
    check_same_tensors(tensors, wanted, path, finite=True)
    for name, network in networks.items():
        network.load_state_dict({key: tensors[f"{name}.{key}"] for key in network.state_dict()})
        network.eval().requires_grad_(False)


def check_same_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path, *, finite: bool = False) -> None:
    """Refuse tensors that differ from `wanted` in a name, a shape or a dtype, or that are not `finite`, naming the first."""
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
        if finite and not bool(got.isfinite().all()):
            raise ValueError(f"{path}: expected finite numbers, got NaN or infinite ones in {name}")
