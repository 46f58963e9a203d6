"""What 'right' means in this suite: references that do not use the library, and the assertions built on them."""

from contextlib import contextmanager
from functools import cache
from unittest.mock import patch

import numpy as np
import torch
from scipy.special import logsumexp

from cepkit.diffusion.process import perturb
from cepkit.diffusion.schedules import VPLinear
from cepkit.truth import quadrature, toys
from cepkit.truth.quadrature import circle_nodes, interval_nodes
from cepkit.truth.toys import make_toy

BETAS = (1.0, 10.0, 50.0)
TIMES = (0.002, 0.01, 0.05, 0.2, 0.5, 0.9)
FINE_TIMES = (1e-3, *TIMES, 1.0)


@cache
def toy_named(name):
    """One shared toy per name, so that its nodes are laid only once in a run."""
    return make_toy(name)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# -- where to look ---------------------------------------------------------------------------------------------------


def noisy_points(truth, t, schedule=None, *, n=100, seed=0, dtype=torch.float64):
    """n points x_t drawn from q_t (or, with a tilted truth, from p_t)."""
    generator = seeded(seed)
    x0, _ = truth.sample(n, generator=generator, dtype=torch.float64)
    return perturb(x0, t, schedule or VPLinear(), generator=generator).x_t.to(dtype)


def square_grid(n, extent=6.0, dtype=torch.float64):
    """n x n points over [-extent, extent]^2, shape (n, n, 2)."""
    axis = torch.linspace(-extent, extent, n, dtype=dtype)
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)


# -- references in plain numpy, from the formulas of the paper ------------------------------------------------------


def alpha_sigma(t):
    """alpha_t and sigma_t of the paper's VP-linear schedule."""
    log_alpha = -(20.0 - 0.1) * t**2 / 4 - 0.1 * t / 2
    return np.exp(log_alpha), np.sqrt(-np.expm1(2 * log_alpha))


def gaussians_log_q(x_t, t, mean, std, log_weight):
    """log sum_k w_k N(x_t; alpha mean_k, (alpha^2 std^2 + sigma^2) I), weights not normalised."""
    alpha, sigma = alpha_sigma(t)
    var = alpha**2 * std**2 + sigma**2
    square = ((np.asarray(x_t)[..., None, :] - alpha * mean) ** 2).sum(-1)
    dim = mean.shape[-1]
    return logsumexp(log_weight - square / (2 * var), axis=-1) - dim / 2 * np.log(2 * np.pi * var)


def gaussians_energy_t(x_t, t, beta, mean, std, log_weight, energy):
    """Theorem 3.1 for Gaussians with an energy each: -log E[exp(-beta E) | x_t]."""
    log_q = gaussians_log_q(x_t, t, mean, std, log_weight)
    return log_q - gaussians_log_q(x_t, t, mean, std, log_weight - beta * energy)


def eight_gaussians():
    """Centres, std, log weights and energies of the paper's 8gaussians, typed in from the issue."""
    c = 1 / np.sqrt(2)
    centres = np.array([(0, 1), (-c, c), (-1, 0), (-c, -c), (0, -1), (c, -c), (1, 0), (c, c)]) * 4 / 1.414
    return centres, 0.5 / 1.414, np.full(8, -np.log(8)), 1 - np.arange(8) / 7


# -- assertions ------------------------------------------------------------------------------------------------------


def row_size(value, rows):
    """|value| of each row: the absolute value of a scalar field, the Euclidean norm of a vector field."""
    return value.abs() if value.ndim == rows.ndim - 1 else value.norm(dim=-1)


def assert_rows_close(actual, expected, *, rtol, atol=0.0):
    """Every row (last axis) of a vector field within rtol of its own norm plus atol (a number, or one per row)."""
    assert actual.shape == expected.shape
    error, size = (actual - expected).norm(dim=-1), expected.norm(dim=-1)
    excess = error - rtol * size - atol
    worst = int(excess.argmax())
    found = f"row {worst}: error {error.flatten()[worst]:.3g} at a size of {size.flatten()[worst]:.3g}"
    assert bool((excess <= 0).all()), f"{found} is {excess.flatten()[worst]:.3g} too much"


def finite_differences(function, x, step):
    """Gradient of a row-wise scalar function at x (..., D) by five-point central differences."""
    columns = []
    for axis in range(x.shape[-1]):
        shift = torch.zeros(x.shape[-1], dtype=x.dtype)
        shift[axis] = step
        near = torch.as_tensor(function(x + shift)) - torch.as_tensor(function(x - shift))
        far = torch.as_tensor(function(x + 2 * shift)) - torch.as_tensor(function(x - 2 * shift))
        columns.append((8 * near - far) / (12 * step))
    return torch.stack(columns, -1)


