"""The planted faults and correct settings are what they say they are, and the debugger's share of them."""

import pytest
from planted import CORRECT, FAULTS
from planting import MODES


def test_every_mode_that_is_left_out_has_a_reason():
    for case in (FAULTS | CORRECT).values():
        assert set(case.modes) | set(case.blind) == set(MODES)
        assert case.modes and all(case.blind.values())


@pytest.mark.parametrize("name", ["reward_for_energy", "eps_for_score"])
def test_a_fault_that_is_planted_is_seen(name):
    case = FAULTS[name]
    report, _ = case.run("truth", particles=64, times=(0.1, 0.5), steps=4)
    assert report.worst == "error"
