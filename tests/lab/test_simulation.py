"""Paths, maps and measures of the lab against the same things computed directly from the truth."""

from __future__ import annotations

import pytest
import torch

from cepkit import plots
from cepkit.diffusion.guidance import Guided
from cepkit.diffusion.sampling import initial_noise, sampling_steps
from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.lab import SampleSettings, Simulation
from cepkit.lab.simulation import finish
from cepkit.truth.fields import ExactDenoiser, ExactGuidance, MeanEnergyGuidance
from cepkit.truth.metrics import guidance_error, relative_error
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import make_toy

TOY = make_toy("8gaussians")


@pytest.fixture(scope="module")
def simulation():
    return Simulation(TOY, ("exact", "mean energy", "no guidance"))


@pytest.mark.parametrize("method", ["dpmpp2m", "ddim", "sde"])
@pytest.mark.parametrize(("index", "kind"), [(0, ExactGuidance), (1, MeanEnergyGuidance)])
def test_paths_are_those_of_the_sampler(simulation, method, index, kind):
    settings = SampleSettings(scale=1.5, beta=2.0, steps=12, method=method, particles=60, seed=3)
    paths = finish(simulation.paths(settings))
    noise = initial_noise((60, 2), generator=torch.Generator().manual_seed(3))
    guided = Guided(ExactDenoiser(TOY.truth, simulation.schedule), kind(TOY.truth, 2.0, simulation.schedule), 1.5)
    walk = list(sampling_steps(guided, noise, steps=12, method=method, generator=torch.Generator().manual_seed(3)))
    assert paths.x.shape == (3, 13, 60, 2) and paths.times == [step.t for step in walk]
    apart = (paths.x[index] - torch.stack([step.x for step in walk])).norm(dim=-1)
    assert float(apart.median()) < 2e-3 and float(apart.quantile(0.9)) < 0.05


@pytest.mark.parametrize("parametrisation", ["score", "eps", "x0"])
def test_every_panel_samples_with_a_denoiser_of_ones_own(parametrisation):
    """A denoiser of narrower data on its own schedule: paths are those of the sampler with it."""
    points = 0.5 * torch.randn(40, 2, generator=torch.Generator().manual_seed(1))
    schedule, narrow = VPCosine(), from_points(points, torch.zeros(40))
    denoiser = ExactDenoiser(narrow.truth, schedule, parametrisation)
    simulation = Simulation(TOY, ("exact", "no guidance"), denoiser=denoiser)
    paths = finish(simulation.paths(SampleSettings(scale=1.5, beta=2.0, steps=12, particles=60, seed=3)))
    noise = initial_noise((60, 2), generator=torch.Generator().manual_seed(3))
    exact = ExactGuidance(TOY.truth, 2.0, schedule)
    for panel, guided in enumerate((Guided(denoiser, exact, 1.5), denoiser)):
        apart = (paths.x[panel, -1] - list(sampling_steps(guided, noise, steps=12))[-1].x).norm(dim=-1)
        assert float(apart.median()) < (5e-3 if panel == 0 else 1e-5)


def test_all_panels_start_from_the_same_noise_and_scale_0_never_parts_them(simulation):
    paths = finish(simulation.paths(SampleSettings(scale=0.0, particles=30, steps=5)))
    assert torch.equal(paths.x[0], paths.x[1]) and torch.equal(paths.x[0], paths.x[2])
    guided = finish(simulation.paths(SampleSettings(scale=1.0, particles=30, steps=5)))
    assert torch.equal(guided.x[:, 0], paths.x[:, 0]) and not torch.equal(guided.x[0, -1], guided.x[1, -1])


def test_a_preview_shows_the_first_of_the_same_particles(simulation):
    settings = SampleSettings(particles=300, steps=4)
    preview, full = finish(simulation.paths(settings, preview=True)), finish(simulation.paths(settings))
    torch.testing.assert_close(preview.x, full.x[:, :, :200])


def test_a_preview_keeps_a_guidance_without_a_table_for_some_steps():
    exact, seen = ExactGuidance(TOY.truth, 3.0, VPLinear()), []

    def own(x_t, t):
        seen.append(float(t))
        return exact(x_t, t)

    simulation, settings = Simulation(TOY, {"exact": None, "own": own}), SampleSettings(particles=200, steps=25)
    full = finish(simulation.paths(settings))
    assert len(seen) == 25 and not seen.clear()
    held = finish(simulation.paths(settings, preview=True))
    assert seen == pytest.approx(full.times[:25:3])
    assert torch.equal(held.x[0], full.x[0])  # a table costs little
    apart = (held.x[1, -1] - full.x[1, -1]).norm(dim=-1)
    assert 0 < float(apart.median()) < 0.2


