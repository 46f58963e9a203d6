"""Networks: what they know of Gaussian data, shapes and times, precision, and the ends of time."""

import math

import pytest
import torch
from checks import finite_differences, noisy_points, seeded, toy_named

from cepkit.diffusion.denoisers import Denoiser, predict
from cepkit.diffusion.schedules import VPLinear
from cepkit.learning.networks import GaussianGuess, MLPDenoiser, MLPEnergy, level_features

LINEAR = VPLinear()
SMALL = {"width": 8, "layers": 2, "waves": 3}


def network(kind, dim=2, *, seed=0, **settings):
    """A small network with the scale of some data, its weights drawn from a seed."""
    torch.manual_seed(seed)
    net = kind(dim, settings.pop("schedule", LINEAR), **{**SMALL, **settings})
    net.set_scale(torch.linspace(-0.5, 0.5, dim), 1.7)
    return net


def energy_with_guess(dim=2, **settings):
    net = network(MLPEnergy, dim, gaussian_guess=True, **settings)
    x = torch.randn(200, dim, generator=seeded())
    net.guess.fit(x, x[:, 0], 1.0)
    return net


NETS = {
    "denoiser": lambda dim=2, **settings: network(MLPDenoiser, dim, **settings),
    "energy": lambda dim=2, **settings: network(MLPEnergy, dim, **settings),
    "energy with guess": energy_with_guess,
}


