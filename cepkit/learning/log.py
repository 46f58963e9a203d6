"""An event log that TensorBoard reads, written in step with the training: a full disk is an error there and then."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar


class EventLog:
    """Scalars by step, in a file of their own for each sitting.

    tensorboardX's `SummaryWriter` writes from a thread, and waits for ever when that thread has died of a full disk.

    Args:
        folder: where the file goes.
        after: steps taken before; what an earlier, killed sitting logged beyond them is hidden.

    Raises:
        OSError: the folder cannot be written or the disk is full, here and in every method.
    """

    def __init__(self, folder: Path, after: int) -> None:
        self._folder = folder
        try:
            self._writer = EventsWriter(str(folder / "events"), f".{after:09d}.{os.getpid()}")
        except OSError as error:
            raise self._named(error) from error
        if after:
            self._write(Event(wall_time=time.time(), step=after + 1, session_log=SessionLog(status=SessionLog.START)))

    def add(self, name: str, value: float, step: int) -> None:
        """Note one value."""
        self._write(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))

    def flush(self) -> None:
        """Have all values on the disk."""
        try:
            self._writer.flush()
        except OSError as error:
            raise self._named(error) from error

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._writer.close()
        except OSError as error:
            raise self._named(error) from error

    def _write(self, event: Event) -> None:
        try:
            self._writer.write_event(event)
        except OSError as error:
            raise self._named(error) from error

    def _named(self, error: OSError) -> OSError:
        return OSError(error.errno, f"could not write the log in {self._folder} ({error.strerror}); what was saved is intact")
