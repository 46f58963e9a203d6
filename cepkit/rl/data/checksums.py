"""SHA-256 of data files: written beside a file when it is first used, compared ever after.

Nobody publishes checksums of D4RL's files. What can be had is that the numbers of today and of next year come from the same
bytes: the first use of `hopper-medium-v2.hdf5` writes `hopper-medium-v2.hdf5.json`, and every later one compares.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from cepkit.learning.checkpoints import write_atomically
from cepkit.validation import check_keys


@dataclass(frozen=True)
class Record:
    """What is written beside a data file.

    Attributes:
        sha256: of the whole file, in hex.
        bytes: its size.
        source: the address it came from, or how else it came here.
        recorded: when, as an ISO date and time in UTC.
    """

    sha256: str
    bytes: int
    source: str
    recorded: str


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_path(path: Path) -> Path:
    """Where the record of a data file is kept."""
    return path.with_name(path.name + ".json")


def read_record(path: Path) -> Record | None:
    """The record of the data file `path`, or None if there is none yet.

    Raises:
        ValueError: a record that does not read.
    """
    beside = record_path(path)
    if not beside.is_file():
        return None
    try:
        values = json.loads(beside.read_text(encoding="utf-8"))
        check_keys(values, Record, name="record")
        return Record(**values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{beside}: expected the record of a checksum, but it does not read ({error})") from error


def write_record(path: Path, source: str) -> Record:
    """Record the checksum of the data file `path` as it is now.

    Raises:
        OSError: the folder cannot be written.
    """
    record = _record_of(path, source)
    write_atomically(record_path(path), (json.dumps(asdict(record), indent=2) + "\n").encode())
    return record


def _record_of(path: Path, source: str) -> Record:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Record(sha256_of(path), path.stat().st_size, source, now)


def check_recorded(path: Path, *, source: str = "put there by hand") -> Record:
    """Compare a data file with its record; without a record, write one that names `source`.

    A folder that cannot be written, as a class may share one, only costs a warning: its file goes unrecorded.

    Raises:
        ValueError: the file is not the recorded one, or the record does not read.
    """
    record = read_record(path)
    if record is None:
        try:
            return write_record(path, source)
        except OSError as error:
            warnings.warn(f"{path.name}: its checksum could not be recorded, so later changes go unseen: {error}", stacklevel=2)
            return _record_of(path, source)
    check_same(path, record.sha256, f"recorded on {record.recorded[:10]}")
    return record


def check_same(path: Path, sha256: str, said: str) -> None:
    """Refuse a file whose SHA-256 differs from the one that `said` says where it is from.

    Raises:
        ValueError: naming the file and both checksums.
    """
    found = sha256_of(path)
    if found != sha256:
        beside = record_path(path)
        keep = f"; if you changed it on purpose, remove {beside.name}" if beside.is_file() else ""
        raise ValueError(f"{path}: the file has changed: expected SHA-256 {sha256} ({said}), got {found}; get it anew{keep}")
