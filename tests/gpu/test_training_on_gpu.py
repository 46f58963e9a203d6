"""Toy training on the device: the same losses as on the CPU at the first steps, the same quality at the end, and its speed."""

import pytest
import torch
from checks import seeded, toy_named

from cepkit.diffusion.guidance import Guided
from cepkit.diffusion.process import Perturbed
from cepkit.diffusion.sampling import sample
from cepkit.diffusion.schedules import VPLinear
from cepkit.learning import MLPDenoiser, MLPEnergy, Training, TrainingConfig, cep_loss, denoising_loss
from cepkit.truth.metrics import ErrorProbe

CONFIG = TrainingConfig(beta=3.0, steps=2500)


def test_losses_and_their_gradients(device):
    toy, schedule = toy_named("moons"), VPLinear()
    x, energy = (value.reshape(4, 16, *value.shape[1:]) for value in toy.sample(64, generator=seeded()))
    t = torch.tensor([0.05, 0.2, 0.5, 0.9])
    found = {}
    for place in (torch.device("cpu"), device):
        torch.manual_seed(0)
        denoiser, net = MLPDenoiser(2, schedule).to(place), MLPEnergy(2, schedule).to(place)
        x_t, at = x.to(place), t.to(place)
        loss = cep_loss(net(x_t, at), energy.to(place), 3.0)[0]
        loss = loss + denoising_loss(denoiser, Perturbed(x_t, torch.zeros_like(x_t)), at)[0]
        loss.backward()
        slopes = [p.grad.cpu().flatten() for p in (*net.parameters(), *denoiser.parameters()) if p.grad is not None]
        found[place.type] = (float(loss.detach()), torch.cat(slopes))
    (one, slope), (other, other_slope) = found["cpu"], found[device.type]
    assert other == pytest.approx(one, rel=1e-4)
    assert float((slope - other_slope).norm() / slope.norm()) < 1e-3


@pytest.mark.parametrize("name", ["8gaussians", "moons"])
def test_a_whole_training(device, name, row, seconds, full):
    toy = toy_named(name)
    x, energy = toy.sample(1_000_000 if full else 20_000, generator=seeded())
    config = CONFIG if full else TrainingConfig(beta=3.0, steps=60)
    training = Training(x.to(device), energy.to(device), config)
    spent = seconds(lambda: [None for _ in training])
    assert next(training.energy_net.parameters()).device.type == device.type
    probe = ErrorProbe(toy.truth, 3.0, config.schedule, generator=torch.Generator(device).manual_seed(7))
    error = float(probe(training.guidance).mean())
    row(f"training both networks, {name}, {config.steps} steps", f"{spent:.1f} s; guidance error {error:.3f}")
    if full:
        assert error < 0.1
    generator = torch.Generator(device).manual_seed(0)
    samples = sample(Guided(training.denoiser, training.guidance), (2000, 2), generator=generator)
    assert samples.device.type == device.type and bool(torch.isfinite(samples).all())
