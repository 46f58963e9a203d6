"""What an `EventLog` has noted so far, read back without TensorBoard, while the training goes on.

A file is a row of records: the length n as 8 bytes, a checksum of 4, n bytes of an event, a checksum of 4. A record that is not
whole yet ends the reading. Where a sitting was killed and another went on from an earlier step, what the first had noted beyond
it does not count.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tensorboardX.proto.event_pb2 import Event, SessionLog

_HEAD, _FOOT = 12, 4


class Series(NamedTuple):
    """Values of one scalar, by rising step."""

    steps: list[int]
    values: list[float]


def read_log(folder: str | Path) -> dict[str, Series]:
    """The scalars of a log folder by name; none where nothing is logged yet.

    Raises:
        ValueError: a file that is no event log.
    """
    found: dict[str, dict[int, float]] = {}
    for path in sorted(Path(folder).glob("events.out.tfevents.*"), key=lambda path: path.name.split(".")[3:]):
        for event in _events(path):
            if event.session_log.status == SessionLog.START:
                for values in found.values():
                    for step in [step for step in values if step >= event.step]:
                        del values[step]
            for entry in event.summary.value:
                found.setdefault(entry.tag, {})[event.step] = entry.simple_value
    return {name: Series(sorted(values), [values[step] for step in sorted(values)]) for name, values in found.items()}


def _events(path: Path) -> Iterator[Event]:
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
