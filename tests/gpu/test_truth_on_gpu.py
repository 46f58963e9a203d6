"""Ground truth, fields, samplers and measures on the device are those of the CPU."""

import pytest
import torch
from checks import all_fields, noisy_points, seeded, toy_named

from cepkit.diffusion.guidance import DPSGuidance, Guided, LGDGuidance
from cepkit.diffusion.sampling import METHODS, initial_noise, sampling_steps
from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.truth.fields import ExactDenoiser, ExactGuidance, MeanEnergyGuidance
from cepkit.truth.metrics import guidance_error, mmd2, mmd2_null_band, mode_masses, sliced_wasserstein

LINEAR = VPLinear()


@pytest.mark.parametrize("t", [0.01, 0.3, 0.9])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-3)])
def test_every_field_of_the_truth(device, toy, t, dtype, tolerance):
    x = noisy_points(toy.truth, t, n=400, dtype=dtype)
    here, there = all_fields(toy.truth, x, t, 3.0), all_fields(toy.truth, x.to(device), t, 3.0)
    for name, value in here.items():
        assert there[name].device.type == device.type and there[name].dtype == dtype, name
        off = (there[name].cpu() - value).abs().max() / (1 + value.abs().max())
        assert float(off) < tolerance, f"{name}: {float(off):.1e}"


def test_a_time_for_each_row_and_the_gradient_through_it(device, toy):
    x, t = noisy_points(toy.truth, 0.3, n=50), torch.linspace(0.05, 0.95, 50, dtype=torch.float64)
    here = toy.truth.energy_t(x, t, 3.0, LINEAR)
    x = x.to(device).requires_grad_()
    there = toy.truth.energy_t(x, t.to(device), 3.0, LINEAR)
    torch.testing.assert_close(there.detach().cpu(), here, rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(there.sum(), x)
    torch.testing.assert_close(-gradient, toy.truth.guidance(x.detach(), t.to(device), 3.0, LINEAR), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_samplers(device, method):
    """Deterministic samplers end at the same points; the stochastic one draws other noise on another device."""
    truth = toy_named("8gaussians").truth
    guided = Guided(ExactDenoiser(truth, VPCosine()), ExactGuidance(truth, 3.0, VPCosine()), 2.0)
    x = initial_noise((300, 2), generator=seeded(), dtype=torch.float64)
    *_, here = sampling_steps(guided, x, steps=15, method=method, generator=seeded(1))
    there_generator = torch.Generator(device).manual_seed(1)
    *_, there = sampling_steps(guided, x.to(device), steps=15, method=method, generator=there_generator)
    assert there.x.device.type == device.type
    if method == "sde":
        assert float(mode_masses(there.x.cpu(), truth)[7]) == pytest.approx(float(mode_masses(here.x, truth)[7]), abs=0.1)
    else:
        torch.testing.assert_close(there.x.cpu(), here.x, rtol=1e-6, atol=1e-6)


def test_approximate_guidances_and_measures(device):
    toy = toy_named("swissroll")
    denoiser = ExactDenoiser(toy.truth, LINEAR)
    for guidance in (
        MeanEnergyGuidance(toy.truth, 3.0, LINEAR),
        DPSGuidance(denoiser, toy.energy, 3.0),
        LGDGuidance(denoiser, toy.energy, 3.0),
    ):
        here = guidance_error(guidance, toy.truth, 0.3, 3.0, LINEAR, generator=seeded(), dtype=torch.float64)
        generator = torch.Generator(device).manual_seed(0)
        there = guidance_error(guidance, toy.truth, 0.3, 3.0, LINEAR, generator=generator, dtype=torch.float64)
        assert float(there) == pytest.approx(float(here), rel=0.1)
    x, y = (toy.sample(600, generator=seeded(seed))[0] for seed in (0, 1))
    for distance in (mmd2, sliced_wasserstein):
        assert float(distance(x.to(device), y.to(device))) == pytest.approx(float(distance(x, y)), rel=1e-3, abs=1e-6)
    band = mmd2_null_band(x.to(device), y.to(device), permutations=50, generator=torch.Generator(device).manual_seed(0))
    assert band.low < band.high


def test_a_toy_draws_on_the_device_of_its_generator(device, toy):
    x, energy = toy.sample(1000, generator=torch.Generator(device).manual_seed(0))
    assert x.device.type == energy.device.type == device.type
    assert toy.truth.sample(10, generator=torch.Generator(device).manual_seed(0))[0].device.type == device.type


def test_speed_of_the_truth(device, row, seconds, full):
    x = torch.randn(1_000_000 if full else 1000, 2, device=device)
    for name in ("8gaussians", "rings", "2spirals"):
        truth = toy_named(name).truth
        truth.guidance(x[:10], 0.1, 3.0, LINEAR)
        spent = seconds(lambda truth=truth: truth.guidance(x, 0.1, 3.0, LINEAR))
        row(f"exact guidance of {name} at {len(x):,} points, t = 0.1, float32", f"{1e3 * spent:.0f} ms")
