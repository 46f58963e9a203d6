"""Losses: gradients, invariances, and where their minimum lies, against conditional expectations of a table of counts."""

import itertools
import math

import numpy as np
import pytest
import torch
from checks import finite_differences, seeded
from hypothesis import given
from hypothesis import strategies as st

from cepkit.diffusion.process import PARAMETRISATIONS, perturb
from cepkit.diffusion.schedules import VPLinear
from cepkit.learning.losses import (
    cep_loss,
    denoising_loss,
    effective_sample_size,
    exp_energy_loss,
    mean_energy_loss,
    pooled_energy,
)
from cepkit.learning.networks import MLPDenoiser
from cepkit.truth.exact import Mixture

LINEAR = VPLinear()
BETA = 2.0
LOSSES = {
    "CEP": lambda f, e: cep_loss(f, e, BETA, log_scale=-0.4),
    "CEP normalized": lambda f, e: cep_loss(f, e, BETA, labels="normalized"),
    "MSE": lambda f, e: mean_energy_loss(f, e, BETA),
    "exp-MSE": lambda f, e: exp_energy_loss(f, e, BETA),
}


def groups(count=3, size=4, seed=0):
    """Values f and energies of `count` groups of `size`, float64."""
    generator = seeded(seed)
    return tuple(torch.randn(count, size, generator=generator, dtype=torch.float64) for _ in range(2))


# -- gradients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_each_loss_is_its_finite_difference(name):
    f, energy = groups()
    (gradient,) = torch.autograd.grad(LOSSES[name](f.requires_grad_(), energy)[0], f)

    def one_by_one(flat):
        return torch.stack([LOSSES[name](row.view_as(f), energy)[0] for row in flat.reshape(-1, f.numel())]).squeeze()

    expected = finite_differences(one_by_one, f.detach().flatten(), 1e-3).view_as(f)
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("target", PARAMETRISATIONS)
def test_the_gradient_of_denoising_in_the_weights_is_its_finite_difference(target, generator):
    torch.manual_seed(0)
    net = MLPDenoiser(2, LINEAR, width=5, layers=2, waves=2).double()
    x0 = torch.randn(3, 4, 2, generator=generator, dtype=torch.float64)
    t = torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64)
    noised = perturb(x0, t, LINEAR, generator=generator)
    weights = [net.last.weight, net.first.weight, net.films[1].bias, net.time.layer.weight]
    gradients = torch.autograd.grad(denoising_loss(net, noised, t, target=target)[0], weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)

        def moved(step, weight=weight, direction=direction):
            with torch.no_grad():
                kept = weight.clone()
                weight += step * direction
                value = float(denoising_loss(net, noised, t, target=target)[0])
                weight.copy_(kept)
            return value

        slope = (8 * (moved(1e-4) - moved(-1e-4)) - (moved(2e-4) - moved(-2e-4))) / 12e-4
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-7, abs=1e-9)


def test_denoising_by_hand():
    """A denoiser that answers zero in eps misses by the noise itself; in v the target is alpha eps - sigma x_0."""
    x0, t = torch.tensor([[1.0, -2.0]]), 0.3
    noised = perturb(x0, t, LINEAR, noise=torch.tensor([[0.5, 3.0]]))
    alpha, sigma = float(LINEAR.alpha(t)), float(LINEAR.sigma(t))

    class Silent:
        schedule, parametrisation = LINEAR, "v"

        def __call__(self, x_t, t):
            return torch.zeros_like(x_t)

    loss, info = denoising_loss(Silent(), noised, t)
    assert info == {} and float(loss) == pytest.approx(((alpha * 0.5 - sigma) ** 2 + (3 * alpha + 2 * sigma) ** 2) / 2, rel=1e-5)


def test_cep_by_hand():
    f, energy = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64), torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    total = sum(math.exp(-v) for v in f.tolist())
    weights = [math.exp(-BETA * e) for e in energy.tolist()]
    crosses = [-w * (-v - math.log(total)) for v, w in zip(f.tolist(), weights, strict=True)]
    assert float(cep_loss(f, energy, BETA)[0]) == pytest.approx(sum(crosses) / 3, rel=1e-12)
    loss, info = cep_loss(f, energy, BETA, labels="normalized")
    assert float(loss) == pytest.approx(sum(crosses) / sum(weights), rel=1e-12)
    assert float(info["effective_samples"]) == pytest.approx(sum(weights) ** 2 / sum(w * w for w in weights), rel=1e-12)


