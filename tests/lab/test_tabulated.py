"""Looked-up guidances: DPS against automatic differentiation, and which callables are recognised as the truth's own."""

from __future__ import annotations

import torch
from checks import seeded

from cepkit.diffusion.guidance import DPSGuidance, LGDGuidance, ZeroGuidance
from cepkit.diffusion.schedules import VPCosine
from cepkit.lab.gridded import GriddedTruth
from cepkit.lab.tabulated import GuidedScores, TabulatedDPS, table_of, tabulated
from cepkit.truth.fields import ExactDenoiser, ExactGuidance, MeanEnergyGuidance
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import make_toy

BETA = 3.0


def dps(toy, schedule, beta=BETA):
    return DPSGuidance(ExactDenoiser(toy.truth, schedule), toy.energy, beta)


def off(field, toy, schedule, t, reach):
    """The relative error of a field against DPS itself, at points of q_t, or `reach` times as far out."""
    x, _ = toy.truth.sample(400, generator=seeded())
    x = reach * (schedule.alpha(t) * x + schedule.sigma(t) * torch.randn(x.shape, generator=seeded())).float()
    exact = dps(toy, schedule)(x, t)
    return float((field(x, t) - exact).norm() / exact.norm())


def test_on_a_finer_grid_it_is_dps_up_to_the_table_of_the_clean_energy(schedule):
    toy = from_points(torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.0, 1.5]]), torch.tensor([0.0, 1.0, 0.5]), std=0.6)
    errors = [
        off(TabulatedDPS(GriddedTruth(toy.truth, extent=6.0, side=side), BETA, schedule), toy, schedule, 0.5, 1.0)
        for side in (13, 25, 97)
    ]
    assert errors[0] > 2.5 * errors[1] > 5 * errors[2] and errors[2] < 0.01


def test_outside_the_tables_the_difference_is_of_the_mixture_itself(schedule):
    toy = make_toy("swissroll")
    inside = TabulatedDPS(GriddedTruth(toy.truth, extent=0.01, side=3), BETA, schedule)  # nothing lies in these
    assert off(inside, toy, schedule, 0.4, 1.0) < 0.02


def test_it_is_linear_in_beta_and_zero_where_the_energy_is_flat(schedule):
    truth = GriddedTruth(make_toy("moons").truth, side=33)
    x = torch.randn(50, 2, generator=seeded())
    torch.testing.assert_close(3 * TabulatedDPS(truth, 1.0, schedule)(x, 0.3), TabulatedDPS(truth, 3.0, schedule)(x, 0.3))
    checkerboard = make_toy("checkerboard")
    jump = torch.tensor([[0.0, 0.5], [1.0, 1.0], [0.3, 0.4]])
    assert not TabulatedDPS(GriddedTruth(checkerboard.truth), BETA, schedule)(jump, 0.3).any()


def test_its_energy_is_that_of_the_denoised_point(schedule):
    toy = make_toy("swissroll")
    x = torch.randn(50, 2, generator=seeded())
    looked_up = TabulatedDPS(GriddedTruth(toy.truth), BETA, schedule).energy(x, 0.5)
    assert float((looked_up - dps(toy, schedule).energy(x, 0.5)).abs().median()) < 0.01


def test_the_truths_own_guidances_are_recognised_and_no_others(schedule):
    toy, other = make_toy("moons"), make_toy("moons")
    truth = GriddedTruth(toy.truth)
    exact, mean = ExactGuidance(toy.truth, BETA, schedule), MeanEnergyGuidance(toy.truth, BETA, schedule)
    assert tabulated(exact, truth) == ExactGuidance(truth, BETA, schedule)
    assert tabulated(mean, truth) == MeanEnergyGuidance(truth, BETA, schedule)
    assert tabulated(dps(toy, schedule), truth) == TabulatedDPS(truth, BETA, schedule)
    mine = DPSGuidance(ExactDenoiser(toy.truth, schedule), lambda x: x.square().sum(-1), BETA)

    class Flipped(ExactGuidance):
        def __call__(self, x_t, t):
            return -super().__call__(x_t, t)

    for field in (ExactGuidance(other.truth, BETA, schedule), dps(other, schedule), mine, Flipped(toy.truth, BETA, schedule),
                  torch.zeros_like, LGDGuidance(ExactDenoiser(toy.truth, schedule), toy.energy, BETA)):  # fmt: skip
        assert tabulated(field, truth) is field


def test_several_panels_at_once_are_score_plus_scaled_guidance_of_each(schedule):
    toy = make_toy("8gaussians")
    truth = GriddedTruth(toy.truth, extent=5.0, side=65)
    fields = [
        ExactGuidance(truth, BETA, schedule),
        ExactGuidance(truth, BETA, VPCosine()),  # a guidance keeps its own schedule
        MeanEnergyGuidance(truth, BETA, schedule),
        TabulatedDPS(truth, BETA, schedule),
        ZeroGuidance(),
        lambda x_t, t: -t * x_t,  # without a table
    ]
    x = 2.5 * torch.randn(len(fields), 40, 2, generator=seeded())
    x[:, 0] = torch.tensor([30.0, -3.0])  # off the grid
    for t in (0.05, 0.4):
        wanted = torch.stack(
            [truth.score(rows, t, schedule) + 1.7 * field(rows, t) for field, rows in zip(fields, x, strict=True)]
        )
        torch.testing.assert_close(GuidedScores(truth, schedule, fields, 1.7)(x, t), wanted, rtol=1e-4, atol=1e-4)


def test_what_has_no_table_says_so(schedule):
    toy = make_toy("moons")
    truth = GriddedTruth(toy.truth)
    elsewhere = ExactGuidance(GriddedTruth(toy.truth), BETA, schedule)  # tables of its own
    for field in (torch.zeros_like, dps(toy, schedule), ExactGuidance(toy.truth, BETA, schedule), elsewhere):
        assert table_of(field, truth) is None
    assert table_of(tabulated(ExactGuidance(toy.truth, BETA, schedule), truth), truth) is not None
