"""Faults of networks: small ones that are trained here in a few seconds, and how people call them."""

import copy
import math
from functools import cache
from types import SimpleNamespace

import torch
from checks import seeded
from planting import ANOTHER_ENERGY, UNNAMED, Case, planter, world
from torch import nn

from cepkit.debugger import from_diffusers, from_module
from cepkit.diffusion.guidance import LearnedGuidance
from cepkit.diffusion.process import perturb
from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.learning.loop import Training, TrainingConfig
from cepkit.learning.networks import MLPEnergy

CASES: dict[str, Case] = {}
plant = planter(CASES)
MEAN, STD = torch.tensor([0.4, -0.2]), 1.6  # of somebody's standardised data


# -- networks --------------------------------------------------------------------------------------------------------


class EpsNet(nn.Module):
    """A small network eps(x (n, D), t (n,)) for times up to `last`, written as one writes it oneself."""

    def __init__(self, dim=2, width=96, *, dropout=0.0, norm=False):
        super().__init__()
        self.last = 1.0
        self.register_buffer("frequencies", 2.0 ** torch.arange(5) * math.pi / 2)
        layers, wide = [], dim + 10
        for _ in range(3):
            layers += [nn.Linear(wide, width), *([nn.BatchNorm1d(width)] if norm else []), nn.SiLU(), nn.Dropout(dropout)]
            wide = width
        self.net = nn.Sequential(*layers, nn.Linear(width, dim))

    def forward(self, x, t):
        phase = (t.to(x) / self.last)[:, None] * self.frequencies
        return self.net(torch.cat([x, phase.sin(), phase.cos()], -1))


