"""Correct settings, in which the debugger must find nothing: exact fields, learned networks, and how people call them."""

import torch
from planting import OWN, Case, planter

from cepkit.debugger import Slice
from cepkit.diffusion.denoisers import FunctionDenoiser
from cepkit.diffusion.process import convert
from cepkit.truth.fields import ExactDenoiser

CASES: dict[str, Case] = {}
plant = planter(CASES)


# -- exact fields ----------------------------------------------------------------------------------------------------


def exact(at, beta, cosine=False, **given):
    name = f"exact_{at}_beta_{beta:g}" + ("_cosine" if cosine else "") + "".join(f"_{key}_{given[key]}" for key in given)

    def make(w):
        return given

    make.__name__ = name
    plant("sampling", at=at, beta=beta, cosine=cosine)(make)


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
