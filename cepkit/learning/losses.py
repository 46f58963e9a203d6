"""Losses: pure functions of predictions and targets, each returning (loss, info).

With w = exp(-beta E(x_0)) and K noisy samples x_t^1 ... x_t^K of one noise level t:

    CEP          -sum_k label_k log softmax_k(-f(x_t^k, t))     Lu et al. (2023), section 4.1
                 unnormalized  label_k = w_k / K          minimised by f = E_t + C(t) for every K >= 2
                 normalized    label_k = w_k / sum_j w_j  the same only as K grows: labels of a group share their scatter
    mean energy  (f - beta E)^2                     minimised by beta E[E | x_t], which is not E_t
    exp-MSE      (exp(-f) - exp(-beta E))^2         minimised by E_t; targets whose relative scatter grows with beta
    denoising    |prediction - target|^2            minimised by the posterior mean

Labels may first be pooled over their group (`pooled_energy`), which takes out much of the scatter.

No loss draws random numbers, steps an optimiser or reads a value back from the device. `info` holds detached 0-dim tensors.
"""

import math

import torch
from torch import Tensor

from cepkit.data_checks import effective_sample_size
from cepkit.diffusion.denoisers import Denoiser, predict
from cepkit.diffusion.process import PARAMETRISATIONS, Perturbed, convert, expand_time
from cepkit.diffusion.schedules import Schedule
from cepkit.validation import check_beta, check_name, check_number

LABELS = ("unnormalized", "normalized")
Info = dict[str, Tensor]


def denoising_loss(denoiser: Denoiser, noised: Perturbed, t: Tensor | float, *, target: str = "v") -> tuple[Tensor, Info]:
    """Denoising score matching (Vincent 2011): mean squared error of the denoiser's prediction, restated as `target`.

    The target decides how noise levels weigh: "eps" favours fine detail, "x0" coarse shape, "v" lies between.

    Args:
        noised: x_t (..., D) and its eps, from `perturb`.
        t: scalar, or one time per leading index of x_t.
        target: one of "eps", "x0", "v", "score".
    """
    check_name(target, PARAMETRISATIONS, name="target")
    wanted = convert(noised.eps, "eps", target, noised.x_t, t, denoiser.schedule)
    loss = (predict(denoiser, target, noised.x_t, t) - wanted).square().mean()
    return loss, {}


def cep_loss(
    f: Tensor, energy: Tensor, beta: float, *, labels: str = "unnormalized", log_scale: float | Tensor = 0.0
) -> tuple[Tensor, Info]:
    """Contrastive energy prediction: cross-entropy between labels from clean energies and softmax(-f) over K noisy samples.

    Args:
        f: the energy net at x_t^1 ... x_t^K, shape (..., K); the samples of a group share one t.
        energy: E(x_0) of the clean points they came from, shape (..., K), low is good.
        beta: inverse temperature of at least 0.
        labels: "unnormalized" or "normalized".
        log_scale: unnormalised labels are divided by exp(log_scale), a constant such as log mean exp(-beta E) over the data
            that keeps them near 1.

    Returns:
        The mean over groups, and info "effective_samples": how many equal contrasts the weights of a group are worth.

    Raises:
        ValueError: shapes that differ, K below 2, unknown labels, or a `beta` that is negative or not finite.
    """
    _check_pair(f, energy)
    if f.ndim == 0 or f.shape[-1] < 2:
        raise ValueError(f"f: expected K >= 2 contrasts on the last axis, got shape {tuple(f.shape)}")
    log_weight = -check_beta(beta) * energy
    if check_name(labels, LABELS, name="labels") == "normalized":
        label = log_weight.softmax(-1)
    else:
        label = (log_weight - (log_scale + math.log(f.shape[-1]))).exp()
    loss = -(label * (-f).log_softmax(-1)).sum(-1).mean()
    return loss, {"effective_samples": effective_sample_size(log_weight.detach()).mean()}