@cache
def eps_net(name, *, cosine=False, standardised=False, dropout=0.0, norm=False, steps=1600):
    """An `EpsNet` trained on the points of a world by denoising score matching."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        net = EpsNet(dropout=dropout, norm=norm)
        schedule = VPCosine() if cosine else VPLinear()
        data = world(name).toy.sample(20000, generator=seeded(5))[0]
        data = (data - MEAN) / STD if standardised else data
        adam = torch.optim.Adam(net.parameters(), 1e-2)
        rate = torch.optim.lr_scheduler.OneCycleLR(adam, 1e-2, total_steps=steps)
        for _ in range(steps):
            t = 1e-3 + (1 - 1e-3) * ((torch.arange(512) + torch.rand(512)) / 512) ** 2
            x_t, eps = perturb(data[torch.randint(len(data), (512,))], t, schedule)
            loss = (net(x_t, t) - eps).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            rate.step()
    return net.eval().requires_grad_(False)


def to_a_thousand(net):
    """The same network for times from 0 to 1000."""
    copied = copy.deepcopy(net)
    copied.last = 1000.0
    return copied


@cache
def trained(name, beta=3.0, objective="CEP", *, parts=("denoiser", "energy"), steps=500, flip=False, standardised=False):
    """A finished `Training` on the points of a world."""
    x, energy = world(name).toy.sample(4000, generator=seeded(5))
    x, energy = (x - MEAN) / STD if standardised else x, -energy if flip else energy
    training = Training(x, energy, TrainingConfig(beta=beta, objective=objective, parts=parts, steps=steps))
    for _ in training:
        pass
    return training


@cache
def label_net(name):
    """The energies as a function of clean points, by regression."""
    x, energy = world(name).toy.sample(4000, generator=seeded(6))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        adam = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(400):
            rows = torch.randint(len(x), (256,))
            loss = (net(x[rows]).squeeze(-1) - energy[rows]).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
    return net.requires_grad_(False)


def gradient(energy):
    """Minus the gradient of energy(x, t), summed over the points."""

    def guidance(x, t):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            return -torch.autograd.grad(energy(x, t).sum(), x)[0]

    return guidance


# -- energy nets -----------------------------------------------------------------------------------------------------


@plant("guidance", "sign", "another beta", at="moons", blind=ANOTHER_ENERGY)
def trained_on_rewards(w):
    run = trained("moons", flip=True, parts=("energy",))
    return {"guidance": run.guidance}


@plant("guidance", "mean energy", at="8gaussians", beta=8.0)
def regression_on_noisy_points(w):
    run = trained("8gaussians", w.beta, "MSE", parts=("energy",))
    return {"guidance": run.guidance}


@plant("guidance", "another beta", at="moons", beta=6.0, blind=ANOTHER_ENERGY)
def trained_at_another_beta(w):
    return {"guidance": trained("moons").guidance}


@plant("guidance", "time reversed", at="moons")
def energy_net_called_with_one_minus_t(w):
    run = trained("moons")
    guidance = lambda x, t: run.guidance(x, (1 - t).clamp(1e-3, 1))  # noqa: E731
    return {"score": run.denoiser, "guidance": guidance, "energy": run.guidance.energy}


@plant("guidance", "factor", at="moons")
def energy_net_weighted_by_sigma(w):
    run = trained("moons")
    guidance = lambda x, t: w.sigma(t) * run.guidance(x, t)  # noqa: E731
    return {"score": run.denoiser, "guidance": guidance, "energy": run.guidance.energy}


@plant("guidance", "batch size", at="moons", symptoms=("factor",))
def energy_net_averaged_over_the_batch(w):
    run = trained("moons")

    def guidance(x, t):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            return -torch.autograd.grad(run.energy_net(x, t).mean(), x)[0]

    return {"score": run.denoiser, "guidance": guidance, "energy": run.guidance.energy}


@plant("guidance", "input scaled", "input shifted", at="moons", blind=ANOTHER_ENERGY)
def energy_net_of_standardised_data(w):
    run = trained("moons", standardised=True, parts=("energy",))
    return {"guidance": run.guidance}


@plant("guidance", "missing noise levels", at="moons")
def energy_net_stopped_late_in_the_noise(w):
    run = trained("moons")
    guidance = lambda x, t: run.guidance(x, t) * (t < 0.4).to(x)  # noqa: E731
    return {"score": run.denoiser, "guidance": guidance, "energy": run.guidance.energy}


@plant("guidance", "clean energy", "time fixed", at="8gaussians")
def regression_on_clean_points(w):
    net = label_net("8gaussians")
    return {"guidance": gradient(lambda x, t: w.beta * net(x).squeeze(-1))}


@plant("guidance", "clean energy", "time fixed", at="moons", beta=5.0)
def regression_on_clean_moons(w):
    net = label_net("moons")
    return {"score": trained("moons").denoiser, "guidance": gradient(lambda x, t: w.beta * net(x)[:, 0])}


@plant("guidance", "DPS", at="8gaussians", beta=2.0)
def regression_at_the_denoised_point(w):
    net = label_net("8gaussians")
    return {"guidance": gradient(lambda x, t: w.beta * net((x + w.sigma(t) ** 2 * w.score(x, t)) / w.alpha(t))[:, 0])}


@plant("guidance", UNNAMED, at="moons", blind=ANOTHER_ENERGY)
def weights_never_loaded(w):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = MLPEnergy(2, w.schedule)
    nn.init.normal_(net.last.weight, std=1.0, generator=seeded(2))
    return {"guidance": LearnedGuidance(net.requires_grad_(False), w.schedule)}


# -- denoisers -------------------------------------------------------------------------------------------------------


@plant("score", "random", "training mode", at="8gaussians")
def dropout_left_on(w):
    net = copy.deepcopy(eps_net("8gaussians", dropout=0.1, steps=600)).train()
    return {"score": lambda x, t: -net(x, t.expand(len(x))) / w.sigma(t).to(x), "guidance": None}


@plant("score", "batch", "training mode", at="8gaussians")
def batch_norm_left_in_training(w):
    net = copy.deepcopy(eps_net("8gaussians", norm=True, steps=600)).train()
    return {"score": lambda x, t: -net(x, t.expand(len(x))) / w.sigma(t).to(x), "guidance": None}


@plant("score", "parametrisation", at="8gaussians")
def eps_net_declared_x0(w):
    return {"score": from_module(eps_net("8gaussians"), w.schedule, "x0"), "guidance": None}


@plant("score", "factor", "parametrisation", at="8gaussians")
def eps_net_as_it_is(w):
    net = eps_net("8gaussians")
    return {"score": lambda x, t: net(x, t.to(x).expand(len(x)))}


@plant("score", "time scaled", "time fixed", at="8gaussians")
def index_expected_time_given(w):
    return {"score": from_module(to_a_thousand(eps_net("8gaussians")), w.schedule, "eps"), "guidance": None}


@plant("score", "another schedule", at="8gaussians")
def eps_net_trained_with_cosine(w):
    return {"score": from_module(eps_net("8gaussians", cosine=True), w.schedule, "eps"), "guidance": None}


@plant("score", "input scaled", "input shifted", at="8gaussians")
def eps_net_of_standardised_data(w):
    return {"score": from_module(eps_net("8gaussians", standardised=True), w.schedule, "eps"), "guidance": None}


@plant("score", "time reversed", at="moons")
def denoiser_called_with_one_minus_t(w):
    run = trained("moons")
    return {"score": from_module(run.denoiser, w.schedule, run.denoiser.parametrisation, time=lambda t: 1 - t)}


class UNet(nn.Module):
    """A network with the interface of diffusers for images of 2 x 1 x 1, timesteps 0 to 999."""

    def __init__(self, net):
        super().__init__()
        self.net, self.config = net, SimpleNamespace(in_channels=2, sample_size=1)

    def forward(self, sample, timestep):
        return SimpleNamespace(sample=self.net(sample[:, :, 0, 0], timestep)[:, :, None, None])


def scheduler(prediction="epsilon", schedule=None):
    """The noise levels of a schedule at a thousand times, with the interface of diffusers."""
    t = torch.linspace(1e-3, 1, 1000, dtype=torch.float64)
    levels = (schedule or VPLinear()).alpha(t) ** 2
    return SimpleNamespace(alphas_cumprod=levels, config={"prediction_type": prediction})


@plant("score", "parametrisation", at="8gaussians")
def scheduler_says_sample(w):
    denoiser, schedule = from_diffusers(UNet(to_a_thousand(eps_net("8gaussians"))), scheduler("sample"))
    return {"score": denoiser, "schedule": schedule, "guidance": None}


@plant("score", "another schedule", at="8gaussians")
def scheduler_of_another_model(w):
    denoiser, schedule = from_diffusers(UNet(to_a_thousand(eps_net("8gaussians"))), scheduler(schedule=VPCosine()))
    return {"score": denoiser, "schedule": schedule, "guidance": None}


@plant("score", "time scaled", "time fixed", at="8gaussians")
def adapter_of_ones_own_forgets_the_index(w):
    unet = UNet(to_a_thousand(eps_net("8gaussians")))

    def score(x, t):
        eps = unet(x[:, :, None, None], t.expand(len(x))).sample[:, :, 0, 0]
        return -eps / w.sigma(t).to(x)

    return {"score": score}
