"""Mistakes of a guidance in its energy: another temperature, clean energies at noisy points, well-known approximations."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger.explanations.case import FIRST_TIME, Candidate, Candidates, Case, Field, fitted
from cepkit.diffusion.denoisers import FunctionDenoiser
from cepkit.diffusion.guidance import DPSGuidance, LGDGuidance
from cepkit.truth.components import Components
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import MeanEnergyGuidance

LEARN = "learn the intermediate energy (contrastive energy prediction), or take the exact one where it is known"


def other_temperature(case: Case) -> Candidates:
    """Another inverse temperature."""
    if case.of_mixture is None or case.beta == 0.0:
        return
    case = case.of_mixture

    def of(beta: float) -> Field:
        return case.field_of(case.mixture, beta)

    found = fitted(case, of, case.beta * np.geomspace(1 / 100, 50, 24))
    for beta, origin in (
        (case.beta**2, "beta applied twice"),
        (1.0, "beta left out"),
        (1 / case.beta, "1/beta in place of beta"),
    ):
        if abs(beta - case.beta) > 0.02 * case.beta and beta < 1e4:
            words = f"belongs to another inverse temperature, {beta:.3g} in place of {case.beta:g} ({origin})"
            yield Candidate("another beta", words, f"use beta = {case.beta:g} once", of(beta), False, case)
    words = f"belongs to another inverse temperature, about {found:.3g} in place of {case.beta:g}"
    yield Candidate("another beta", words, f"use beta = {case.beta:g}", of(found), False, case, 1)
    with suppress(ValueError):  # a quadratic energy whose negative cannot be normalised
        opposite = _with_minus_energy(case.mixture)
        opposite.tilt(case.beta)
        words = "belongs to the energy with its sign flipped: high where it should be low"
        repair = "negate the energy: E is low for good, a reward is -E"
        yield Candidate("sign", words, repair, case.field_of(opposite), False, case)


def _with_minus_energy(mixture: Mixture) -> Mixture:
    def components(blur: float) -> Components:
        c = mixture.components(blur)
        return replace(c, energy=-c.energy, quadratic=-c.quadratic)

    return Mixture(components)


def clean_energy(case: Case) -> Candidates:
    """The gradient of the energy of clean data, at the noisy point as if it were clean."""
    repair = f"train it on noisy points with t as an input: {LEARN}"
    words = "is that of clean data (t near 0), evaluated at noisy points as if they were clean"
    yield Candidate("clean energy", words, repair, lambda x, t: case.right(x, FIRST_TIME))
    yield Candidate("clean energy", words, repair, lambda x, t: case.right(x, 0.02))
    if case.energy is not None:
        yield Candidate("clean energy", words, repair, lambda x, t: _slope(case, x))


def _slope(case: Case, x: Tensor) -> Tensor:
    """-beta grad E at clean points."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        energy = case.energy(x)
        return -torch.autograd.grad(energy.sum(), x)[0] if energy.requires_grad else torch.zeros_like(x)


def at_the_denoised_point(case: Case) -> Candidates:
    """The right field, at x0_hat in place of x_t."""
    if case.score is None:
        return
    words, repair = "is evaluated at the denoised point x0_hat in place of x_t", "pass x_t on, not x0_hat"
    yield Candidate("denoised point", words, repair, lambda x, t: case.right(case.x0_hat(x, t), t))
    words = "is that of clean data at the denoised point x0_hat, without the derivative of x0_hat"
    yield Candidate("denoised point", words, f"{repair}; {LEARN}", lambda x, t: case.right(case.x0_hat(x, t), FIRST_TIME))
    if case.energy is not None:
        yield Candidate("denoised point", words, f"{repair}; {LEARN}", lambda x, t: _slope(case, case.x0_hat(x, t)))


def approximations(case: Case) -> Candidates:
    """Mean energy, DPS and LGD-MC."""
    if case.of_mixture is not None:
        words = "is the mean energy's, beta E[E(x_0) | x_t]: what least-squares regression on noisy points learns"
        mean = MeanEnergyGuidance(case.mixture, case.beta, case.schedule)
        yield Candidate("mean energy", words, LEARN, mean, True, case.of_mixture)
    if case.score is not None and case.energy is not None:
        denoiser = FunctionDenoiser(case.score, case.schedule, "score")
        words = "is that of DPS, the energy of the denoised point"
        yield Candidate("DPS", words, LEARN, DPSGuidance(denoiser, case.energy, 1.0))
        words = "is that of LGD-MC, the energy of a Gaussian cloud round the denoised point"
        yield Candidate("LGD-MC", words, LEARN, LGDGuidance(denoiser, case.energy, 1.0))


def conditional_score(case: Case) -> Candidates:
    """The guided score handed over as guidance."""
    if case.score is not None:
        words = "is the guided score, which holds the score already"
        repair = "hand over guided score - score"
        yield Candidate("conditional score", words, repair, lambda x, t: case.score(x, t) + case.right(x, t))
        words = "is a score, not a guidance"
        yield Candidate("conditional score", words, "hand over -grad E_t", case.score)
