"""Ctrl-C in a training: it waits for the end of the step, so that what is saved is a whole one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = 130  # what a shell reports after Ctrl-C


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """A list that is filled by Ctrl-C, to be looked at after each step; a second Ctrl-C does not wait."""
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
