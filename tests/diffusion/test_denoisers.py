"""A denoiser says which parametrisation it predicts, and the exact one is right in each."""

import pytest
import torch
from checks import noisy_points

from cepkit.diffusion.denoisers import Denoiser, FunctionDenoiser, predict
from cepkit.diffusion.process import PARAMETRISATIONS
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactDenoiser


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_the_exact_denoiser_predicts_the_posterior_mean_in_every_parametrisation(toy, parametrisation, schedule):
    x = noisy_points(toy.truth, 0.3, n=20)
    denoiser = ExactDenoiser(toy.truth, schedule, parametrisation)
    torch.testing.assert_close(predict(denoiser, "x0", x, 0.3), toy.truth.posterior_mean(x, 0.3, schedule), rtol=1e-8, atol=1e-8)


def test_the_exact_eps_is_the_average_noise(schedule, generator):
    """For one Gaussian, E[eps | x_t] = sigma_t (x_t - alpha_t m) / v_t."""
    mean, std, t = torch.tensor([[1.0, -2.0]], dtype=torch.float64), 0.5, 0.4
    x = torch.randn(10, 2, generator=generator, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    expected = sigma * (x - alpha * mean) / (alpha**2 * std**2 + sigma**2)
    denoiser = ExactDenoiser(Mixture.from_points(mean, torch.zeros(1), std=std), schedule, "eps")
    torch.testing.assert_close(denoiser(x, t), expected)


def test_a_function_becomes_a_denoiser(schedule):
    denoiser = FunctionDenoiser(lambda x_t, t: 2 * x_t, schedule, "x0")
    assert isinstance(denoiser, Denoiser)
    assert torch.equal(predict(denoiser, "x0", torch.ones(3, 2), 0.5), 2 * torch.ones(3, 2))


@pytest.mark.parametrize("name", ["epsilon", "noise", None])
def test_an_unknown_parametrisation_is_answered_with_the_known_ones(toy, name, schedule):
    for make in (lambda: ExactDenoiser(toy.truth, schedule, name), lambda: FunctionDenoiser(torch.tanh, schedule, name)):
        with pytest.raises(ValueError, match="^parametrisation: expected one of eps, score, x0, v, got"):
            make()


def test_something_that_cannot_be_called_is_refused(schedule):
    with pytest.raises(ValueError, match="^function: expected a callable .* got int"):
        FunctionDenoiser(3, schedule, "eps")


@pytest.mark.parametrize("answer", [torch.zeros(1, 2), torch.zeros(3), 0.0])
def test_an_answer_of_another_shape_is_not_broadcast(answer, schedule):
    with pytest.raises(ValueError, match=r"^denoiser: expected a tensor of the shape of x_t \(3, 2\), got"):
        predict(FunctionDenoiser(lambda x_t, t: answer, schedule, "eps"), "x0", torch.zeros(3, 2), 0.5)
