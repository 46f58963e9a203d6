"""A training under a progress bar, which Ctrl-C stops between two steps, so that what is saved is a whole one."""

import io
import shlex
import signal
import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from cepkit.commands.cli import STOPPED
from cepkit.learning.loop import TrainingStep
from cepkit.learning.run import Run

_LOSSES_EVERY = 25  # steps; reading a loss makes a GPU wait
_LINE_SECONDS = 10.0


def follow(run: Run, resume: Sequence[str], look: Sequence[str]) -> int:
    """Train to the end, with a progress bar for each stage on stderr; in a file, with a line every few seconds.

    Ctrl-C ends the training after the current step and saves it; a second Ctrl-C does not wait.

    Args:
        run: to be trained.
        resume: the command that goes on with a stopped run.
        look: the command that shows what a finished one has learned.

    Returns:
        The exit code.
    """
    begun, pressed = time.perf_counter(), []

    def note(number: int, frame: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before, bar, stopped = signal.signal(signal.SIGINT, note), None, None
    try:
        for step in run:
            if bar is None or bar.desc != step.stage:
                if bar is not None:
                    bar.close()
                bar = _bar(step)
            bar.update()
            if step.index % _LOSSES_EVERY == 0 or step.index == step.steps:
                bar.set_postfix({name: float(loss) for name, loss in step.losses.items()}, refresh=False)
            if pressed:
                run.save()
                stopped = step
                break
    finally:
        if bar is not None:
            bar.close()
        signal.signal(signal.SIGINT, before)
    if stopped is not None:
        print(f"Stopped in the {stopped.stage} stage at step {stopped.index}; go on with: {shlex.join(resume)}", file=sys.stderr)
        return STOPPED
    print(f"Done in {time.perf_counter() - begun:.0f} s. See what it learned with: {shlex.join(look)}")
    return 0


def _bar(step: TrainingStep) -> tqdm:
    settings = {"desc": step.stage, "initial": step.index - 1, "total": step.steps}
    if sys.stderr.isatty():
        return tqdm(**settings, dynamic_ncols=True)
    layout = "{desc}: {n_fmt} of {total_fmt} steps in {elapsed}, {remaining} left{postfix}"
    return tqdm(**settings, file=_Lines(), mininterval=_LINE_SECONDS, bar_format=layout)


class _Lines(io.TextIOBase):
    """Standard error for a bar that cannot renew itself: each state becomes a line."""

    def write(self, text: str) -> int:
        if text.strip():
            print(text.strip(), file=sys.stderr, flush=True)
        return len(text)
