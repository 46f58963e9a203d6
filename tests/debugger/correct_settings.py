"""Correct settings, in which the debugger must find nothing: exact fields, learned networks, and how people call them."""

from functools import cache

import torch
from checks import seeded
from planted_networks import UNet, eps_net, scheduler, to_a_thousand, trained
from planting import OWN, Case, planter

from cepkit.debugger import Slice, from_diffusers, from_module
from cepkit.diffusion.denoisers import FunctionDenoiser
from cepkit.diffusion.process import convert
from cepkit.rl import SHIPPED_FOLDER, load_run
from cepkit.truth.fields import ExactDenoiser

CASES: dict[str, Case] = {}
plant = planter(CASES)


# -- exact fields ----------------------------------------------------------------------------------------------------


# a zero guidance is right at beta 0 only, and without an energy or a truth nothing says that beta is 0
BETA_UNKNOWN = dict.fromkeys(("points", "nothing"), "nothing says that a guidance of zero is right")


def exact(at, beta, cosine=False, **given):
    name = f"exact_{at}_beta_{beta:g}" + ("_cosine" if cosine else "") + "".join(f"_{key}_{given[key]}" for key in given)

    def make(w):
        return given

    make.__name__ = name
    plant("sampling", at=at, beta=beta, cosine=cosine, blind={} if beta else BETA_UNKNOWN)(make)


for toy in ("8gaussians", "moons", "checkerboard", "swissroll", "rings", *OWN):
    for beta, cosine in ((0.5, False), (3.0, True), (10.0, False)):
        exact(toy, beta, cosine)
for toy in ("8gaussians", "moons", "checkerboard", "blobs", "helix"):
    exact(toy, 30.0)
for toy in ("rings", "ten"):
    exact(toy, 0.0)
exact("8gaussians", 50.0)
for seed in (1, 2, 3):
    exact("moons", 3.0, seed=seed)
    exact("ten", 3.0, seed=seed)
exact("2spirals", 3.0)
exact("8gaussians", 3.0, particles=2000)
exact("moons", 3.0, steps=100)
exact("checkerboard", 3.0, times=(0.01, 0.3, 0.9))


@plant("sampling", at="moons")
def in_double_precision(w):
    return {"support": w.points.double(), "score": ExactDenoiser(w.toy.truth, w.schedule, "v")}


@plant("sampling", at="8gaussians")
def plain_functions(w):
    return {"score": lambda x, t: w.score(x, t), "guidance": lambda x, t: w.guidance(x, t)}


@plant("sampling", at="checkerboard")
def declared_x0(w):
    return {"score": FunctionDenoiser(lambda x, t: w.toy.truth.posterior_mean(x, t, w.schedule), w.schedule, "x0")}


@plant("sampling", at="rings", cosine=True)
def declared_eps_without_guidance(w):
    function = lambda x, t: convert(w.score(x, t), "score", "eps", x, t, w.schedule)  # noqa: E731
    return {"score": FunctionDenoiser(function, w.schedule, "eps"), "guidance": None}


@plant("sampling", at="helix")
def plane_through_three_dimensions(w):
    return {"slice": Slice.pca(w.points), "domain": 2.5}


@plant("sampling", at="swissroll", beta=4.0)
def gradient_of_the_energy_by_autograd(w):
    def guidance(x, t):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            return -torch.autograd.grad(w.guidance.energy(x, t).sum(), x)[0]

    return {"guidance": guidance}


# -- networks --------------------------------------------------------------------------------------------------------


@plant("sampling", at="moons")
def learned_denoiser_and_energy(w):
    run = trained("moons")
    return {"score": run.denoiser, "guidance": run.guidance, "energy": run.guidance.energy}


@plant("sampling", at="moons")
def learned_energy_with_the_exact_score(w):
    run = trained("moons")
    return {"guidance": run.guidance, "energy": run.guidance.energy, "seed": 5}


@plant("sampling", at="moons", beta=10.0)
def exact_guidance_with_a_learned_denoiser(w):
    return {"score": trained("moons").denoiser}


@plant("sampling", at="8gaussians")
def module_without_guidance(w):
    return {"score": from_module(eps_net("8gaussians"), w.schedule, "eps"), "guidance": None}


@plant("sampling", at="8gaussians")
def module_with_times_to_a_thousand(w):
    net = to_a_thousand(eps_net("8gaussians"))
    return {"score": from_module(net, w.schedule, "eps", time=lambda t: 1000 * t)}


@plant("sampling", at="8gaussians", blind={"truth": "a network trained with dropout for so short is far from the exact score"})
def module_with_dropout_in_evaluation(w):
    net = eps_net("8gaussians", dropout=0.1, steps=600)
    return {"score": from_module(net.train(), w.schedule, "eps"), "guidance": None}


@plant("sampling", at="8gaussians", cosine=True)
def module_trained_with_cosine(w):
    return {"score": from_module(eps_net("8gaussians", cosine=True), w.schedule, "eps")}


@plant("sampling", at="8gaussians")
def unet_of_diffusers(w):
    denoiser, schedule = from_diffusers(UNet(to_a_thousand(eps_net("8gaussians"))), scheduler())
    return {"score": denoiser, "schedule": schedule, "guidance": None}


@plant("sampling", at="8gaussians")
def network_called_by_hand(w):
    net = eps_net("8gaussians")
    return {"score": lambda x, t: -net(x, t.to(x).expand(len(x))) / w.sigma(t).to(x)}


@cache
def maze_agent():
    return load_run(SHIPPED_FOLDER / "maze-runs" / "seed-0")


ACTIONS = dict.fromkeys(("truth", "energy"), "nothing exact is known of a policy's actions")


def maze(name, place):
    """The behaviour and the learned guidance over actions in one state of a maze."""

    def make(w):
        agent, state = maze_agent(), torch.tensor([*place, 0.0, 0.0])
        drawn = agent.draw(state.expand(1000, -1), generator=seeded(7))
        settings = {"score": agent.denoiser(state), "guidance": agent.guidance(state), "domain": 1.2}
        return settings | {"schedule": agent.config.schedule, "support": drawn}

    make.__name__ = name
    plant("sampling", at="moons", blind=ACTIONS)(make)


maze("maze_in_the_corridor", (1.0, 0.0))
maze("maze_in_a_corner", (1.0, 1.0))
maze("maze_at_the_goal", (-1.0, -1.0))