@pytest.mark.parametrize("method", ["dpmpp2m", "sde"])
def test_dropped_particles_follow_the_same_field(simulation, method):
    settings = SampleSettings(particles=5, steps=10, method=method)
    paths = finish(simulation.paths(settings))
    dropped = finish(simulation.drop(paths.x[0, 0].tolist(), 0, settings))
    torch.testing.assert_close(dropped, paths.x, rtol=1e-4, atol=1e-4)
    assert finish(simulation.drop([[0.0, 1.0]], 4, settings)).shape == (3, 7, 1, 2)
    assert finish(simulation.drop([[0.0, 1.0]], 10, settings)).tolist() == [[[[0.0, 1.0]]]] * 3


def test_maps_are_the_fields_of_the_truth(simulation):
    maps = finish(simulation.maps(3.0, simulation.times(6).tolist()))
    x, t = plots.picture_points(TOY, 49), maps.times[3]
    truth, schedule = TOY.truth, simulation.schedule
    brightness = plots.brightness(TOY, truth.tilt(3.0), t, schedule, 49)
    torch.testing.assert_close(maps.target[3], brightness, rtol=0.02, atol=0.01)
    exact = truth.guidance(x, t, 3.0, schedule)
    seen = torch.isfinite(maps.errors[0, 3])
    assert float(relative_error(maps.guidance[0, 3], exact[::2, ::2], maps.score[3])) < 0.02
    assert float(maps.errors[0, 3][seen].max()) == 0.0
    error = (truth.mean_energy_guidance(x, t, 3.0, schedule) - exact).norm(dim=-1)
    ratio = maps.errors[1, 3][seen] / error[seen]
    assert float(ratio.std() / ratio.mean()) < 0.1  # one factor for the whole picture
    change = maps.energies[0, 3] - truth.energy_t(x, t, 3.0, schedule)
    assert float(change[seen].std()) < 0.01  # up to a constant
    torch.testing.assert_close(maps.score[3], truth.score(x, t, schedule)[::2, ::2], rtol=0.02, atol=0.02)


def test_maps_say_how_large_the_score_is_where_the_target_is(simulation):
    times = simulation.times(5).tolist()
    maps, measures = (finish(work(3.0, times)) for work in (simulation.maps, simulation.measure_fields))
    torch.testing.assert_close(maps.size[:-1], measures.score[:-1], rtol=0.1, atol=0)


def test_field_measures_are_the_guidance_errors(simulation):
    times = simulation.times(5).tolist()
    measures = finish(simulation.measure_fields(3.0, times))
    assert measures.errors.shape == measures.guidance.shape == (3, 6) and measures.score.shape == (6,)
    assert float(measures.errors[0].abs().max()) == 0 and float((measures.errors[2] - 1).abs().max()) < 1e-6
    direct = guidance_error(
        MeanEnergyGuidance(TOY.truth, 3.0, simulation.schedule), TOY.truth, times[2], 3.0, simulation.schedule
    )
    assert float(measures.errors[1, 2]) == pytest.approx(float(direct), rel=0.15)


def test_no_error_is_measured_relative_to_a_guidance_that_is_as_good_as_zero(simulation):
    assert bool(torch.isnan(finish(simulation.measure_fields(0.0, [1.0, 0.5])).errors).all())
    rings = finish(Simulation(make_toy("rings"), ("exact", "mean energy")).measure_fields(3.0, [1.0, 0.5]))
    assert bool(torch.isnan(rings.errors[:, 0]).all()) and bool(torch.isfinite(rings.errors[:, 1]).all())
    assert float(rings.guidance[0, 0]) < 1e-3 * float(rings.score[0]) and float(rings.guidance[0, 0]) > 0


def test_finished_samples_are_measured_against_exact_ones(simulation):
    paths = finish(simulation.paths(SampleSettings(particles=1000)))
    measures = finish(simulation.measure_samples(paths, 3.0))
    assert float(measures.mmd2[0]) < 3 * measures.floor < float(measures.mmd2[1]) < float(measures.mmd2[2])
    assert float(measures.modes[0]) < 0.06 < float(measures.modes[2])
    assert float(measures.energy[0]) == pytest.approx(measures.target_energy, abs=0.05)
    assert float(measures.energy[2]) == pytest.approx(0.5, abs=0.05)


def test_exact_samples_are_seldom_above_what_two_exact_sets_reach_by_chance(simulation):
    above = 0
    for seed in range(40):
        measures = finish(simulation.measure_samples(finish(simulation.paths(SampleSettings(particles=300, seed=seed))), 3.0))
        above += float(measures.mmd2[0]) > measures.floor
    assert above <= 3


