"""A value must depend on its point and the noise level alone: not on chance, nor on the batch, nor on the mode of a module."""

import re

import numpy as np
import pytest
import torch
from checks import seeded, toy_named
from torch import nn

from cepkit.debugger import FieldDebugger
from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.fields import ExactDenoiser, ExactGuidance

SCHEDULE = VPLinear()
TOY = toy_named("8gaussians")
DENOISER = ExactDenoiser(TOY.truth, SCHEDULE)
EXACT = ExactGuidance(TOY.truth, 3.0, SCHEDULE)


def report(guidance=EXACT, **settings):
    given = {"score": DENOISER, "truth": TOY.truth, "beta": 3.0, "particles": 64, "times": (0.05, 0.2, 0.8), "steps": 12}
    return FieldDebugger(guidance=guidance, schedule=SCHEDULE, domain=4.5, **{**given, **settings}).run()


def caused(found, cause):
    return next(item for item in found.findings if item.cause == cause)


def gradient_of(function):
    def guidance(x, t):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            return -torch.autograd.grad(function(x, t), x)[0]

    return guidance


def noisy(share):
    return lambda x, t: EXACT(x, t) * (1 + share * torch.randn_like(x))


class Network(nn.Module):
    """The exact guidance, if the part behind it lets it pass."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x, t):
        return self.part(EXACT(x, t))


# -- chance ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3])
def test_the_size_of_fresh_noise_is_measured(share):
    found = report(noisy(share))
    item = caused(found, "random")
    assert item.severity == ("warning" if share < 0.1 else "error")
    assert 0.5 < item.figure / (2**0.5 * share) < 2  # two independent draws; a few large values of the field decide
    assert found.finding("curl").severity == "note"  # noise is no rotation
    assert found.finding("steps").severity == "ok"  # one field for each seed


def test_noise_of_numpy_and_memory_of_earlier_calls_are_chance_too():
    draws, calls = np.random.default_rng(0), []

    def remembering(x, t):
        calls.append(t)
        return EXACT(x, t) * (1 + 0.2 * (len(calls) % 2))

    for guidance in (remembering, lambda x, t: EXACT(x, t) + torch.as_tensor(draws.normal(size=x.shape)).to(x)):
        found = report(guidance)
        assert "seeds of torch do not matter" in caused(found, "random").message
        assert found.finding("steps").severity == "note"


def test_a_random_callable_leaves_the_global_generator_and_the_report_as_they_are():
    torch.manual_seed(3)
    first = report(noisy(0.1))
    torch.manual_seed(4)
    second = report(noisy(0.1))
    assert [item.message for item in first.findings] == [item.message for item in second.findings]


@pytest.mark.parametrize("name", ["guidance", "score", "energy"])
def test_chance_is_found_in_every_callable(name):
    exact = {"guidance": EXACT, "score": DENOISER, "energy": EXACT.energy}[name]
    found = report(**{name: lambda x, t: exact(x, t) + torch.randn(exact(x, t).shape)})
    assert f"The {name} is random" in caused(found, "random").message


# -- the mode of modules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("make", [lambda: nn.Dropout(0.1), lambda: nn.BatchNorm1d(2)])
def test_a_module_in_training_mode_is_named_and_the_rest_is_of_evaluation_mode(make, bound):
    network = Network(make()).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = report((lambda x, t: network(x, t)) if bound else network)
    assert "model.eval()" in caused(found, "training mode").remedy and "random" not in found.causes
    assert found.finding("truth-guidance").severity == "ok"
    assert network.training and network.part.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_training_mode_that_changes_nothing_is_no_fault():
    assert report(Network(nn.Identity()).train()).worst == "ok"


def test_what_evaluation_mode_does_not_mend_is_found_behind_it():
    dropout = nn.Dropout(0.1).train()
    found = report(gradient_of(lambda x, t: dropout(EXACT.energy(x, t)).mean()))
    assert {"training mode", "batch size"} <= set(found.causes)


# -- the batch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guidance", "factor"),
    [
        (gradient_of(lambda x, t: EXACT.energy(x, t).mean()), "2 times"),
        (lambda x, t: len(x) * EXACT(x, t), "0.5 times"),
        (lambda x, t: EXACT(x, t) / len(x) ** 0.5, "1.41 times"),
    ],
)
def test_a_dependence_on_the_number_of_points_is_measured(guidance, factor):
    item = caused(report(guidance), "batch size")
    assert item.severity == "error" and factor in item.message and "energy.sum()" in item.remedy


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.flip(0),
        lambda value: value.roll(1, 0),
        lambda value: value[value[:, 0].argsort()],
        lambda value: value[torch.randperm(len(value))],
    ],
)
def test_rows_that_come_back_in_another_order_are_found(change):
    found = report(lambda x, t: change(EXACT(x, t)))
    assert caused(found, "batch order").severity == "error" and "batch" not in found.causes


def attention(value):
    return value + torch.softmax(value @ value.T, -1) @ value


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.mean(0).expand_as(value),
        lambda value: value - value.mean(0),
        lambda value: value / value.norm(),
        attention,
        lambda value: value * (1 + 0.3 * torch.rand(value.shape, generator=seeded())),  # by the place in the batch
    ],
)
def test_a_dependence_on_the_other_points_is_found(change):
    found = report(lambda x, t: change(EXACT(x, t)))
    assert caused(found, "batch").severity in ("warning", "error")
    assert "batch size" not in found.causes and "random" not in found.causes


def test_an_energy_that_is_divided_by_the_number_of_points_is_found():
    assert "batch size" in report(energy=lambda x, t: EXACT.energy(x, t) / len(x)).causes


def test_a_large_constant_in_an_energy_and_rounding_in_half_precision_are_no_dependence_on_the_batch():
    layers = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 2)).bfloat16()
    found = report(lambda x, t: layers(x.bfloat16()).float(), energy=lambda x, t: EXACT.energy(x, t) + 1e6)
    assert not {"random", "batch", "batch size", "batch order"} & set(found.causes)


def test_a_callable_that_fails_for_a_single_point_is_found():
    assert "in a batch of 1" in caused(report(lambda x, t: EXACT(x, t).squeeze()), "shape").message


# -- what is not finite ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.0), (0.45, 0.55), (0.0, 0.01)])
def test_the_range_of_noise_levels_without_values_is_named_though_no_map_is_drawn_there(low, high):
    def guidance(x, t):
        return torch.full_like(x, torch.nan) if low <= float(t) <= high else EXACT(x, t)

    item = caused(report(guidance, steps=40), "non-finite")
    assert item.severity == "error" and low <= item.t <= high
    first, last = re.search(r"from t = ([\d.]+) to ([\d.]*\d)", item.message).groups()
    assert low <= float(first) < float(last) <= high


def test_a_write_into_the_points_that_changed_nothing_here_is_a_warning():
    item = caused(report(lambda x, t: EXACT(x.clamp_(-100, 100), t)), "in place")
    assert item.severity == "warning"
