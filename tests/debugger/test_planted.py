"""The planted faults and correct settings are what they say they are, and a report about them is judged as it should be."""

import pytest
import torch
from planted import CORRECT, FAULTS
from planting import MODES, Case, verdict, world

from cepkit.debugger import Finding, Report

FEW = {"particles": 64, "times": (0.1, 0.5), "steps": 4}
KEYS = {
    "raised", "type", "shape", "device", "dtype", "gradients", "time per row", "in place", "non-finite", "random",
    "training mode", "batch size", "batch order", "batch", "sign", "factor", "zero", "time reversed", "time scaled",
    "time squared", "time fixed", "missing noise levels", "another schedule", "coordinates swapped", "coordinate flipped",
    "coordinate dropped", "coordinate scaled", "input scaled", "input shifted", "rotated", "clipped", "rounded", "drift",
    "off the slice", "another beta", "clean energy", "denoised point", "mean energy", "DPS", "conditional score",
    "parametrisation", "temperature", "already guided", "few steps", "scale", "",
}  # fmt: skip


def test_every_cause_is_one_that_the_debugger_knows_and_every_mode_left_out_has_a_reason():
    assert len(FAULTS) >= 90 and len(CORRECT) >= 60
    for case in (FAULTS | CORRECT).values():
        assert case.causes <= KEYS
        assert set(case.modes) | set(case.blind) == set(MODES)
        assert case.modes and all(case.blind.values())


EXACT = [name for name in FAULTS if FAULTS[name].make.__module__ != "planted_networks"]


@pytest.mark.parametrize("name", EXACT)
@torch.no_grad()
def test_a_planted_fault_shows_in_what_is_returned(name):
    """It raises, changes its arguments, returns another kind of tensor, or differs from the exact field by a percent."""
    case = FAULTS[name]
    arguments = case.arguments("nothing")
    if case.subject == "sampling":
        assert {"steps", "scale"} & arguments.keys()
        return
    w, faulty = case.world(), arguments[case.subject]
    assert any(
        differs(faulty, w.score if case.subject == "score" else w.guidance, w.points[:100], t) for t in (0.04, 0.1, 0.5, 0.95)
    )


def differs(faulty, right, x, t):
    t = torch.tensor(t, dtype=torch.float64)
    point, time, exact = x.clone(), t.clone(), right(x, t)
    try:
        value = faulty(point, time)
    except Exception:
        return True
    if not torch.equal(point, x) or not torch.equal(time, t) or getattr(faulty, "parametrisation", "score") != "score":
        return True
    same_kind = isinstance(value, torch.Tensor) and value.shape == exact.shape and value.dtype == exact.dtype
    return not same_kind or not torch.allclose(value, exact, rtol=1e-2, atol=1e-3)


def report(*findings):
    return Report(tuple(findings), {}, "")


FAULT = Case("fault", "guidance", frozenset({"sign"}), lambda: world("moons"), lambda w: {})
RIGHT = Finding("truth-guidance", "error", "The guidance is opposite.", cause="sign")
OTHER = Finding("curl", "warning", "The guidance rotates.", cause="rotated")
OK = Finding("steps", "ok", "All is well.")


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([RIGHT], "named"),
        ([RIGHT, OTHER], "wrong"),
        ([Finding("truth-score", "error", "The score is opposite.", cause="sign")], "wrong"),
        ([Finding("steps", "warning", "They move.", remedy="too few steps: try 50")], "wrong"),
        ([RIGHT, Finding("steps", "warning", "They move.", remedy="too few steps: try 50")], "named"),
        ([Finding("truth-guidance", "error", "The guidance differs.")], "seen"),
        ([OK], "missed"),
    ],
)
def test_a_report_about_a_fault_is_judged(findings, expected):
    assert verdict(FAULT, report(*findings)) == expected


@pytest.mark.parametrize(("finding", "expected"), [(OK, "ok"), (RIGHT, "alarm"), (Finding("curl", "note", "Hm."), "ok")])
def test_a_report_about_a_correct_setting_is_judged(finding, expected):
    assert verdict(Case("right", "sampling", frozenset(), FAULT.world, FAULT.make), report(finding)) == expected


@pytest.mark.parametrize("name", ["reward_for_energy", "eps_for_score", "point_moved_in_place", "graph_cut"])
def test_a_fault_that_is_planted_is_seen(name):
    assert FAULTS[name].run("truth", **FEW)[0].worst == "error"
