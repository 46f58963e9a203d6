"""A training under a progress bar, which Ctrl-C stops between two steps, so that what is saved is a whole one."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from tqdm import tqdm

_LOSSES_EVERY = 25  # steps; reading a loss makes a GPU wait
_LINE_SECONDS = 10.0


class Saveable(Protocol):
    """A run: iterating trains it, `save` keeps the steps taken so far."""

    def __iter__(self) -> Iterable: ...

    def save(self) -> None: ...


def follow(run: Saveable, describe: Callable[[object], tuple[str, int, int, Mapping[str, object]]]) -> object | None:
    """Train to the end, with a progress bar for each stage on stderr; in a file, with a line every few seconds.

    Ctrl-C ends the training after the current step and saves it; a second Ctrl-C does not wait.

    Args:
        run: to be trained.
        describe: the stage of a step, its number, how many the stage has, and its losses by name.

    Returns:
        The step at which Ctrl-C stopped the training; None when it came to its end.
    """
    pressed: list[int] = []

    def note(number: int, frame: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before, bar = signal.signal(signal.SIGINT, note), None
    try:
        for step in run:
            stage, index, steps, losses = describe(step)
            if bar is None or bar.desc != stage:
                if bar is not None:
                    bar.close()
                bar = _bar(stage, index - 1, steps)
            bar.update()
            if index % _LOSSES_EVERY == 0 or index == steps:
                bar.set_postfix({name: float(loss) for name, loss in losses.items()}, refresh=False)
            if pressed:
                run.save()
                return step
        return None
    finally:
        if bar is not None:
            bar.close()
        signal.signal(signal.SIGINT, before)


def _bar(stage: str, done: int, steps: int) -> tqdm:
    if sys.stderr.isatty():
        return tqdm(desc=stage, initial=done, total=steps, dynamic_ncols=True)
    layout = "{desc}: {n_fmt} of {total_fmt} steps in {elapsed}, {remaining} left{postfix}"
    return tqdm(desc=stage, initial=done, total=steps, file=_Lines(), mininterval=_LINE_SECONDS, bar_format=layout)


class _Lines(io.TextIOBase):
    """Standard error for a bar that cannot renew itself: each state becomes a line."""

    def write(self, text: str) -> int:
        if text.strip():
            print(text.strip(), file=sys.stderr, flush=True)
        return len(text)
