"""Work between two events: a generator is advanced a few milliseconds at a time, and begun anew when its settings have changed.

JupyterLab delivers what a control says in another thread of the kernel (a subshell) than the one that runs cells. All work is
done in the thread of the event loop in which it first began. Use `Worker.call` to run a function on that thread.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from cepkit.calling import one_thread

_SLICE_SECONDS = 0.012  # of work between two looks at what the user did meanwhile
_FIRST_ANSWER_SECONDS = 0.15  # more for a first answer


class Worker:
    """Run the latest generator that `make` returns.

    Until the work sets `worker.idle = True` it is not dropped for newer work, so a slider dragged faster than answers come still
    shows answers. After that, newer work takes its place at once. Nothing is queued.

    Args:
        make: returns the work, a generator that yields every few milliseconds. Where it yields a number, it pauses for so many
            seconds unless newer work is asked for.
        failed: called with the exception that the work raised.
    """

    def __init__(self, make: Callable[[], Iterator[float | None]], failed: Callable[[Exception], None]) -> None:
        self._make, self._failed = make, failed
        self._job: Iterator[float | None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task | None = None
        self._requested, self.idle = False, True
        self._pause = 0.0
        self._request: asyncio.Event | None = None
        self._lock = threading.RLock()

    def call(self, action: Callable[[], object]) -> None:
        """Run `action` now, or soon on the thread of the work if that is another one."""
        if self._loop is None or self._loop is _running_loop() or not self._loop.is_running():
            action()
        else:
            self._loop.call_soon_threadsafe(action)

    def start(self, *, until: Callable[[], bool] | None = None) -> None:
        """Ask for work, in the background where an event loop runs, else to its end; first at once until `until` holds."""
        if self._make is None:  # stopped
            return
        self._requested = True
        while until is not None and not until() and self.advance(0.0):
            pass
        loop = _running_loop()
        if loop is None:  # a script or a test: there is no later
            self.settle()
            return
        if self._task is None or self._task.done() or self._loop is not loop:
            self._loop, self._request = loop, asyncio.Event()
            self._task = loop.create_task(self._run())
        self._request.set()

    def settle(self) -> None:
        """Finish the work now."""
        while self.advance(1.0):
            pass

    def stop(self) -> None:
        """Drop the work and every reference to its maker."""
        if self._task is not None:
            self._task.cancel()
        self._job = self._task = self._loop = self._make = self._failed = None
        self._requested = False

    async def _run(self) -> None:
        while self.advance(_SLICE_SECONDS):
            if self._pause and not self._requested:
                self._request.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._request.wait(), self._pause)
            else:
                await asyncio.sleep(0)

    def advance(self, seconds: float) -> bool:
        """Work for about so long; False when nothing is left. One thread at a time: a cell may settle what another works on."""
        end = time.perf_counter() + seconds
        with self._lock, one_thread():
            while True:
                if self._requested and self.idle:
                    self._requested, self.idle, self._job = False, False, self._make()
                if self._job is None:
                    return False
                self._pause = 0.0
                try:
                    self._pause = next(self._job) or 0.0
                except StopIteration:
                    self._job, self.idle = None, True
                except Exception as error:  # of a callable that the user gave: the controls go on
                    self._job, self.idle = None, True
                    self._failed(error)
                # an answer that will not be dropped is not interrupted either, unless it takes long
                extra = 0.0 if self.idle or not seconds else _FIRST_ANSWER_SECONDS
                if time.perf_counter() >= end + extra or (self._pause and seconds < 1.0):
                    return True


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
