"""Theorem 3.1 for components seen through noise: energies and fields from the posterior over components.

    E_t = log q_t - log p~_t,   -grad E_t = grad log p~_t - grad log q_t,   mean energy = E[E(x_0) | x_t]

with p~_t the noised, unnormalised q_0 exp(-beta E). Where the energy is constant on each component, p~_t has the same
components with other weights, so one posterior serves both.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cepkit.truth.kernels import NoisyView

# posterior probabilities are kept down to about e^-75 (float32) and e^-690 (float64), so they can be reweighted by this much
_SHARED_EXPONENT = {torch.float32: -40.0, torch.float64: -600.0}


class Fields(NamedTuple):
    """Density, score, intermediate energy and guidance at the rows x_t, computed in one pass."""

    log_q: Tensor
    score: Tensor
    energy_t: Tensor
    guidance: Tensor


def compare_with_target(view: NoisyView, beta: float, fields: bool = True) -> Fields | tuple[Tensor]:
    """log q_t against the unnormalised tilted log p~_t, and the difference of their gradients."""
    c = view.components
    if c.quadratic == 0.0:
        return _compare_reweighed(view, beta, fields)
    log_q, posterior = view.mix(c.log_weight)
    target = c.tilt(beta)
    tilted = NoisyView(target, view.x_t, view.alpha, view.sigma_squared)
    log_p, tilted_posterior = tilted.mix(target.log_weight)
    if not fields:
        return (log_q - log_p,)
    score = view.pull(posterior)
    return Fields(log_q, score, log_q - log_p, tilted.pull(tilted_posterior) - score)


def _compare_reweighed(view: NoisyView, beta: float, fields: bool) -> Fields | tuple[Tensor]:
    """The same where each component is reweighted by exp(-beta energy_k) and stays where it is."""
    log_weight, energy = view.components.log_weight, view.components.energy
    lowest = energy.amin()
    exponent = -beta * (energy - lowest)
    shared = float(exponent.amin()) >= _SHARED_EXPONENT[exponent.dtype]
    peak = 0.0 if shared else view.take_out_peak()  # far from the data it would round the exponents away
    log_q, posterior = view.mix(log_weight)
    if shared:
        factor, rest = posterior @ exponent.exp(), posterior @ exponent.expm1()  # rest = factor - 1 without cancellation
        energy_t = beta * lowest - torch.where(rest > -0.5, rest.clamp_min(-0.5).log1p(), factor.log())
        change = posterior * torch.addcmul(factor.new_tensor(-1.0), exponent.exp(), 1 / factor[:, None])
    else:
        log_p, tilted_posterior = view.mix(log_weight + exponent)
        energy_t, change = beta * lowest + (log_q - log_p), tilted_posterior - posterior
    return Fields(log_q + peak, view.pull(posterior), energy_t, view.pull(change)) if fields else (energy_t,)


def mean_energy(view: NoisyView) -> tuple[Tensor, Tensor]:
    """E[E(x_0) | x_t] and its gradient."""
    posterior = view.mix(view.components.log_weight)[1]
    energies, factor = view.component_energy()
    mean = (posterior * energies).sum(-1)
    gradient = view.pull(posterior * (energies - mean[:, None]))
    if factor is not None:
        gradient = gradient + view.pull_means(posterior * factor)
    return mean, gradient
