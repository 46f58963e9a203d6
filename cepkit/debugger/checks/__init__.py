"""The checks, one file for each kind of fault.

To add one, write a module with a function `check(scene)` that yields findings, and nothing where it does not apply. Then name the
module in `CHECKS`. It calls the user's callables as `scene.score(x, t)` and so on: a failed call is recorded and returns None. It
may keep arrays for a picture in `scene.arrays`.
"""

# fmt: off
from cepkit.debugger.checks import (
    callables,
    curl,
    energy_gradient,
    exact_fields,
    full_noise,
    norm_ratio,
    paths,
    samples,
    score_factor,
    steps,
    time_dependence,
    tweedie,
)

# in the order in which findings of one severity are shown
CHECKS = (
    norm_ratio, curl, energy_gradient, exact_fields, full_noise, score_factor, tweedie, time_dependence, paths, steps, samples,
)
CALLABLES = callables  # run after all others, shown before them
