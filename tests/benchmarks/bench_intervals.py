"""Coverage of the 95 % interval over trainings, by simulation: a row for each kind of episodes, with its worst and best case.

Where trainings do not differ at all and successes are counted, few means are possible. An interval that is given covers more
than it says there, and is asked only not to cover less.
"""

import pytest
from run_coverage import EPISODES, coverage, every_case

TRIALS = 2000


@pytest.mark.parametrize("kind", EPISODES)
def test_interval_covers(row, kind):
    found = {case: coverage(case, trials=TRIALS) for case in every_case() if case.kind == kind}
    for apart in (0.0, 0.5, 1.0, 2.0):
        low, high = (pick(value for case, value in found.items() if case.apart == apart) for pick in (min, max))
        most = 1.0 if kind.startswith("success") and not apart else 0.97
        what = f"95 % interval, 3 to 5 runs of 10 to 60 episodes, {kind}, runs {apart:g} spreads apart: coverage"
        row(what, f"93 to {100 * most:.0f} %", f"{100 * low:.1f} to {100 * high:.1f} %", low >= 0.93 and high <= most)
