"""The tabulated truth is the truth on its grid, in between the error is of second order; the rest is handed on."""

from __future__ import annotations

import pytest
import torch

from cepkit.diffusion.guidance import DPSGuidance, Guided
from cepkit.diffusion.sampling import sample
from cepkit.lab import grid_density, gridded
from cepkit.lab.gridded import GriddedTruth
from cepkit.truth.fields import ExactDenoiser, ExactGuidance
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import make_toy

BETA = 3.0
QUANTITIES = ("log_q", "score", "energy_t", "guidance", "mean_energy_t", "mean_energy_guidance")


def ask(truth, name, x, t, schedule):
    rest = (schedule,) if name in ("log_q", "score") else (BETA, schedule)
    return getattr(truth, name)(x, t, *rest)


def typical_points(toy, t, schedule, n=2000):
    generator = torch.Generator().manual_seed(0)
    x, _ = toy.truth.tilt(BETA).sample(n, generator=generator)
    noise = torch.randn(x.shape, generator=generator)
    return (schedule.alpha(t) * x + schedule.sigma(t) * noise).float()


@pytest.mark.parametrize("t", [0.005, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", QUANTITIES)
def test_on_its_points_it_is_the_mixture(toy, name, t, schedule):
    table = GriddedTruth(toy.truth, extent=toy.extent, side=45)
    x = table.points()
    log_q = toy.truth.log_q(x, t, schedule)
    seen = log_q > log_q.max() - 30
    got, wanted = (ask(truth, name, x, t, schedule)[seen] for truth in (table, toy.truth))
    assert int(seen.sum()) > 50
    assert float((got - wanted).abs().max() / wanted.abs().max()) < 5e-4  # what float32 tables and a small beta allow


def test_between_its_points_the_error_falls_with_the_square_of_the_spacing(schedule):
    toy = make_toy("8gaussians")
    x = typical_points(toy, 0.3, schedule)
    exact = toy.truth.guidance(x, 0.3, BETA, schedule)
    errors = []
    for side in (65, 129, 257):
        error = GriddedTruth(toy.truth, extent=5.0, side=side).guidance(x, 0.3, BETA, schedule) - exact
        errors.append(float(error.square().mean().sqrt()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.25) and errors[1] / errors[2] == pytest.approx(4, rel=0.25)


def test_particles_end_where_the_mixture_sends_them(toy, schedule):
    table = GriddedTruth(toy.truth, extent=1.1 * toy.extent)

    def samples(truth):
        guided = Guided(ExactDenoiser(truth, schedule), ExactGuidance(truth, BETA, schedule))
        return sample(guided, (400, 2), steps=25, generator=torch.Generator().manual_seed(1))

    apart = (samples(table) - samples(toy.truth)).norm(dim=-1)
    assert float(apart.median()) < 3e-3 and float(apart.quantile(0.95)) < 0.03


def test_points_outside_and_far_in_the_tail_are_handed_on(schedule):
    toy = make_toy("rings")
    table = GriddedTruth(toy.truth, extent=2.0, side=65)
    x = torch.tensor([[30.0, 1.0], [0.1, 0.1], [2.5, 2.5]])
    assert torch.equal(table.guidance(x, 0.01, BETA, schedule)[[0, 2]], toy.truth.guidance(x[[0, 2]], 0.01, BETA, schedule))
    far = from_points(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([0.0, 1.0])).truth
    table = GriddedTruth(far, extent=4.0, side=65)  # without noise of their own, points underflow soon
    x = torch.tensor([[3.0, 3.0], [-3.0, 1.0]])
    torch.testing.assert_close(table.score(x, 0.002, schedule), far.score(x, 0.002, schedule))


def test_a_wider_grid_answers_for_points_outside(schedule):
    toy = make_toy("8gaussians")
    wide = GriddedTruth(toy.truth, extent=12.0, side=97)
    table = GriddedTruth(toy.truth, extent=3.0, side=33, beyond=wide)
    x = torch.tensor([[8.0, -2.0], [1.0, 1.0], [40.0, 0.0]])
    for name in QUANTITIES:
        got = ask(table, name, x, 0.2, schedule)
        assert torch.equal(got[:1], ask(wide, name, x[:1], 0.2, schedule))
        assert torch.equal(got[1:2], ask(GriddedTruth(toy.truth, extent=3.0, side=33), name, x[1:2], 0.2, schedule))
        torch.testing.assert_close(got[2:], ask(toy.truth, name, x[2:], 0.2, schedule), rtol=1e-3, atol=1e-3)


def test_far_from_the_data_the_products_do_not_underflow(schedule):
    toy = make_toy("8gaussians")
    table = GriddedTruth(toy.truth, extent=20.0, side=41)
    x = table.points()
    torch.testing.assert_close(table.log_q(x, 0.01, schedule), toy.truth.log_q(x, 0.01, schedule), rtol=1e-5, atol=1e-3)
    assert bool((table.density(0.01, schedule)[3] == 1).all())


@pytest.mark.parametrize("beta", [None, BETA])
def test_components_taken_in_parts_give_the_same_tables(schedule, monkeypatch, beta):
    truth = make_toy("swissroll").truth
    whole = GriddedTruth(truth, side=9).density(0.3, schedule, beta)
    monkeypatch.setattr(grid_density, "_NODES_AT_ONCE", 7)
    torch.testing.assert_close(GriddedTruth(truth, side=9).density(0.3, schedule, beta), whole)


def test_gradients_go_through_the_table(schedule):
    """DPS differentiates the denoised point; with tabulated ingredients it stays the same force, up to the interpolation."""
    toy = make_toy("swissroll")
    table = GriddedTruth(toy.truth, extent=5.0)
    x = typical_points(toy, 0.3, schedule)
    fields = [DPSGuidance(ExactDenoiser(truth, schedule), truth.energy, BETA)(x, 0.3) for truth in (table, toy.truth)]
    assert float((fields[0] - fields[1]).norm() / fields[1].norm()) < 0.1


def test_a_clean_energy_with_jumps_is_not_looked_up():
    toy = make_toy("checkerboard")
    x = torch.tensor([[0.3, 0.4], [-1.0, 3.0]])
    assert torch.equal(GriddedTruth(toy.truth).energy(x), toy.truth.energy(x))


def test_memory_is_bounded(schedule, monkeypatch):
    monkeypatch.setattr(gridded, "_KEPT_TABLES", 5)
    monkeypatch.setattr(grid_density, "_KEPT", 3)
    table = GriddedTruth(make_toy("8gaussians").truth, side=9)
    for k in range(1, 20):
        table.guidance(torch.zeros(1, 2), k / 20, BETA, schedule)
    assert len(table._tables) <= 5 and len(table.density._densities) <= 3 and len(table.density._kernels) <= 3
