"""The debugger on planted faults and correct settings, with its default settings: what it names, and how long it takes."""

import pytest
from planted import CORRECT, FAULTS, run, shares
from planting import MODES

NAMED = {"truth": 0.85, "energy": 0.8, "points": 0.6, "nothing": 0.6}
ALARMS = {"truth": 0.0, "energy": 0.0, "points": 0.02, "nothing": 0.02}
SECONDS_PLANE, SECONDS_TEN = 10.0, 30.0


@pytest.mark.parametrize("mode", MODES)
def test_planted_faults(row, mode):
    rows = list(run(FAULTS.values(), [mode]))
    found = shares(rows)[mode]
    named, missed = (found.get(key, 0.0) for key in ("named", "missed"))
    wrong = found.get("wrong", 0.0) + found.get("crashed", 0.0)
    row(f"{len(rows)} planted faults, {mode}", f"{NAMED[mode]:.0%} named", f"{named:.0%}", named >= NAMED[mode])
    row(f"{len(rows)} planted faults, {mode}", "none wrong", f"{wrong:.1%}, missed {missed:.0%}", wrong == 0)
    times(row, rows)


@pytest.mark.parametrize("mode", MODES)
def test_correct_settings(row, mode):
    rows = list(run(CORRECT.values(), [mode]))
    alarms = 1 - shares(rows)[mode].get("ok", 0.0)
    row(f"{len(rows)} correct settings, {mode}", f"{ALARMS[mode]:.0%} alarms", f"{alarms:.1%}", alarms <= ALARMS[mode])
    times(row, rows)


def times(row, rows):
    """The slowest report in the plane and beyond."""
    mode = rows[0].mode
    for name, bar, beyond in (("the plane", SECONDS_PLANE, False), ("more dimensions", SECONDS_TEN, True)):
        seconds = max((r.seconds for r in rows if (r.case.world().plane is not None) == beyond), default=0.0)
        row(f"slowest report in {name}, {mode}", f"{bar:g} s", f"{seconds:.1f} s", seconds <= bar)
