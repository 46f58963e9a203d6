"""A training says where its guidance is worse than what needs no training, and is silent elsewhere."""

import math

import pytest
import torch
from checks import seeded, toy_named

from cepkit import from_points
from cepkit.learning import Training, TrainingConfig, start_run
from cepkit.learning.data_source import DataSource
from cepkit.learning.sufficiency import shortfall
from cepkit.truth.metrics import ErrorProbe

TIMES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
WORSE = "the learned guidance is worse than the exact mean energy or than no guidance"
TINY = {"steps": 30, "groups": 4, "contrasts": 32, "width": 16, "parts": ("energy",)}


def islands(dim=10, n=600):
    """Points in many dimensions, each an island of its own when there is little noise, with an energy that leans to one side."""
    x = torch.randn(n, dim, generator=seeded())
    return from_points(x, x[:, 0], std=0.3)


def training_on(toy, *, truth=None, **settings):
    config = TrainingConfig(**{**TINY, **settings})
    return Training(*toy.sample(20_000, generator=seeded(1)), config, truth=truth)


def finish(training):
    for _ in training:
        pass
    return training


# -- in words ----------------------------------------------------------------------------------------------------------


def test_nothing_is_said_where_the_guidance_is_nearer_than_the_mean_energy():
    assert shortfall(TIMES, [0.2, 0.2, 0.1, 0.1, 0.0, 0.0], [0.3] * 6) == ""
    assert shortfall(TIMES, [0.04] * 6, [0.0] * 6) == ""  # so near that it hardly matters which is nearer


def test_small_noise_levels_are_a_range_and_others_a_list_each_with_both_errors():
    assert shortfall(TIMES, [0.53, 0.52, 0.29, 0.12, 0.04, 0.0], [0.5, 0.5, 0.4, 0.4, 0.4, 0.4]).startswith(
        f"at t <= 0.1 {WORSE}: its error is 0.53 at t = 0.05 (mean energy: 0.5), 0.52 at t = 0.1 (mean energy: 0.5); "
    )
    assert shortfall(TIMES, [0.1, 0.1, 0.5, 0.1, 0.5, 0.1], [0.4] * 6).startswith(f"at t = 0.2, 0.6 {WORSE}")


def test_a_guidance_worse_than_none_is_named_where_the_mean_energy_is_worse_still():
    assert shortfall((0.1,), [1.2], [3.0]).startswith("at t <= 0.1")


def test_an_error_that_is_not_a_number_is_no_success():
    assert "nan at t = 0.1" in shortfall((0.1,), [math.nan], [0.5])


# -- after a training --------------------------------------------------------------------------------------------------


def test_six_hundred_points_in_ten_dimensions_do_not_suffice_and_the_training_says_so():
    toy = islands()
    with pytest.warns(UserWarning, match=rf"^at t <= 0\.\d+ {WORSE}: its error is .* at t = 0.05 .*needs no training$"):
        training = finish(training_on(toy, truth=toy.truth, steps=300))
    probe = ErrorProbe(toy.truth, 3.0, training.config.schedule, n=2048, generator=seeded(3))
    assert float(probe(training.guidance)[0]) > float(probe.mean_energy[0])


@pytest.mark.slow
@pytest.mark.parametrize("energy", ["linear", "quadratic"])
@pytest.mark.parametrize(("dim", "enough"), [(3, True), (10, False)])
def test_with_default_settings_the_guidance_beats_the_mean_energy_or_the_training_says_so(dim, enough, energy, recwarn):
    x = torch.randn(600, dim, generator=seeded())
    toy = from_points(x, x[:, 0] if energy == "linear" else x.square().mean(-1), std=0.3)
    config = TrainingConfig(parts=("energy",))
    training = finish(Training(*toy.sample(100_000, generator=seeded(1)), config, truth=toy.truth))
    probe = ErrorProbe(toy.truth, config.beta, config.schedule, generator=seeded(2))
    errors = probe(training.guidance)
    said = [str(warning.message) for warning in recwarn if WORSE in str(warning.message)]
    assert bool((errors <= probe.mean_energy.clamp_min(0.05)).all()) == enough and len(said) == (not enough)


def test_a_toy_in_two_dimensions_suffices_and_nothing_is_said():
    """Warnings are errors here."""
    toy = toy_named("8gaussians")
    finish(training_on(toy, truth=toy.truth, steps=200, groups=16, contrasts=128, width=64))


def test_in_many_dimensions_without_a_truth_it_says_that_nobody_knows():
    toy = islands(dim=4, n=50)
    with pytest.warns(UserWarning, match="^in 4 dimensions the learned guidance may be worse than none at small t"):
        finish(training_on(toy))
    finish(training_on(islands(dim=3, n=50)))


@pytest.mark.parametrize("settings", [{"objective": "MSE"}, {"parts": ("denoiser",)}])
def test_what_is_no_guidance_or_no_intermediate_energy_is_not_judged(settings):
    toy = islands(dim=5, n=50)
    finish(training_on(toy, truth=toy.truth, **settings))
    finish(training_on(toy, **settings))


def test_it_is_said_once_after_the_last_step():
    training = training_on(islands(dim=5, n=50))
    for step in training:
        if step.index == 10:
            break
    with pytest.warns(UserWarning, match="in 5 dimensions") as said:
        finish(training)
    finish(training)
    assert len(said) == 1


def test_a_run_in_a_folder_knows_its_truth(tmp_path):
    x = torch.randn(100, 10, generator=seeded())
    table = torch.cat([x, x[:, :1]], 1).tolist()
    (tmp_path / "points.csv").write_text("\n".join(",".join(map(str, row)) for row in table))
    source = DataSource(str(tmp_path / "points.csv"), n=5000, std=0.3)
    with pytest.warns(UserWarning, match=WORSE):
        finish(start_run(tmp_path / "run", TrainingConfig(**TINY, beta=1.0), source))
