"""The six toys once more, in plain numpy and by brute force, typed in from the issue; nothing here calls the library.

Curves are replaced by 16,001 points with Simpson weights, boxes by differences of normal distribution functions, and
the swissroll's quadratic energy is averaged over the Gaussian posterior of x_0 given its place on the curve.
"""

from functools import cache

import numpy as np
from checks import alpha_sigma, eight_gaussians
from scipy.special import log_ndtr, logsumexp

_NODES = 16_001


def _simpson(low, high):
    """Nodes and weights of Simpson's rule."""
    weight = np.full(_NODES, 2.0)
    weight[1::2], weight[[0, -1]] = 4.0, 1.0
    return np.linspace(low, high, _NODES), weight * (high - low) / (_NODES - 1) / 3


@cache
def _toy(name):
    """Places, weights, energies, Gaussian std and half side of the box of a toy."""
    if name == "8gaussians":
        mean, std, log_weight, energy = eight_gaussians()
        return mean, np.exp(log_weight), energy, std, 0.0
    if name == "moons":
        angle, weight = _simpson(0, np.pi)
        upper = np.stack([np.cos(angle), np.sin(angle)], -1) * 2 + (-1, -0.2)
        lower = np.stack([1 - np.cos(angle), 1 - np.sin(angle) - 0.5], -1) * 2 + (-1, -0.2)
        weight = weight / (2 * np.pi)
        return np.concatenate([upper, lower]), np.tile(weight, 2), np.repeat([1.0, 0.0], _NODES), 0.2, 0.0
    if name == "swissroll":
        v, weight = _simpson(1.5 * np.pi, 4.5 * np.pi)
        return np.stack([v * np.cos(v), v * np.sin(v)], -1) / 5, weight / (3 * np.pi), np.ones(_NODES), 0.2, 0.0
    if name == "rings":
        angle = 2 * np.pi * np.arange(4000) / 4000
        circle = np.stack([np.cos(angle), np.sin(angle)], -1)
        mean = np.concatenate([radius * circle for radius in (3, 2.25, 1.5, 0.75)])
        return mean, np.full(16_000, 1 / 16_000), np.repeat(1 - np.array([0.667, 0.333, 1, 0]), 4000), 0.08, 0.0
    if name == "checkerboard":
        lefts, bottoms = np.array([-4, -4, -2, -2, 0, 0, 2, 2]), np.array([0, -4, 2, -2, 0, -4, 2, -2])
        good = np.isin(lefts, (-4, 0))
        return np.stack([lefts + 1.0, bottoms + 1.0], -1), np.full(8, 1 / 8), 1.0 - good, 0.0, 1.0
    n, dn = _simpson(0, 3 * np.pi)
    arm = (np.stack([-n * np.cos(n), n * np.sin(n)], -1) + 0.25) / 3
    weight, energy = n * dn / (3 * np.pi) ** 2, 1 - np.clip(1 - n / 10, 0, 1)
    return np.concatenate([arm, -arm]), np.tile(weight, 2), np.tile(energy, 2), 0.1, 0.25 / 3


def _log_box(d, half, sd):
    """log of P(d - half < sd z < d + half) / (2 half) by distribution functions, from the nearer tail."""
    d = np.abs(d)
    near, far = log_ndtr((half - d) / sd), log_ndtr((-half - d) / sd)
    return near + np.log1p(-np.exp(far - near)) - np.log(2 * half)


def _log_joint(name, x_t, t):
    """log of weight_k N(x_t | k), (n, K), and what the swissroll needs besides."""
    mean, weight, energy, std, half = _toy(name)
    alpha, sigma = alpha_sigma(t)
    var = alpha**2 * std**2 + sigma**2
    offset = x_t[:, None] - alpha * mean
    if half:
        kernel = _log_box(offset, alpha * half, np.sqrt(var)).sum(-1)
    else:
        kernel = -(offset**2).sum(-1) / (2 * var) - np.log(2 * np.pi * var)
    with np.errstate(divide="ignore"):
        return np.log(weight) + kernel, mean + alpha * std**2 / var * offset, std**2 * sigma**2 / var, energy


def log_q(name, x_t, t):
    """log q_t at x_t (n, 2)."""
    return logsumexp(_log_joint(name, x_t, t)[0], axis=1)


def energy_t(name, x_t, t, beta):
    """-log E[exp(-beta E(x_0)) | x_t]."""
    joint, posterior_mean, posterior_var, energy = _log_joint(name, x_t, t)
    tilt = -beta * energy
    if name == "swissroll":
        rate = beta / 9
        left = 1 - 2 * rate * posterior_var
        tilt = tilt + rate * (posterior_mean**2).sum(-1) / left - np.log(left)
    return logsumexp(joint, axis=1) - logsumexp(joint + tilt, axis=1)


def mean_energy_t(name, x_t, t, beta):
    """beta E[E(x_0) | x_t]."""
    joint, posterior_mean, posterior_var, energy = _log_joint(name, x_t, t)
    probability = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    if name == "swissroll":
        energy = energy - ((posterior_mean**2).sum(-1) + 2 * posterior_var) / 9
    return beta * (probability * energy).sum(1)
