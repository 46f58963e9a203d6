"""The checks, one file for each kind of fault.

To add one, write a module with a function `check(scene)` that yields findings, and nothing where it does not apply. Then name the
module in `CHECKS`. It calls the user's callables as `scene.score(x, t)` and so on: a failed call is recorded and returns None. It
may keep arrays for a picture in `scene.arrays`.

Each threshold stands beside its check with the reason for its size. The exact guidance of all six toys (inverse temperature 3,
25 steps) passes every one of them. The faults of the suite do not.
"""

from cepkit.debugger.checks import (
    across_time,
    agreement,
    callables,
    curl,
    from_points,
    limits,
    norm_ratio,
    paths,
    samples,
    score,
    steps,
    time_dependence,
)

# in the order in which findings of one severity are shown
CHECKS = (norm_ratio, curl, agreement, from_points, across_time, limits, score, time_dependence, paths, steps, samples)
CALLABLES = callables  # it looks before all others, is run after them and shown before them
