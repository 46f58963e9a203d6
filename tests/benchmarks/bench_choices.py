"""The choices that notebooks 04 and 05 give numbers for: losses over several seeds, and parts of the training undone."""

import statistics
import time
from dataclasses import replace

import pytest
import torch
from checks import seeded, toy_named

from cepkit.diffusion.schedules import VPLinear
from cepkit.learning import DataSource, Training, TrainingConfig
from cepkit.truth.metrics import ErrorProbe

ENERGY_ONLY = TrainingConfig(parts=("energy",))
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def data():
    return DataSource("8gaussians").draw()


def errors_of(data, config, change=lambda network: None):
    """The mean error of each seed."""
    found = []
    probe = ErrorProbe(toy_named("8gaussians").truth, config.beta, VPLinear(), n=20_000, generator=seeded(7))
    for seed in SEEDS:
        training = Training(*data, replace(config, seed=seed))
        for network in (training.fits["energy"].network, training.energy_net):
            change(network)
        for _ in training:
            pass
        found.append(float(probe(training.guidance).mean()))
    return found


def compare(row, what, first, second):
    ratio = statistics.mean(second) / statistics.mean(first)
    shown = " against ".join(" ".join(f"{error:.3f}" for error in errors) for errors in (second, first))
    row(f"{what}, 8gaussians, seeds 0 1 2", "reported", f"{shown}: {ratio:.2f} times the error", True)


@pytest.mark.parametrize("beta", [3.0, 10.0, 20.0])
def test_exp_mse_against_cep(row, data, beta):
    """As in notebook 04: neither pooling nor the Gaussian guess."""
    plain = replace(ENERGY_ONLY, beta=beta, steps=800, contrasts=64, pooled=False, gaussian_guess=False)
    compare(
        row, f"exp-MSE against CEP, beta = {beta:g}", errors_of(data, plain), errors_of(data, replace(plain, objective="exp-MSE"))
    )


def test_choices_undone(row, data):
    config = replace(ENERGY_ONLY, steps=1500)
    chosen = errors_of(data, config)
    compare(row, "labels not pooled, 1500 steps", chosen, errors_of(data, replace(config, pooled=False)))
    compare(row, "time as a shift only, 1500 steps", chosen, errors_of(data, config, change=without_scale))
    compare(row, "four layers instead of three, 1500 steps", chosen, errors_of(data, replace(config, layers=4)))
    compare(row, "width 96 instead of 64, 1500 steps", chosen, errors_of(data, replace(config, width=96)))


def without_scale(network):
    def shift_only(layer, inputs, output):
        scale, shift = output.chunk(2, -1)
        return torch.cat([torch.zeros_like(scale), shift], -1)

    for film in network.films:
        film.register_forward_hook(shift_only)


@pytest.mark.filterwarnings("ignore")
def test_torch_compile(row, data):
    def pace(training, steps=150):
        walk = iter(training)
        start = time.perf_counter()
        next(walk)
        first = time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(steps):
            next(walk)
        return first, (time.perf_counter() - start) / steps

    plain, compiled = (Training(*data, ENERGY_ONLY) for _ in range(2))
    network = compiled.fits["energy"].network
    network.forward = torch.compile(network.forward)
    (_, without), (first, step) = pace(plain), pace(compiled)
    row("torch.compile", "reported", f"{first:.0f} s to start, then {step / without:.2f} times the time of a step", True)