def test_a_panel_that_fails_leaves_the_others_as_they_are():
    def late(x_t, t):
        if float(t) < 0.5:
            raise KeyError("weights")
        return -x_t

    simulation = Simulation(TOY, {"exact": None, "late": late})
    paths = finish(simulation.paths(SampleSettings(particles=20, steps=8)))
    alone = finish(Simulation(TOY, ("exact",)).paths(SampleSettings(particles=20, steps=8)))
    assert torch.equal(paths.x[0], alone.x[0]) and paths.failures[0] == ""
    assert "late at t = " in paths.failures[1] and "KeyError" in paths.failures[1]
    times = simulation.times(3).tolist()
    maps = finish(simulation.maps(3.0, times))
    assert bool(torch.isnan(maps.errors[1, -1]).all()) and not bool(torch.isnan(maps.errors[0, -1]).all())
    measures = finish(simulation.measure_fields(3.0, times))
    assert bool(torch.isnan(measures.errors[1, -1])) and not bool(torch.isnan(measures.errors[0, -1]))


def test_a_callable_that_changes_its_arguments_in_place_moves_no_other_panel():
    def in_place(x_t, t):
        return x_t.mul_(-1.0) * t.mul_(0.0) if isinstance(t, torch.Tensor) else x_t.mul_(0.0)

    settings = SampleSettings(particles=20, steps=5)
    names = {"exact": None, "mean energy": None}
    both, alone = Simulation(TOY, {"in place": in_place} | names), Simulation(TOY, names)
    torch.testing.assert_close(finish(both.paths(settings)).x[1:], finish(alone.paths(settings)).x)
    times = both.times(3).tolist()
    torch.testing.assert_close(finish(both.maps(3.0, times)).guidance[1:], finish(alone.maps(3.0, times)).guidance)


def test_another_toy_has_the_same_panels_and_untrained_networks():
    mine = Simulation(TOY, {"CEP": None, "mine": torch.neg}, train_steps=2)
    list(mine.estimators.train())
    mine.estimators.choose(["CEP"])
    other = mine.on(make_toy("moons"))
    assert other.estimators.names == ("CEP",) and "mine" in other.estimators.given and other.toy.name == "moons"
    assert (mine.estimators.progress("CEP"), other.estimators.progress("CEP")) == ("trained for β = 3", "not trained yet")


def test_a_field_that_sends_particles_far_out_does_not_overflow():
    simulation = Simulation(TOY, {"wild": lambda x, t: 1e6 * x, "exact": None})
    paths = finish(simulation.paths(SampleSettings(particles=10, steps=30, scale=10.0)))
    assert paths.failures == ["", ""] and bool(torch.isfinite(paths.x[1]).all())
    measures = finish(simulation.measure_samples(paths, 3.0))
    assert bool(torch.isfinite(measures.mmd2).all())


def test_own_points_away_from_the_origin_and_one_particle(schedule):
    x = torch.randn(150, 2, generator=torch.Generator().manual_seed(0)) * 0.3 + torch.tensor([2.0, -1.0])
    simulation = Simulation(from_points(x, x[:, 0], name="mine"), ("exact", "LGD-MC"))
    paths = finish(simulation.paths(SampleSettings(particles=1, steps=6)))
    assert paths.failures == ["", ""] and simulation.gridded.extent > 6
    assert bool(torch.isnan(finish(simulation.measure_samples(paths, 3.0)).mmd2).all())  # one point is no sample


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps: expected"),
        ({"beta": -1.0}, "beta: expected"),
        ({"particles": 0}, "particles: expected"),
        ({"method": "euler"}, "method: expected one of"),
        ({"seed": -1}, "seed: expected"),
        ({"scale": float("nan")}, "scale: expected"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        SampleSettings(**settings)


def test_a_toy_of_other_dimension_is_refused():
    with pytest.raises(ValueError, match="^toy: expected a two-dimensional toy"):
        Simulation(from_points(torch.zeros(3, 3), torch.zeros(3)), ("exact",))


def test_panels_with_and_without_tables_walk_side_by_side():
    """A callable that is the exact guidance in disguise ends where the looked-up one does, and beside it nothing changes."""
    toy = make_toy("8gaussians")
    exact = ExactGuidance(toy.truth, 3.0, VPLinear())
    both = Simulation(toy, {"exact": None, "disguised": lambda x, t: exact(x, t), "no guidance": None})
    alone = Simulation(toy, ("exact", "no guidance"))
    settings = SampleSettings(particles=100, steps=10)
    (mixed, pure) = (finish(simulation.paths(settings)).x for simulation in (both, alone))
    torch.testing.assert_close(mixed[[0, 2]], pure)
    assert float((mixed[0, -1] - mixed[1, -1]).norm(dim=-1).median()) < 5e-3
