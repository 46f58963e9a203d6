"""Coverage of the 95 % interval over trainings, by simulation: a row for each kind of episodes, with its worst and best case.

Where trainings do not differ at all and successes are counted, few means are possible. An interval that is given covers more
than it says there, and is asked only not to cover less.
"""

import pytest
from run_coverage import EPISODES, coverage, every_case, failing_coverage

TRIALS = 2000


@pytest.mark.parametrize("kind", EPISODES)
def test_interval_covers(row, kind):
    found = {case: coverage(case, trials=TRIALS) for case in every_case() if case.kind == kind}
    for apart in (0.0, 0.5, 1.0, 2.0):
        low, high = (pick(value for case, value in found.items() if case.apart == apart) for pick in (min, max))
        most = 1.0 if kind.startswith("success") and not apart else 0.97
        what = f"95 % interval, 3 to 5 runs of 10 to 60 episodes, {kind}, runs {apart:g} spreads apart: coverage"
        row(what, f"93 to {100 * most:.0f} %", f"{100 * low:.1f} to {100 * high:.1f} %", low >= 0.93 and high <= most)


def test_where_some_trainings_fail(row):
    """One training in five earns nothing: means that are not normal, which no interval of a few of them can know."""
    found = {runs: failing_coverage(runs, trials=TRIALS) for runs in (3, 4, 5)}
    shown = ", ".join(f"{100 * value:.0f} % with {runs} runs" for runs, value in found.items())
    row("95 % interval where one training in five fails: coverage", "reported", shown, True)