def test_exp_mse_by_hand_and_its_clamp():
    f, energy = torch.tensor([0.3, -20.0]), torch.tensor([0.5, 1.0])
    loss, info = exp_energy_loss(f, energy, 1.0, clamp=2.0)
    expected = ((math.exp(-0.3) - math.exp(-0.5)) ** 2 + (math.exp(2.0) - math.exp(-1.0)) ** 2) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-5) and float(info["clamped"]) == pytest.approx(0.25)


@pytest.mark.parametrize("name", LOSSES)
def test_info_carries_no_gradient_and_inputs_are_left_alone(name):
    f, energy = groups()
    before = f.clone(), energy.clone()
    _, info = LOSSES[name](f.requires_grad_(), energy)
    assert all(value.ndim == 0 and not value.requires_grad for value in info.values())
    assert torch.equal(f, before[0]) and torch.equal(energy, before[1])


def test_equal_weights_count_in_full_and_one_weight_counts_once():
    assert float(effective_sample_size(torch.full((50,), -3.0))) == pytest.approx(50)
    assert float(effective_sample_size(torch.tensor([0.0, -math.inf, -math.inf]))) == pytest.approx(1)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=10), st.floats(-500, 500))
def test_effective_sample_size_is_its_definition_and_ignores_a_common_factor(log_weight, shift):
    w = np.exp(log_weight)
    value = effective_sample_size(torch.tensor(log_weight, dtype=torch.float64) + shift)
    assert float(value) == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-9)


def test_effective_sample_size_works_along_the_last_axis():
    assert effective_sample_size(torch.zeros(3, 5)).tolist() == pytest.approx([5, 5, 5])


# -- invariances of CEP ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["unnormalized", "normalized"])
def test_cep_ignores_a_constant_in_f_and_the_order_of_a_group(labels):
    f, energy = groups()
    loss = cep_loss(f, energy, BETA, labels=labels)[0]
    level = torch.tensor([[3.0], [-50.0], [0.1]], dtype=torch.float64)
    torch.testing.assert_close(cep_loss(f + level, energy, BETA, labels=labels)[0], loss, rtol=1e-11, atol=0)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(cep_loss(f[:, order], energy[:, order], BETA, labels=labels)[0], loss, rtol=1e-12, atol=0)
    assert abs(float(cep_loss(f[:, order], energy, BETA, labels=labels)[0] - loss)) > 1e-3


def test_normalized_cep_ignores_a_constant_in_the_energies():
    f, energy = groups()
    loss = cep_loss(f, energy, BETA, labels="normalized")[0]
    torch.testing.assert_close(cep_loss(f, energy + 7.0, BETA, labels="normalized")[0], loss, rtol=1e-12, atol=0)


