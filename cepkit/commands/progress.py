"""Where a training is, with the time that its stage still takes: one line that renews itself on a terminal, elsewhere a line
now and then."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from cepkit.commands.estimate import duration
from cepkit.rl.agent.stage import StageStep

_BAR = 24


class Progress:
    """Tells about steps as they come; call it with each.

    Args:
        stages: names of all stages, in their order.
        out: where to write; by default stdout, looked up when told.
        every: seconds between two lines; on a terminal the line renews itself five times a second.
    """

    def __init__(self, stages: tuple[str, ...], out: TextIO | None = None, *, every: float = 20.0) -> None:
        self.stages, self.out = stages, out or sys.stdout
        self.live = self.out.isatty()
        self.every = 0.2 if self.live else every
        self._stage, self._begun, self._first, self._told = "", 0.0, 0, 0.0
        self._open = False

    def __call__(self, step: StageStep) -> None:
        """Tell about a step where it is time to, and about the last of each stage."""
        now = time.monotonic()
        if step.stage != self._stage:
            self._stage, self._begun, self._first, self._told = step.stage, now, step.index, now
        last = step.index == step.steps
        if last or now - self._told >= self.every:
            self._told = now
            self._write(self.line(step, now - self._begun), last)

    def line(self, step: StageStep, seconds: float) -> str:
        """What is told about a step, `seconds` after the first of its stage in this process."""
        number = f"{self.stages.index(step.stage) + 1}/{len(self.stages)}" if step.stage in self.stages else ""
        share = step.index / step.steps
        words = [f"{number} {step.stage:<9} {step.index:,} of {step.steps:,}"]
        if self.live:
            words.insert(0, f"[{'#' * int(share * _BAR):<{_BAR}}]")
        words += [f"{part} {float(loss):.4g}" for part, loss in step.losses.items()]
        taken = step.index - self._first
        if step.index == step.steps:
            words.append(f"done in {duration(seconds)}")
        elif taken:
            words.append(f"{duration(seconds / taken * (step.steps - step.index))} left")
        return "  ".join(words)

    def _write(self, text: str, last: bool) -> None:
        if self.live:
            print(f"\r\033[K{text}", end="\n" if last else "", file=self.out, flush=True)
            self._open = not last
        else:
            print(text, file=self.out, flush=True)

    def close(self) -> None:
        """End a line that is still open, before something else is said."""
        if self._open:
            print(file=self.out, flush=True)
            self._open = False
