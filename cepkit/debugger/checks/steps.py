"""Too few steps of the sampler."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from cepkit.debugger.factors import finite_rows
from cepkit.debugger.findings import Finding, Findings, grade
from cepkit.debugger.scene import Scene

# Median displacement when the steps are doubled, relative to the spread of the samples: 0.014 to 0.03 with 12 steps of the
# second-order solver on the toys, 0.05 to 0.09 with 6, 0.3 to 0.6 with 3.
WARNING = 0.04
ERROR = 0.25

_PARTICLES = 192  # a median needs no more, and the longest of the runs takes four times the steps


def displacement(a: Tensor, b: Tensor) -> float:
    """The median distance of samples (n, D) from the same noise, relative to the RMS spread of `b`; NaN if none is finite."""
    rows = finite_rows(a, b)
    if int(rows.sum()) < 2:
        return math.nan
    spread = (b[rows] - b[rows].mean(0)).square().sum(-1).mean().sqrt().clamp_min(1e-12)
    return float((a[rows] - b[rows]).norm(dim=-1).median() / spread)


def check(scene: Scene) -> Findings:
    """Do the samples still move when the steps are doubled?"""
    if not all(function.steady for function in (scene.score, scene.guidance) if function is not None):
        text = "Whether the steps are enough was not measured, because two calls at the same points differ."
        yield Finding("steps", "note", text, remedy="see the findings on the calls")
        return
    if scene.path is None:
        return
    counts = low, middle, high = [scene.steps * k for k in (1, 2, 4)]
    first, second = _moves(scene, counts, scene.scale)
    scene.arrays.update({"step_counts": np.array(counts), "step_displacement": np.array([first, second])})
    if not math.isfinite(first):
        text = f"The samples with {scene.steps} steps are not finite, so nothing can be said of the steps."
        yield Finding("steps", "warning", text, remedy="see the findings on divergence and on the calls")
        return
    order = f" (order {math.log2(first / second):.1f} observed)" if first > 0 and second > 0 else ""
    text = f"From {low} to {middle} steps the samples move by {first:.1%} of their spread, to {high} by {second:.1%}{order}."
    severity = grade(first, warning=WARNING, error=ERROR)
    remedy, cause = "", ""
    if second > max(0.5 * first, WARNING):
        remedy = "doubling the steps hardly helps, so a field is probably rough or too strong"
    elif severity != "ok":
        more = f"try {middle}" if second <= WARNING else f"try more than {high}"
        (alone,) = _moves(scene, counts[:2], 0.0)
        if alone > WARNING:
            remedy, cause = f"too few steps: {more}", "few steps"
        else:
            remedy = f"{more}; without the guidance {low} are enough, so it is strong, be it right or not"
    yield Finding("steps", severity, text, figure=first, remedy=remedy, cause=cause)


def _moves(scene: Scene, counts: Sequence[int], scale: float) -> list[float]:
    """The displacement from each number of steps to the next, NaN where a callable fails."""
    runs = [scene.walk(steps=count, scale=scale, n=min(scene.particles, _PARTICLES)) for count in counts]
    return [math.nan if a is None or b is None else displacement(a[-1].x, b[-1].x) for a, b in itertools.pairwise(runs)]