def test_unnormalized_cep_scales_with_a_constant_in_the_energies_unless_log_scale_moves_along():
    f, energy = groups()
    loss, c = cep_loss(f, energy, BETA, log_scale=0.2)[0], 1.3
    torch.testing.assert_close(cep_loss(f, energy + c, BETA, log_scale=0.2 - BETA * c)[0], loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(cep_loss(f, energy + c, BETA, log_scale=0.2)[0], math.exp(-BETA * c) * loss, rtol=1e-12, atol=0)


# -- where the minimum lies --------------------------------------------------------------------------------------------
# Eight equally likely pairs (x_0, x_t): three clean points of these energies, three noisy places. Enumerating all K-tuples of
# pairs makes each expected loss exact, so that its minimum can be compared with conditional expectations.

PAIRS = ((0, 0), (0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2))
CLEAN = torch.tensor([0.0, 0.6, 1.5], dtype=torch.float64)


def conditional(function):
    """E[function(E(x_0)) | x_t] for each place."""
    return torch.stack([torch.stack([function(CLEAN[a]) for a, b in PAIRS if b == place]).mean() for place in range(3)])


def minimum(loss):
    """The table f that minimises loss(f), by LBFGS to convergence; its first entry is whatever it is."""
    f = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([f], max_iter=500, tolerance_grad=1e-13, tolerance_change=1e-16, line_search_fn="strong_wolfe")

    def evaluate():
        optimiser.zero_grad()
        value = loss(f)
        value.backward()
        return value

    optimiser.step(evaluate)
    assert float(f.grad.abs().max()) < 1e-8
    return f.detach()


def tuples(k):
    """Energies and places of all k-tuples of pairs, (8^k, k)."""
    index = torch.tensor(list(itertools.product(range(len(PAIRS)), repeat=k)))
    clean, place = torch.tensor(PAIRS).T
    return CLEAN[clean[index]], place[index]


def cep_optimum(k, labels):
    energy, place = tuples(k)
    f = minimum(lambda f: cep_loss(f[place], energy, BETA, labels=labels)[0])
    return f - f.mean()


def exact_energy():
    return -conditional(lambda e: (-BETA * e).exp()).log()


@pytest.mark.parametrize("k", [2, 3])
def test_unnormalized_labels_give_the_intermediate_energy_for_every_k(k):
    exact = exact_energy()
    torch.testing.assert_close(cep_optimum(k, "unnormalized"), exact - exact.mean(), rtol=0, atol=1e-7)


def test_normalized_labels_do_not_at_two_contrasts_and_come_nearer_with_more():
    exact = exact_energy()
    off = [float((cep_optimum(k, "normalized") - exact + exact.mean()).abs().max()) for k in (2, 3, 4)]
    assert off[0] > 0.05 and off[0] > 1.2 * off[1] > 1.2 * 1.1 * off[2]


def test_least_squares_gives_the_mean_energy_which_is_another():
    energy, place = tuples(1)
    f = minimum(lambda f: mean_energy_loss(f[place], energy, BETA)[0])
    torch.testing.assert_close(f, BETA * conditional(lambda e: e), rtol=0, atol=1e-8)
    assert float((f - exact_energy()).min()) > 0.05


def test_exponential_least_squares_gives_the_intermediate_energy_and_its_level():
    energy, place = tuples(1)
    f = minimum(lambda f: exp_energy_loss(f[place], energy, BETA)[0])
    torch.testing.assert_close(f, exact_energy(), rtol=0, atol=1e-7)


# -- pooling -----------------------------------------------------------------------------------------------------------


def cloud(groups=2, k=12, dim=2, seed=0):
    generator = seeded(seed)
    x0 = torch.randn(groups, k, dim, generator=generator, dtype=torch.float64)
    return x0, torch.rand(groups, k, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("dim", [1, 2, 4])
@pytest.mark.parametrize("t", [0.02, 0.3, 1.0])
def test_pooled_energies_are_those_of_the_group_as_a_data_set(t, dim):
    x0, energy = cloud(dim=dim)
    x_t = perturb(x0, t, LINEAR, generator=seeded(1)).x_t
    pooled = pooled_energy(energy, x0, x_t, t, BETA, LINEAR)
    mean = pooled_energy(energy, x0, x_t, t, BETA, LINEAR, exponential=False)
    for g in range(len(x0)):
        truth = Mixture.from_points(x0[g], energy[g])
        torch.testing.assert_close(BETA * pooled[g], truth.energy_t(x_t[g], t, BETA, LINEAR), rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(BETA * mean[g], truth.mean_energy_t(x_t[g], t, BETA, LINEAR), rtol=1e-8, atol=1e-9)


def test_each_group_is_pooled_at_its_own_time():
    x0, energy = cloud()
    t = torch.tensor([0.1, 0.6], dtype=torch.float64)
    x_t = perturb(x0, t, LINEAR, generator=seeded(1)).x_t
    together = pooled_energy(energy, x0, x_t, t, BETA, LINEAR)
    for g in range(2):
        torch.testing.assert_close(together[g], pooled_energy(energy[g], x0[g], x_t[g], t[g], BETA, LINEAR))


@pytest.mark.parametrize("exponential", [True, False])
def test_hardly_any_noise_leaves_the_energies_as_they_are(exponential):
    x0, energy = cloud()
    x_t = perturb(x0, 1e-6, LINEAR, generator=seeded(1)).x_t
    pooled = pooled_energy(energy, x0, x_t, 1e-6, BETA, LINEAR, exponential=exponential)
    torch.testing.assert_close(pooled, energy, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beta", [0.0, 1e-8, 50.0, 1e6])
def test_pooling_at_extreme_temperatures_stays_between_the_energies_of_the_group(beta, dtype):
    x0, energy = (value.to(dtype) for value in cloud())
    for t in (1e-3, 0.5, 1.0):
        x_t = perturb(x0, t, LINEAR, generator=seeded(1)).x_t
        pooled = pooled_energy(energy, x0, x_t, t, beta, LINEAR)
        slack = 1e-5 + 4 * torch.finfo(dtype).eps / max(beta, 1e-8)  # what enters the loss is beta E, right to rounding
        low, high = energy.amin(-1, keepdim=True), energy.amax(-1, keepdim=True)
        assert bool(torch.isfinite(pooled).all())
        assert bool((pooled >= low - slack).all()) and bool((pooled <= high + slack).all())


def test_pooled_labels_at_infinite_temperature_are_the_mean_energy():
    x0, energy = cloud()
    x_t = perturb(x0, 0.3, LINEAR, generator=seeded(1)).x_t
    mean = pooled_energy(energy, x0, x_t, 0.3, 0.0, LINEAR, exponential=False)
    torch.testing.assert_close(pooled_energy(energy, x0, x_t, 0.3, 0.0, LINEAR), mean)
    torch.testing.assert_close(pooled_energy(energy, x0, x_t, 0.3, 1e-5, LINEAR), mean, rtol=0, atol=1e-5)


def test_pooling_follows_a_constant_in_the_energies():
    x0, energy = cloud()
    x_t = perturb(x0, 0.3, LINEAR, generator=seeded(1)).x_t
    moved = pooled_energy(energy + 5, x0, x_t, 0.3, BETA, LINEAR)
    torch.testing.assert_close(moved, pooled_energy(energy, x0, x_t, 0.3, BETA, LINEAR) + 5)


# -- bad input ---------------------------------------------------------------------------------------------------------

F, X = torch.zeros(3, 4), torch.zeros(3, 4, 2)
BAD = {
    "CEP shapes": (lambda: cep_loss(F, F[:1], BETA), "energy"),
    "CEP one contrast": (lambda: cep_loss(F[:, :1], F[:, :1], BETA), "f"),
    "CEP scalar": (lambda: cep_loss(F[0, 0], F[0, 0], BETA), "f"),
    "CEP labels": (lambda: cep_loss(F, F, BETA, labels="normalised"), "labels"),
    "CEP beta": (lambda: cep_loss(F, F, -1.0), "beta"),
    "CEP beta NaN": (lambda: cep_loss(F, F, math.nan), "beta"),
    "MSE shapes": (lambda: mean_energy_loss(F, F[0], BETA), "energy"),
    "MSE beta": (lambda: mean_energy_loss(F, F, "2"), "beta"),
    "exp-MSE shapes": (lambda: exp_energy_loss(F, F[0], BETA), "energy"),
    "exp-MSE beta": (lambda: exp_energy_loss(F, F, -1.0), "beta"),
    "exp-MSE clamp": (lambda: exp_energy_loss(F, F, BETA, clamp=100.0), "clamp"),
    "denoising target": (lambda: denoising_loss(None, perturb(X, 0.5, LINEAR), 0.5, target="velocity"), "target"),
    "pooled energies": (lambda: pooled_energy(F[:1], X, X, 0.5, BETA, LINEAR), "energy"),
    "pooled points": (lambda: pooled_energy(F, X, X[..., :1], 0.5, BETA, LINEAR), "energy"),
    "pooled beta": (lambda: pooled_energy(F, X, X, 0.5, -1.0, LINEAR), "beta"),
    "pooled mean beta": (lambda: pooled_energy(F, X, X, 0.5, -1.0, LINEAR, exponential=False), "beta"),
    "pooled time": (lambda: pooled_energy(F, X, X, 1.5, BETA, LINEAR), "t"),
    "pooled time of each point": (lambda: pooled_energy(F, X, X, torch.full((3, 4), 0.5), BETA, LINEAR), "t"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case):
    make, argument = BAD[case]
    with pytest.raises(ValueError, match=f"^{argument}: expected .*got"):
        make()