def pooled_energy(
    energy: Tensor, x0: Tensor, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule, *, exponential: bool = True
) -> Tensor:
    """Each noisy point's energy averaged over all clean points of its group, as if any of them might have given it.

    The energy of x_t^k becomes -log(sum_j p_kj exp(-beta E_j)) / beta with p_kj ∝ q(x_t^k | x_0^j), the intermediate energy of
    the group taken for the whole dataset. A label no longer depends on which x_0 happened to give x_t, so it scatters less
    (the idea of Xu, Tong & Jaakkola 2023, arXiv 2302.00670, for denoisers). It keeps its mean given x_t^k, so MSE and exp-MSE
    stay unbiased at every K. CEP compares points that share those x_0: a bias that falls like 1 / K and is large at K = 2.

    Args:
        energy: (..., K); x0 and x_t: (..., K, D); t: scalar or one time per group.
        exponential: average exp(-beta E), for CEP and exp-MSE; otherwise E itself, for the mean energy.

    Returns:
        Energies of the shape of `energy`, without gradient.

    Raises:
        ValueError: shapes that do not fit, or a `beta` that is negative or not finite.
    """
    if x0.shape != x_t.shape or energy.shape != x0.shape[:-1]:
        shapes = ", ".join(str(tuple(value.shape)) for value in (energy, x0, x_t))
        raise ValueError(f"energy: expected (..., K) with x0 and x_t of shape (..., K, D), got {shapes}")
    check_beta(beta)
    with torch.no_grad():
        t_x = expand_time(t, x_t)
        if t_x.ndim and t_x.shape[-2] != 1:
            raise ValueError(f"t: expected a scalar or one time per group {tuple(energy.shape[:-1])}, got {tuple(t.shape)}")
        alpha_t, sigma_t = schedule.alpha(t_x), schedule.sigma(t_x)
        # distances by differences: the quicker matrix product loses them in float32 where the data lie far from the origin
        distance = torch.cdist(x_t, alpha_t * x0, compute_mode="donot_use_mm_for_euclid_dist")
        square = (distance / sigma_t).square_()
        # exp(-60) is nothing beside 1, and the denormal numbers below it are slow
        posterior = (-0.5 * (square - square.amin(-1, keepdim=True))).clamp_(min=-60).softmax(-1)
        if not exponential or beta == 0:
            return (posterior @ energy[..., None])[..., 0]
        lowest = energy.amin(-1, keepdim=True)
        weight = (-beta * (energy - lowest)).clamp_(min=-80).exp_()
        return lowest - (posterior @ weight[..., None])[..., 0].log_() / beta


def mean_energy_loss(f: Tensor, energy: Tensor, beta: float) -> tuple[Tensor, Info]:
    """Least squares on beta E(x_0), "MSE": what Diffuser's value network learns (Janner et al. 2022). Shapes (...)."""
    _check_pair(f, energy)
    return (f - check_beta(beta) * energy).square().mean(), {}


def exp_energy_loss(f: Tensor, energy: Tensor, beta: float, *, clamp: float = 10.0) -> tuple[Tensor, Info]:
    """Least squares on exp(-beta E(x_0)), "exp-MSE": right in the limit, and blind to points of high energy. Shapes (...).

    Near the minimum an error in f weighs like exp(-2 E_t), in CEP like exp(-E_t). Both exponents are cut at `clamp`: without it
    the square of an early f of -50 overflows float32. A prediction that is cut has no gradient, a target that is cut biases the
    result; info "clamped" is the share of both. Energies with a mean of exp(-beta E) near 1 suit it best.

    Raises:
        ValueError: shapes that differ, or a number out of range.
    """
    _check_pair(f, energy)
    clamp = check_number(clamp, name="clamp", low=0.0, high=80.0)
    prediction, target = -f, -check_beta(beta) * energy
    loss = (prediction.clamp(max=clamp).exp() - target.clamp(max=clamp).exp()).square().mean()
    cut = torch.cat([(prediction.detach() > clamp).flatten(), (target > clamp).flatten()])
    return loss, {"clamped": cut.to(f.dtype).mean()}


def _check_pair(f: Tensor, energy: Tensor) -> None:
    if f.shape != energy.shape:
        raise ValueError(f"energy: expected the shape of f {tuple(f.shape)}, got {tuple(energy.shape)}")
