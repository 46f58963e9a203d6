"""What the debugger names of planted faults, and that it finds nothing in correct settings, on every fourth of them."""

import pytest
from planted import CORRECT, FAULTS, QUICK, run, shares
from planting import MODES

NAMED = {"truth": 0.85, "energy": 0.8, "points": 0.6, "nothing": 0.6}
EVERY = 4


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_most_planted_faults_are_named_and_none_by_another_name(mode):
    rows = list(run(list(FAULTS.values())[::EVERY], [mode], QUICK))
    wrong = [f"{row.case.name}: {row.named}" for row in rows if row.verdict in ("wrong", "crashed")]
    assert not wrong
    assert shares(rows)[mode]["named"] >= NAMED[mode]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_correct_settings_raise_no_alarm(mode):
    rows = list(run(list(CORRECT.values())[::EVERY], [mode], QUICK))
    assert not [f"{row.case.name}: {row.named}" for row in rows if row.verdict != "ok"]
