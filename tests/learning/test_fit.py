"""One network being fitted: Adam as torch has it, the learning rate's shape, the moving average, and going on."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from cepkit.learning.loop import Stage
from cepkit.learning.networks import Fit
from cepkit.learning.run import restore, state_of

SETTINGS = {"learning_rate": 0.1, "steps": 50, "warmup": 4, "ema": 0.9}


def line(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(2, 1)


def stage_of(fit):
    stage = Stage("line", 50, torch.device("cpu"), hint="")
    stage.fits["line"], stage.index = fit, fit.index
    return stage


def losses(fit, start, stop):
    """Steps on a line to be found, each with a draw of its own."""
    for index in range(start, stop):
        x = torch.randn(16, 2, generator=torch.Generator().manual_seed(index))
        fit.step((fit.network(x)[:, 0] - x[:, 0] - 1).square().mean())
    return fit


def test_the_learning_rate_rises_over_the_warmup_and_falls_to_zero():
    fit = Fit(line(), **SETTINGS)
    rates = [fit.learning_rate(index) for index in range(51)]
    assert rates[:4] == pytest.approx([0.02, 0.04, 0.06, 0.08], rel=0.02) and max(rates) == rates[4] <= 0.1
    assert rates[25] == pytest.approx(0.05) and rates[50] == pytest.approx(0, abs=1e-12)
    assert all(a > b for a, b in pairwise(rates[4:]))


def test_steps_are_those_of_torch_s_own_adam():
    fit, other = losses(Fit(line(), **SETTINGS), 0, 20), line()
    adam = torch.optim.Adam(other.parameters(), betas=(0.9, 0.99))
    for index in range(20):
        x = torch.randn(16, 2, generator=torch.Generator().manual_seed(index))
        adam.param_groups[0]["lr"] = fit.learning_rate(index)
        adam.zero_grad()
        (other(x)[:, 0] - x[:, 0] - 1).square().mean().backward()
        adam.step()
    torch.testing.assert_close(fit.network.weight, other.weight)
    torch.testing.assert_close(fit.network.bias, other.bias)


def test_the_average_is_the_moving_average_of_the_weights():
    fit = Fit(line(), **SETTINGS)
    expected = fit.network.weight.detach().clone()
    for index in range(1, 31):
        losses(fit, index, index + 1)
        decay = min(0.9, index / (index + 10))
        expected = decay * expected + (1 - decay) * fit.network.weight.detach()
    torch.testing.assert_close(fit.average.weight, expected)
    assert not fit.average.weight.requires_grad and not fit.average.training


def test_a_fit_finds_the_line():
    fit = losses(Fit(line(), **{**SETTINGS, "steps": 300}), 0, 300)
    torch.testing.assert_close(fit.average.weight, torch.tensor([[1.0, 0.0]]), rtol=0, atol=0.02)
    torch.testing.assert_close(fit.average.bias, torch.tensor([1.0]), rtol=0, atol=0.02)


@pytest.mark.parametrize("at", [0, 1, 13])
def test_a_fit_taken_up_again_goes_on_to_the_bit(at):
    whole, half = losses(Fit(line(), **SETTINGS), 0, 30), losses(Fit(line(), **SETTINGS), 0, at)
    kept = {name: value.clone() for name, value in state_of(stage_of(half)).items()}
    resumed = Fit(line(seed=1), **SETTINGS)
    restore(stage_of(resumed), kept, at)
    ended = state_of(stage_of(losses(resumed, at, 30)))
    for name, value in state_of(stage_of(whole)).items():
        assert torch.equal(ended[name], value), name


def test_the_state_holds_weights_average_and_both_moments_from_the_first_step_on():
    names = {f"line.{kind}.{part}" for kind in ("network", "average") for part in ("weight", "bias")}
    names |= {f"line.adam.{part}.{what}" for part in ("weight", "bias") for what in ("step", "exp_avg", "exp_avg_sq")}
    fresh, later = (state_of(stage_of(losses(Fit(line(), **SETTINGS), 0, stop))) for stop in (0, 3))
    assert fresh.keys() == later.keys() == names
    assert float(later["line.adam.weight.step"]) == 3 and float(fresh["line.adam.weight.exp_avg_sq"].abs().max()) == 0
