"""The table of estimators."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from cepkit.course.comparison import compare
from cepkit.diffusion.denoisers import FunctionDenoiser
from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.truth.fields import ExactDenoiser, ExactGuidance, toy_estimators
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import make_toy

SCHEDULE = VPLinear()


@pytest.fixture(scope="module")
def table():
    return compare(make_toy("8gaussians"), 3.0, SCHEDULE, n=1500)


def test_exact_guidance_is_at_the_level_of_two_exact_sets_and_the_others_are_not(table):
    exact, floor = table.row("exact"), table.row("two exact sets")
    assert exact.field_errors == (0.0, 0.0, 0.0) and table.row("no guidance").field_errors == (1.0, 1.0, 1.0)
    assert exact.mmd2 < 1.5e-3 and floor.mmd2 < 1.5e-3
    for name in ("mean energy", "DPS", "LGD-MC", "no guidance"):
        assert table.row(name).mmd2 > 4e-3 and table.row(name).mode_error > 0.08


def test_the_table_prints_a_line_for_each_estimator_and_shows_as_html(table):
    lines = str(table).splitlines()
    assert lines[0] == "8gaussians, beta = 3" and len(lines) == 2 + len(table.rows)
    assert repr(table) == str(table) and table._repr_html_().count("<tr>") == 1 + len(table.rows)


def test_the_floor_is_the_worst_of_many_pairs_of_exact_sets(table):
    """MMD^2 is unbiased, so a single pair is below zero as often as above; so is the best of many, the worst is not."""
    floor = table.row("two exact sets")
    assert floor.mmd2 > 0 and floor.sliced_wasserstein > table.row("exact").sliced_wasserstein / 2


def test_the_name_of_a_toy_is_shown_and_does_not_run(table):
    shown = replace(table, toy="<script>alert(1)</script>")._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown


def test_a_guidance_with_the_wrong_sign_is_exposed():
    toy = make_toy("moons")
    exact = ExactGuidance(toy.truth, 3.0, SCHEDULE)
    flipped = compare(toy, 3.0, SCHEDULE, estimators={"flipped": lambda x, t: -exact(x, t)}, n=400).row("flipped")
    assert flipped.field_errors == pytest.approx((2.0, 2.0, 2.0)) and flipped.mean_energy > 0.7


def test_the_same_seed_gives_the_same_table():
    toy = make_toy("moons")
    rows = [compare(toy, 3.0, SCHEDULE, n=200, seed=4).rows for _ in range(2)]
    assert [row.sliced_wasserstein for row in rows[0]] == [row.sliced_wasserstein for row in rows[1]]


def test_samples_come_from_the_denoiser_that_is_passed():
    """The exact one by default, whatever its parametrisation; one that knows only the origin sends every sample there."""
    toy = make_toy("moons")
    shown = {"exact": ExactGuidance(toy.truth, 3.0, SCHEDULE)}

    def row(denoiser, name="exact"):
        return compare(toy, 3.0, SCHEDULE, estimators=shown, denoiser=denoiser, n=200).row(name)

    exact = row(None)
    assert torch.equal(row(ExactDenoiser(toy.truth, SCHEDULE)).samples, exact.samples)
    torch.testing.assert_close(row(ExactDenoiser(toy.truth, SCHEDULE, "eps")).samples, exact.samples, rtol=1e-2, atol=1e-2)
    origin = FunctionDenoiser(lambda x_t, t: torch.zeros_like(x_t), SCHEDULE, "x0")
    assert float(row(origin, "no guidance").samples.abs().max()) < 0.1 and row(origin).mmd2 > exact.mmd2 + 0.01
    assert row(origin).field_errors == exact.field_errors


def test_a_denoiser_of_another_schedule_is_refused():
    toy = make_toy("moons")
    with pytest.raises(ValueError, match="^guidance: expected the schedule"):
        compare(toy, 3.0, SCHEDULE, denoiser=ExactDenoiser(toy.truth, VPCosine()), n=50)


def test_own_points_in_three_dimensions_can_be_compared():
    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    toy = from_points(x, x[:, 2], std=0.2)
    result = compare(toy, 1.0, SCHEDULE, estimators={"exact": toy_estimators(toy, 1.0, SCHEDULE)["exact"]}, n=300)
    assert all(math.isfinite(row.mmd2) for row in result.rows)
    assert result.row("exact").mean_energy < result.row("no guidance").mean_energy - 0.3
