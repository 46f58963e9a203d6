"""An event log that TensorBoard reads, written in step with the training, and read back without TensorBoard.

tensorboardX's `SummaryWriter` writes from a thread, and waits for ever when that thread has died of a full disk. Here a full
disk is an error there and then.
"""

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

_HEAD, _FOOT = 12, 4  # bytes: the length of an event (8) and a checksum before it, a checksum after it


class EventLog:
    """Scalars by step, in a file of their own for each sitting.

    Args:
        folder: where the file goes.
        after: steps taken before; values that an earlier, killed sitting logged beyond them are hidden.

    Raises:
        OSError: the folder cannot be written or the disk is full, here and in every method.
    """

    def __init__(self, folder: Path, after: int) -> None:
        self._folder = folder
        with self._named():
            self._writer = EventsWriter(str(folder / "events"), f".{after:09d}.{os.getpid()}")
            if after:
                start = SessionLog(status=SessionLog.START)
                self._writer.write_event(Event(wall_time=time.time(), step=after + 1, session_log=start))

    def add(self, name: str, value: float, step: int) -> None:
        """Log one value."""
        with self._named():
            self._writer.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))

    def flush(self) -> None:
        """Write all values to the disk."""
        with self._named():
            self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._named():
            self._writer.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            text = f"could not write the log in {self._folder} ({error.strerror}); what was saved is intact"
            raise OSError(error.errno, text) from error


class Series(NamedTuple):
    """Values of one scalar, by rising step."""

    steps: list[int]
    values: list[float]


def read_log(folder: str | Path) -> dict[str, Series]:
    """Read the scalars of a log folder by name, also while they are written; none where nothing is logged yet.

    Where a sitting was killed and another went on from an earlier step, values of the first beyond that step do not count.

    Raises:
        ValueError: a file that is no event log.
    """
    found: dict[str, dict[int, float]] = {}
    for path in sorted(Path(folder).glob("events.out.tfevents.*"), key=lambda path: path.name.split(".")[3:]):
        if not path.is_file():
            raise ValueError(f"{path}: expected an event log, got a folder")
        for event in _events(path):
            if event.session_log.status == SessionLog.START:
                found = {name: {s: v for s, v in values.items() if s < event.step} for name, values in found.items()}
            for entry in event.summary.value:
                found.setdefault(entry.tag, {})[event.step] = entry.simple_value
    return {name: Series(sorted(values), [values[step] for step in sorted(values)]) for name, values in found.items()}


def _events(path: Path) -> Iterator[Event]:
    """The whole events of a file; one that is still being written ends the reading."""
    data, start = path.read_bytes(), 0
    while start + _HEAD <= len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        end = start + _HEAD + length + _FOOT
        if end > len(data):
            return
        try:
            yield Event.FromString(data[start + _HEAD : end - _FOOT])
        except Exception as error:  # protobuf's DecodeError has another name in each implementation
            raise ValueError(f"{path}: expected an event log, but a record does not read ({error})") from error
        start = end
