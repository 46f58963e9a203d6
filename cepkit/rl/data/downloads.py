"""Data files from the web, and their checksums.

pooch downloads from the first of several hosts that gives the file. It appears under its name only once it is whole and has
passed the caller's check; when no host gives it, the error says where to put it by hand.

Nobody publishes checksums of D4RL's files, so their SHA-256 is recorded at first use (`hopper-medium-v2.hdf5.json` beside
`hopper-medium-v2.hdf5`) and compared at every later one: today's results and next year's come from the same bytes.
"""

import datetime
import errno
import hashlib
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from cepkit.learning.checkpoints import read_json, write_json
from cepkit.validation import import_extra

if TYPE_CHECKING:
    import requests

LARGEST = 20e9  # bytes of a file; the largest of D4RL's has less than a tenth
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def download(urls: Sequence[str], path: Path, *, check: Callable[[Path], object], timeout: float = 30.0) -> str:
    """Get `path` from the first of `urls` that gives a file which `check` accepts; a terminal shows the progress.

    Args:
        urls: addresses of the same file in the order to be tried; https, or http on this machine.
        path: where to put it; its folder is made.
        check: raises ValueError for a file that is not what it should be.
        timeout: seconds without an answer after which a host counts as down.

    Returns:
        The address it came from.

    Raises:
        ValueError: an address of another kind.
        OSError: the folder cannot be written, the disk is full, or no host gave the file.
    """
    for url in urls:
        _check_address(url)
    pooch, requests, failures = import_extra("pooch"), import_extra("requests"), []
    settings = {"progressbar": sys.stderr.isatty(), "chunk_size": 1 << 20, "timeout": timeout}
    get = pooch.HTTPDownloader(**settings, hooks={"response": _check_redirect})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            part = Path(folder) / path.name
            for url in urls:
                try:
                    with _Limited(io.FileIO(part, "w")) as file:
                        get(url, file, None)
                    check(part)
                except requests.RequestException as error:
                    failures.append(f"  {url}: {error}")
                except ValueError as error:
                    failures.append(f"  {url}: sent something else ({str(error).removeprefix(f'{part}: ')})")
                else:
                    os.replace(part, path)
                    return url
    except OSError as error:
        full = error.errno == errno.ENOSPC
        reason = "the disk is full; free some space and fetch again" if full else error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, f"could not write {path}: {reason}") from error
    listed = "\n".join(failures)
    raise ConnectionError(f"{path.name} could not be downloaded:\n{listed}\nGet it by other means and save it as {path}")


class _Limited(io.BufferedWriter):
    """A file to write to that refuses to become larger than `LARGEST`."""

    def write(self, content: bytes) -> int:
        if self.tell() + len(content) > LARGEST:
            raise ValueError(f"expected at most {LARGEST / 1e9:g} GB, got more")
        return super().write(content)


def _check_address(url: str) -> None:
    try:
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
    except ValueError:
        scheme = host = ""
    if not host or not (scheme == "https" or (scheme == "http" and host in _THIS_MACHINE)):
        raise ValueError(f"urls: expected addresses that begin with https:// (or http:// on this machine), got {url!r}")


def _check_redirect(response: "requests.Response", *_: object, **__: object) -> None:
    if response.is_redirect:
        _check_address(urljoin(response.url, response.headers["location"]))


@dataclass(frozen=True)
class Record:
    """The checksum of a data file, as it is kept beside it."""

    sha256: str  # in hex
    bytes: int  # size of the file
    source: str  # the address it was downloaded from, or another origin in words
    recorded: str  # date and time in UTC, in ISO format


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_path(path: Path) -> Path:
    """Path of the record of a data file."""
    return path.with_name(path.name + ".json")


def read_record(path: Path) -> Record | None:
    """Read the record of the data file `path`: None if there is none yet, a ValueError if it does not read."""
    return read_json(record_path(path), Record) if record_path(path).is_file() else None


def write_record(path: Path, source: str) -> Record:
    """Record the checksum of the data file `path` as it is now; a folder that cannot be written costs only a warning."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = Record(sha256_of(path), path.stat().st_size, source, now)
    try:
        write_json(record_path(path), asdict(record))
    except OSError as error:
        warnings.warn(f"{path.name}: its checksum could not be recorded, so later changes go unseen: {error}", stacklevel=2)
    return record


def check_recorded(path: Path) -> Record:
    """Compare a data file with its record; where there is none, the file was put there by hand and is recorded now.

    Raises:
        ValueError: the file has changed since, or the record does not read.
    """
    record = read_record(path)
    if record is None:
        return write_record(path, "put there by hand")
    check_same(path, record.sha256, f"recorded on {record.recorded[:10]}")
    return record


def check_same(path: Path, sha256: str, origin: str) -> None:
    """Refuse, with a ValueError, a file whose SHA-256 is not the expected one; `origin` tells where that one is written."""
    found = sha256_of(path)
    if found != sha256:
        beside = record_path(path)
        keep = f"; if you changed it on purpose, remove {beside.name}" if beside.is_file() else ""
        raise ValueError(f"{path}: the file has changed: expected SHA-256 {sha256} ({origin}), got {found}; get it anew{keep}")
