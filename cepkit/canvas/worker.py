"""Work between two events: a generator advanced a few milliseconds at a time, and begun anew when it has become stale.

JupyterLab hands what a control says to another thread of the kernel than the one that runs cells (a subshell). All the work is
done in one thread, that of the event loop in which it first began; `Worker.call` brings over whatever has to do with it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

_AT_ONCE = 0.012  # seconds of work between two looks at what the user did meanwhile
_UNINTERRUPTED = 0.15  # seconds more for a first answer


class Worker:
    """Runs what `make` returns, the latest only.

    Until the work has said `worker.answered = True`, it is not dropped for newer work: a slider dragged faster than answers
    come still shows answers. After that, newer work takes its place at once; nothing is queued.

    Args:
        make: returns the work, a generator that yields every few milliseconds; where it yields a number, it would rather go on
            after so many seconds without newer work.
        failed: told what the work raised.
    """

    def __init__(self, make: Callable[[], Iterator[float | None]], failed: Callable[[Exception], None]) -> None:
        self._make, self._failed = make, failed
        self._job: Iterator[float | None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task | None = None
        self._wanted, self.answered = False, True
        self._rest = 0.0
        self._news: asyncio.Event | None = None
        self._alone = threading.RLock()

    def call(self, action: Callable[[], object]) -> None:
        """Do this now, or soon where the work is done, if that is another thread."""
        if self._loop is None or self._loop is _running_loop() or not self._loop.is_running():
            action()
        else:
            self._loop.call_soon_threadsafe(action)

    def start(self, *, until: Callable[[], bool] | None = None) -> None:
        """Ask for work: in the background where an event loop runs, else to its end; before that, at once until this holds."""
        if self._make is None:  # stopped
            return
        self._wanted = True
        while until is not None and not until() and self.advance(0.0):
            pass
        loop = _running_loop()
        if loop is None:  # a script or a test: there is no later
            self.settle()
            return
        if self._task is None or self._task.done() or self._loop is not loop:
            self._loop, self._news = loop, asyncio.Event()
            self._task = loop.create_task(self._pump())
        self._news.set()

    def settle(self) -> None:
        """Finish now."""
        while self.advance(1.0):
            pass

    def stop(self) -> None:
        """Drop the work and let go of whoever made it."""
        if self._task is not None:
            self._task.cancel()
        self._job = self._task = self._loop = None
        self._wanted = False
        self._make = self._failed = None

    async def _pump(self) -> None:
        while self.advance(_AT_ONCE):
            if self._rest and not self._wanted:
                self._news.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), self._rest)
            else:
                await asyncio.sleep(0)

    def advance(self, seconds: float) -> bool:
        """Work for about so long; False when nothing is left. One thread at a time: a cell may settle what another works on."""
        with self._alone:
            return self._advance(seconds)

    def _advance(self, seconds: float) -> bool:
        end = time.perf_counter() + seconds
        while True:
            if self._wanted and self.answered:
                self._wanted, self.answered, self._job = False, False, self._make()
            if self._job is None:
                return False
            self._rest = 0.0
            try:
                self._rest = next(self._job) or 0.0
            except StopIteration:
                self._job, self.answered = None, True
            except Exception as error:  # of a callable that the user gave: the controls go on
                self._job, self.answered = None, True
                self._failed(error)
            # an answer that will not be dropped is not interrupted either, unless it takes long
            if time.perf_counter() >= end + (0.0 if self.answered or not seconds else _UNINTERRUPTED):
                return True
            if self._rest and seconds < 1.0:
                return True


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