def assert_is_exact_guidance(field, energy_t, x_t, t, *, rtol=1e-6):
    """field(x_t, t) is minus the gradient of `energy_t(x_t)`, an E_t from elsewhere, beta inside and nothing dropped."""
    sigma = float(alpha_sigma(t)[1])
    expected = -finite_differences(energy_t, x_t, 1e-3 * sigma)
    assert_rows_close(field(x_t, t), expected, rtol=rtol, atol=1e-8 / sigma)


def assert_within_standard_errors(value, estimate, standard_error, *, most=4.0):
    """A closed form agrees with a Monte Carlo estimate to within `most` of its standard errors."""
    off = ((torch.as_tensor(value) - estimate) / standard_error).abs()
    assert float(off.max()) <= most, f"{float(off.max()):.2f} standard errors off"


# -- how exact the truth is, shared by the tests and the benchmarks ---------------------------------------------------


def all_fields(truth, x, t, beta):
    """Every field of the truth at the rows x, by name."""
    schedule = VPLinear()
    return {
        **truth.fields(x, t, beta, schedule)._asdict(),
        "mean_energy_t": truth.mean_energy_t(x, t, beta, schedule),
        "mean_energy_guidance": truth.mean_energy_guidance(x, t, beta, schedule),
        "posterior_mean": truth.posterior_mean(x, t, schedule),
    }


@contextmanager
def doubled_nodes():
    """Within it, toys are made with twice the quadrature nodes: an interval in two halves, a circle with the points between."""

    def halves(low, high, step):
        parts = [interval_nodes(*ends, step / 2) for ends in ((low, (low + high) / 2), ((low + high) / 2, high))]
        return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))

    def circle(radius, step):
        angle, weight = circle_nodes(radius, step)
        return np.concatenate([angle, angle + weight[0] / 2]), np.concatenate([weight, weight]) / 2

    with (
        patch.object(toys, "interval_nodes", halves),
        patch.object(quadrature, "interval_nodes", halves),  # of which spirals are made
        patch.object(toys, "circle_nodes", circle),
    ):
        yield


def node_doubling_errors(toy, t, beta):
    """Worst relative change of each field, row by row, when the nodes are doubled (absolute for log_q).

    On x_t from q_t, from p_t and on the whole square. A guidance is a difference of two scores: below 1e-6 of the score
    (1e-4 on the square, in whose corners log q_t may be -1e5) it counts as that small.
    """
    truth, worst, sigma = toy.truth, {}, float(alpha_sigma(t)[1])
    mass = torch.cat([noisy_points(truth, t, n=60), noisy_points(truth.tilt(beta), t, n=60)])
    for x, resolution in ((mass, 1e-6), (square_grid(9).reshape(-1, 2), 1e-4)):
        here = all_fields(truth, x, t, beta)
        with doubled_nodes():
            there = all_fields(make_toy(toy.name).truth, x, t, beta)
        score = there["score"].norm(dim=-1)
        for name, exact in there.items():
            least = resolution * (score + 1 / sigma) if "guidance" in name else 1e-6 / sigma if name == "score" else 1e-6
            size = 1.0 if name == "log_q" else row_size(exact, x) + least
            worst[name] = max(worst.get(name, 0.0), float((row_size(here[name] - exact, x) / size).max()))
    return worst


def float32_errors(truth, t, beta):
    """Relative error of each field in float32, by root mean square over x_t from q_t and over x_t from p_t.

    Energies and guidance count as no smaller than a thousand times what float32 resolves of the quantities they are
    differences of: 1, beta, and the score.
    """
    worst = {}
    for mixture in (truth, truth.tilt(beta)):
        x = noisy_points(mixture, t, n=200, dtype=torch.float32)
        coarse, fine = all_fields(truth, x, t, beta), all_fields(truth, x.double(), t, beta)

        def rms(value, x=x):
            return float(row_size(value.double(), x).square().mean().sqrt())

        least = {"guidance": 1e-3 * rms(fine["score"]), "mean_energy_guidance": 2e-4 * (1 + beta) * rms(fine["score"])}
        least |= dict.fromkeys(("energy_t", "mean_energy_t"), 1e-3 * (1 + beta))
        for name, exact in fine.items():
            error = rms(coarse[name].double() - exact) / (rms(exact) + least.get(name, 0.0))
            worst[name] = max(worst.get(name, 0.0), error)
    return worst
