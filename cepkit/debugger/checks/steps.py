"""Too few steps of the sampler."""

import itertools
import math

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
    counts = low, middle, high = [scene.steps * k for k in (1, 2, 4)]
    runs = [scene.walk(steps=count, scale=scene.scale, n=min(scene.particles, _PARTICLES)) for count in counts]
    if any(run is None for run in runs):
        return
    first, second = (displacement(a[-1].x, b[-1].x) for a, b in itertools.pairwise(runs))
    scene.arrays.update({"step_counts": np.array(counts), "step_displacement": np.array([first, second])})
    if not math.isfinite(first):
        text = f"The samples with {scene.steps} steps are not finite, so nothing can be said of the steps."
        yield Finding("steps", "warning", text, remedy="see the findings on divergence and on the calls")
        return
    order = f" (order {math.log2(first / second):.1f} observed)" if first > 0 and second > 0 else ""
    text = f"From {low} to {middle} steps the samples move by {first:.1%} of their spread, to {high} by {second:.1%}{order}."
    remedy = f"too few steps: try {middle if second <= WARNING else f'more than {high}'}"
    if second > max(0.5 * first, WARNING):
        remedy += "; doubling them hardly helps, so a field is probably rough or too strong"
    yield Finding("steps", grade(first, warning=WARNING, error=ERROR), text, figure=first, remedy=remedy)
