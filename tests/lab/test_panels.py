"""Panels: what may stand in one, and what happens when it misbehaves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cepkit.lab import BUILT_IN
from cepkit.lab.gridded import GriddedTruth
from cepkit.lab.panels import Estimators, Guard
from cepkit.truth.fields import ExactGuidance
from cepkit.truth.toys import make_toy

TRUTH = make_toy("8gaussians").truth
TOY = replace(make_toy("8gaussians"), truth=GriddedTruth(TRUTH))
X = torch.zeros(5, 2)


def boom(x_t, t):
    raise RuntimeError("no such layer")


class Wordless(Exception):
    def __str__(self):
        raise ValueError


def wordless(x_t, t):
    raise Wordless


@pytest.mark.parametrize(
    ("field", "what"),
    [
        (boom, "raised RuntimeError: no such layer"),
        (wordless, "raised test_panels.Wordless: <exception str() failed>"),
        (lambda x, t: x[..., 0], "expected a tensor of the shape of x_t (5, 2), got (5,)"),
        (lambda x, t: x / 0, "10 of 10 values are NaN or infinite"),
        (lambda x, t: None, "expected a tensor of the shape of x_t (5, 2), got NoneType"),
        (lambda x, t: x.to("meta"), "expected a tensor on cpu, as x_t is, got one on meta"),
    ],
)
def test_a_guard_says_which_estimator_which_time_and_what_came(field, what):
    guard = Guard("mine", field)
    assert torch.equal(guard(X, 0.25), torch.zeros_like(X))
    assert guard.failure == f"mine at t = 0.25: {what}" and not guard.works
    guard(X, 0.1)
    assert guard.failure.startswith("mine at t = 0.25")  # the first failure is the one that is shown


def test_a_guard_passes_on_what_is_right_in_the_points_dtype():
    guard = Guard("mine", lambda x, t: -x.double())
    assert torch.equal(guard(X + 1, 0.3), -(X + 1)) and guard.works
    assert guard.energy(X, 0.3) is None  # a plain callable has no energy


def test_an_energy_that_fails_is_named_too(schedule):
    class Wrong(ExactGuidance):
        def energy(self, x_t, t):
            return x_t

    guard = Guard("mine", Wrong(TOY.truth, 3.0, schedule))
    assert guard.energy(X, 0.3) is None and "expected one energy per point, shape (5,), got (5, 2)" in guard.failure


def test_every_built_in_is_known_and_none_guides_nowhere(schedule):
    estimators = Estimators(TOY, BUILT_IN, schedule, beta=3.0, train_steps=3)
    guards = {guard.name: guard for guard in estimators.guards(3.0)}
    assert tuple(guards) == BUILT_IN and estimators.learned == ("CEP", "MSE", "exp-MSE")
    assert float(guards["no guidance"](X + 1, 0.3).abs().max()) == 0
    torch.testing.assert_close(guards["exact"](X + 1, 0.3), TRUTH.guidance(X + 1, 0.3, 3.0, schedule), rtol=0.02, atol=0.02)
    assert guards["CEP"].field is None and float(guards["CEP"](X + 1, 0.3).abs().max()) == 0


def test_networks_are_trained_one_after_the_other_and_may_be_left_in_between(schedule):
    estimators = Estimators(TOY, ("CEP", "exact", "MSE"), schedule, beta=2.0, train_steps=4)
    work = estimators.train()
    assert [next(work) for _ in range(3)] == ["CEP"] * 3
    assert estimators.progress("CEP") == "training for β = 2: 3 of 4 steps" and estimators.progress("exact") == ""
    assert estimators.progress("MSE") == "not trained yet"
    assert list(estimators.train()) == ["CEP"] + ["MSE"] * 4  # another call goes on where the first was left
    assert estimators.progress("MSE") == "trained for β = 2" and list(estimators.train()) == []
    learned = {guard.name: guard for guard in estimators.guards(2.0)}["CEP"]
    assert float(learned(X + 1, 0.3).abs().max()) > 0 and learned.energy(X, 0.3).shape == (5,)


def test_panels_can_be_chosen_anew_and_keep_their_networks(schedule):
    mine = ExactGuidance(TOY.truth, 1.0, schedule)
    estimators = Estimators(TOY, {"mine": mine, "CEP": None}, schedule, beta=2.0, train_steps=2)
    assert set(estimators.given) == {"mine", *BUILT_IN}
    list(estimators.train())
    estimators.choose(["CEP", "DPS"])
    assert estimators.names == ("CEP", "DPS") and list(estimators.train()) == []
    estimators.choose(["mine"])
    assert estimators.guards(3.0)[0].field is mine


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (("exactt",), "estimators: expected one of exact, .* did you mean 'exact'"),
        ((), "estimators: expected at least one, got none"),
        ({"mine": 3}, "estimators: expected a callable .* for 'mine', got int"),
        ({"mine": None}, "estimators: expected one of"),
    ],
)
def test_mistakes_are_named(schedule, chosen, message):
    with pytest.raises(ValueError, match=message):
        Estimators(TOY, chosen, schedule, beta=3.0, train_steps=3)