def points(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


# -- the Gaussian guess ------------------------------------------------------------------------------------------------


def gaussian_problem(dim=3, beta=1.5, seed=0):
    """Data N(m, C) and energy x'Ax/2 + b'x: the target is N(m', C') with C'^-1 = C^-1 + beta A and C'^-1 m' = C^-1 m - beta b."""
    generator = seeded(seed)
    draw = torch.randn(2, dim, dim, generator=generator, dtype=torch.float64)
    covariance = draw[0] @ draw[0].T / dim + 0.3 * torch.eye(dim, dtype=torch.float64)
    bowl = draw[1] @ draw[1].T / dim
    slope, mean = torch.randn(2, dim, generator=generator, dtype=torch.float64)
    precision = covariance.inverse() + beta * bowl
    return mean, covariance, precision.inverse() @ (covariance.inverse() @ mean - beta * slope), precision.inverse()


def log_density(x_t, t, mean, covariance):
    alpha, sigma = float(LINEAR.alpha(t)), float(LINEAR.sigma(t))
    noisy = alpha**2 * covariance + sigma**2 * torch.eye(len(mean), dtype=torch.float64)
    return torch.distributions.MultivariateNormal(alpha * mean, noisy).log_prob(x_t)


@pytest.mark.parametrize("t", [0.01, 0.3, 1.0])
def test_the_guess_is_exact_for_gaussians_of_any_covariance(t):
    """E_t = log q_t - log p_t + const; the guess gets both moments directly, by its own decomposition."""
    mean, covariance, target_mean, target_covariance = gaussian_problem()
    guess = GaussianGuess(3).double()
    for name, m, c in (("data", mean, covariance), ("target", target_mean, target_covariance)):
        spread = torch.linalg.cholesky(c) * 3**0.5
        corners = torch.cat([m + spread.T, m - spread.T])  # six points of exactly this mean and covariance
        guess._set(name, corners, torch.full((6,), 1 / 6, dtype=torch.float64))
    x_t = 2 * points(50, 3, dtype=torch.float64)
    exact = log_density(x_t, t, mean, covariance) - log_density(x_t, t, target_mean, target_covariance)
    off = guess(x_t, LINEAR.alpha(t), LINEAR.sigma(t)) - exact
    torch.testing.assert_close(off - off.mean(), torch.zeros_like(off), rtol=0, atol=1e-8)


def test_the_guess_fitted_to_gaussian_samples_comes_near_the_truth():
    """The same through `fit`: weights exp(-beta E) on samples, to sampling error."""
    beta, x = 0.8, points(200_000, 2, dtype=torch.float64) * torch.tensor([1.0, 0.5]) + 0.3
    guess = GaussianGuess(2).double().fit(x, x[:, 0].square() - x[:, 1], beta)
    data = torch.tensor([0.3, 0.3]).double(), torch.tensor([1.0, 0.25]).double().diag()
    moments = torch.tensor([[0.3 / (1 + 2 * beta), 0.3 + 0.25 * beta], [1 / (1 + 2 * beta), 0.25]], dtype=torch.float64)
    target = moments[0], moments[1].diag()
    for t in (0.1, 0.5):
        x_t = points(50, 2, seed=1, dtype=torch.float64)
        exact = log_density(x_t, t, *data) - log_density(x_t, t, *target)
        off = guess(x_t, LINEAR.alpha(t), LINEAR.sigma(t)) - exact
        assert float((off - off.mean()).abs().max()) < 0.05 < float(exact.std())


@pytest.mark.parametrize("name", ["8gaussians", "moons"])
def test_towards_noise_the_guess_is_right_to_second_order_in_alpha(name):
    """The field fades like alpha_t, so a field right to second order has a relative error that falls like alpha_t^2."""
    toy = toy_named(name)
    x, energy = toy.sample(400_000, generator=seeded(), dtype=torch.float64)
    guess = GaussianGuess(2).double().fit(x, energy, 3.0)
    errors, alphas = [], []
    for t in (0.55, 0.7):
        x_t = noisy_points(toy.truth, t, n=400).requires_grad_()
        (gradient,) = torch.autograd.grad(guess(x_t, LINEAR.alpha(t), LINEAR.sigma(t)).sum(), x_t)
        exact = toy.truth.guidance(x_t.detach(), t, 3.0, LINEAR)
        errors.append(float((gradient + exact).norm() / exact.norm()))
        alphas.append(float(LINEAR.alpha(t)))
    order = math.log(errors[0] / errors[1]) / math.log(alphas[0] / alphas[1])
    assert errors[1] < 0.03 and order > 1.5, (errors, order)


def test_at_t_one_an_untrained_net_with_a_guess_is_nearly_the_truth():
    toy = toy_named("moons")
    torch.manual_seed(0)
    net = MLPEnergy(2, LINEAR, **SMALL, gaussian_guess=True)
    x, energy = toy.sample(100_000, generator=seeded())
    net.set_scale(x.mean(0), x.std(correction=0))
    net.guess.fit(x, energy, 3.0)
    x_t = noisy_points(toy.truth, 0.99, n=100, dtype=torch.float32).requires_grad_()
    (gradient,) = torch.autograd.grad(net(x_t, 0.99).sum(), x_t)
    exact = toy.truth.guidance(x_t.detach(), 0.99, 3.0, LINEAR)
    assert float((gradient + exact).norm() / exact.norm()) < 0.03


def test_a_denoiser_with_silent_weights_is_the_denoiser_of_a_gaussian():
    net = network(MLPDenoiser).double()
    for weight in (net.last.weight, net.last.bias):
        weight.data.zero_()
    x_t, t = points(20, 2, dtype=torch.float64), 0.3
    alpha, sigma, var = float(LINEAR.alpha(t)), float(LINEAR.sigma(t)), 1.7**2
    expected = net.mean + alpha * var / (alpha**2 * var + sigma**2) * (x_t - alpha * net.mean)
    torch.testing.assert_close(predict(net, "x0", x_t, t), expected, rtol=1e-6, atol=1e-6)


def test_what_a_denoiser_adds_to_the_gaussian_answer_is_as_large_as_the_doubt():
    """r_t F: with hardly any noise even random weights leave the points where they are."""
    net, x_t = network(MLPDenoiser), points(20, 2)
    torch.testing.assert_close(net(x_t, 1e-4), x_t / LINEAR.alpha(1e-4).float(), rtol=0, atol=0.02)
    with torch.no_grad():
        net.last.weight.zero_()
        net.last.bias.fill_(1.0)
        answer = net(x_t, 0.3)
        net.last.bias.zero_()
    alpha, sigma, std = float(LINEAR.alpha(0.3)), float(LINEAR.sigma(0.3)), 1.7
    doubt = std * sigma / math.sqrt(alpha**2 * std**2 + sigma**2)
    torch.testing.assert_close(answer - net(x_t, 0.3), torch.full((20, 2), doubt), rtol=1e-4, atol=1e-5)


# -- shapes and times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("name", NETS)
def test_one_time_for_all_per_group_and_per_row_say_the_same(name, dim):
    net, x = NETS[name](dim), points(3, 4, dim)
    shape = x.shape if name == "denoiser" else x.shape[:-1]
    once = net(x, 0.3)
    assert once.shape == shape
    for t in (torch.tensor(0.3), torch.full((3,), 0.3), torch.full((3, 4), 0.3)):
        torch.testing.assert_close(net(x, t), once, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net(x[1, 2], 0.3), once[1, 2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_each_group_and_each_row_gets_its_own_time(name):
    net, x, t = NETS[name](), points(3, 3, 2), torch.tensor([0.05, 0.4, 0.9])
    by_group, by_row = net(x, t), net(x, t.expand(3, 3))
    for i in range(3):
        torch.testing.assert_close(by_group[i], net(x[i], float(t[i])), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(by_row[:, i], net(x[:, i], float(t[i])), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETS)
def test_rows_do_not_mix(name):
    net, x = NETS[name](), points(6, 2)
    torch.testing.assert_close(net(x, 0.3)[2:4], net(x[2:4], 0.3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("t", [0.0, 1e-4, 1e-3, 1.0])
def test_the_ends_of_time_are_finite_with_their_gradients(name, t, any_schedule):
    net = NETS[name](schedule=any_schedule)
    x = (3 * points(50, 2)).requires_grad_()
    value = net(x, t)
    gradients = torch.autograd.grad(value.sum(), [x, *net.parameters()], allow_unused=True)
    assert all(bool(torch.isfinite(part).all()) for part in (value, *gradients) if part is not None)


@pytest.mark.parametrize("name", NETS)
def test_at_hardly_any_noise_the_time_embedding_stands_still(name):
    net, x = NETS[name](), points(20, 2)
    torch.testing.assert_close(net(x, 1e-5), net(x, 1e-6), rtol=0, atol=0.05)


@pytest.mark.parametrize("name", NETS)
def test_float64_in_gives_float64_out_and_float32_float32(name):
    net, x = NETS[name](), points(5, 2, dtype=torch.float64)
    for t in (0.3, torch.full((5,), 0.3), torch.full((5,), 0.3, dtype=torch.float64)):
        assert net(x, t).dtype == torch.float64 and net(x.float(), t).dtype == torch.float32
    torch.testing.assert_close(net(x, 0.3).float(), net(x.float(), 0.3), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(net.double()(x, 0.3).float(), net.float()(x.float(), 0.3), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["energy", "energy with guess"])
@pytest.mark.parametrize("t", [0.02, 0.5])
def test_the_gradient_in_the_points_is_its_finite_difference(name, t):
    net, x = NETS[name]().double(), points(10, 2, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(net(x, t).sum(), x)
    torch.testing.assert_close(gradient, finite_differences(lambda x: net(x, t).detach(), x.detach(), 1e-4), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NETS)
def test_time_is_heard_and_every_weight_matters(name):
    net, x = NETS[name](), points(30, 2)
    assert not torch.allclose(net(x, 0.2), net(x, 0.25), atol=1e-4)
    net(x, torch.linspace(0.05, 0.95, 30)).square().sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in net.parameters())


@pytest.mark.parametrize("settings", [{"layers": 1}, {"waves": 0}, {"width": 1}])
@pytest.mark.parametrize("name", NETS)
def test_the_smallest_networks_work(name, settings):
    assert bool(torch.isfinite(NETS[name](**settings)(points(5, 2), 0.3)).all())


# -- what a denoiser says of itself -------------------------------------------------------------------------------------


def test_the_denoiser_predicts_x0():
    net = network(MLPDenoiser)
    assert isinstance(net, Denoiser) and net.parametrisation == "x0" and net.schedule == LINEAR


def test_nothing_is_registered_beyond_weights_and_scale():
    """A checkpoint holds what a forward pass needs: two networks of one seed and one state answer alike."""
    for name, make in NETS.items():
        first, second = make(seed=0), make(seed=1)
        x = points(10, 2)
        assert not torch.allclose(first(x, 0.3), second(x, 0.3)), name
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(x, 0.3), second(x, 0.3)), name


# -- bad input ---------------------------------------------------------------------------------------------------------

BAD = {
    "three coordinates": (lambda: NETS["denoiser"]()(points(4, 3), 0.3), "x_t"),
    "NaN": (lambda: NETS["energy"]()(points(4, 2) * math.nan, 0.3), "x_t"),
    "time": (lambda: NETS["energy"]()(points(4, 2), 1.5), "t"),
    "times": (lambda: NETS["energy"]()(points(4, 2), torch.full((3,), 0.5)), "t"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case):
    make, argument = BAD[case]
    with pytest.raises(ValueError, match=f"^{argument}: expected .*got"):
        make()


@pytest.mark.parametrize("kind", ["denoiser", "energy"])
def test_a_half_network_is_told_the_noise_level_with_all_its_digits(kind):
    """Its embedding of time is that of the whole network, rounded once: sigma in bfloat16 alone moves log_snr by up to 0.02."""
    net, seen = NETS[kind](), []
    net.time.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    for t in (0.003, 0.3, torch.linspace(1e-3, 1, 7)):
        net.float()(points(7, 2), t)
        net.bfloat16()(points(7, 2), t)
        whole, half = seen[-2:]
        assert half.dtype == torch.bfloat16 and torch.equal(half, whole.bfloat16())


def test_autocast_leaves_the_embedding_of_time_whole(schedule):
    t = torch.linspace(1e-3, 1, 7)
    levels = schedule.alpha(t), schedule.sigma(t)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = level_features(*levels)
    assert torch.equal(mixed, level_features(*levels)) and mixed.dtype == torch.float32
