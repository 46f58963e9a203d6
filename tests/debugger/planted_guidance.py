"""Faults of a guidance, planted in exact fields the way people make them."""

import torch
from planting import ANOTHER_ENERGY, NO_TRUTH, UNNAMED, Case, planter, world

from cepkit.diffusion.guidance import DPSGuidance
from cepkit.diffusion.process import convert
from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.truth.fields import ExactGuidance, MeanEnergyGuidance

CASES: dict[str, Case] = {}
plant = planter(CASES)


def at_beta(w, beta):
    """The exact guidance of the same energy at another inverse temperature."""
    return ExactGuidance(w.toy.truth, beta, w.schedule)


def turned(degrees):
    """The matrix of a rotation."""
    angle = torch.tensor(degrees).deg2rad()
    return torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)


# -- sign and size ---------------------------------------------------------------------------------------------------


@plant("guidance", "sign", at="8gaussians", blind=ANOTHER_ENERGY)
def reward_for_energy(w):
    return {"guidance": lambda x, t: -w.guidance(x, t)}


@plant("guidance", "sign", at="rings", beta=5.0, cosine=True, blind=ANOTHER_ENERGY)
def minus_of_the_gradient_forgotten(w):
    def guidance(x, t):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            return torch.autograd.grad(w.guidance.energy(x, t).sum(), x)[0]

    return {"guidance": guidance}


@plant("guidance", "factor", at="moons")
def chain_rule_of_x0_hat_twice(w):
    return {"guidance": lambda x, t: w.guidance(x, t) / w.alpha(t)}


@plant("guidance", "factor", at="rings")
def weighted_by_alpha(w):
    return {"guidance": lambda x, t: w.guidance(x, t) * w.schedule.alpha(t)}


@plant("guidance", "factor", "sign", at="swissroll")
def shift_of_eps_for_guidance(w):
    return {"guidance": lambda x, t: -w.sigma(t) * w.guidance(x, t)}


@plant("guidance", "factor", at="checkerboard", beta=5.0)
def shift_of_x0_for_guidance(w):
    return {"guidance": lambda x, t: w.sigma(t) ** 2 / w.alpha(t) * w.guidance(x, t)}


@plant("guidance", "factor", at="ten")
def divided_by_the_variance(w):
    return {"guidance": lambda x, t: w.guidance(x, t) / w.schedule.sigma_squared(t)}


@plant("guidance", "factor", at="rings", beta=10.0, blind=ANOTHER_ENERGY)
def added_by_model_and_sampler(w):
    return {"guidance": lambda x, t: 2 * w.guidance(x, t)}


@plant("guidance", "factor", at="8gaussians", beta=10.0, blind=ANOTHER_ENERGY)
def beta_divided_out(w):
    return {"guidance": lambda x, t: w.guidance(x, t) / w.beta}


@plant("guidance", "factor", at="helix", beta=4.0, blind=ANOTHER_ENERGY)
def beta_once_more_outside(w):
    return {"guidance": lambda x, t: w.beta * w.guidance(x, t)}


@plant("guidance", "zero", at="moons")
def graph_cut(w):
    def guidance(x, t):
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            energy = w.guidance.energy(x, t).detach() + 0 * x.sum(-1)
            return -torch.autograd.grad(energy.sum(), x)[0]

    return {"guidance": guidance}


# -- another temperature, another energy -----------------------------------------------------------------------------


@plant("guidance", "another beta", at="moons", beta=4.0, blind=ANOTHER_ENERGY)
def energies_already_times_beta(w):
    return {"guidance": at_beta(w, w.beta**2)}


@plant("guidance", "another beta", at="checkerboard", beta=8.0, blind=ANOTHER_ENERGY)
def beta_forgotten(w):
    return {"guidance": at_beta(w, 1.0)}


@plant("guidance", "another beta", at="8gaussians", beta=5.0, blind=ANOTHER_ENERGY)
def temperature_for_inverse_temperature(w):
    return {"guidance": at_beta(w, 1 / w.beta)}


@plant("guidance", "another beta", "factor", at="ten", beta=1.0, blind=ANOTHER_ENERGY)
def half_the_beta_in_ten_dimensions(w):
    return {"guidance": at_beta(w, 0.5)}


@plant("guidance", "another beta", at="swissroll", beta=30.0, blind=ANOTHER_ENERGY)
def a_third_of_the_beta(w):
    return {"guidance": at_beta(w, 10.0)}


@plant("guidance", UNNAMED, at="8gaussians", blind=ANOTHER_ENERGY)
def guidance_of_another_toy(w):
    return {"guidance": world("moons").guidance}


@plant("guidance", UNNAMED, at="blobs", blind=ANOTHER_ENERGY)
def energies_in_another_order(w):
    c = w.toy.truth.components()
    from_other_rows = type(w.toy.truth).from_points(c.mean, c.energy.flip(0), std=float(c.std.max()))
    return {"guidance": ExactGuidance(from_other_rows, w.beta, w.schedule)}


@plant("guidance", "mean energy", at="8gaussians", beta=10.0)
def mean_energy(w):
    return {"guidance": MeanEnergyGuidance(w.toy.truth, w.beta, w.schedule)}


@plant("guidance", "mean energy", at="rings", beta=5.0, cosine=True)
def mean_energy_on_rings(w):
    return {"guidance": MeanEnergyGuidance(w.toy.truth, w.beta, w.schedule)}


@plant("guidance", "DPS", at="swissroll")
def energy_of_the_denoised_point(w):
    return {"guidance": DPSGuidance(w.denoiser, w.toy.energy, w.beta)}


@plant("guidance", "DPS", "mean energy", at="blobs", beta=2.0)  # the same for a linear energy
def energy_of_the_denoised_point_by_formula(w):
    def guidance(x, t):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            x0 = (x + w.sigma(t) ** 2 * w.score(x, t)) / w.alpha(t)
            return -torch.autograd.grad(w.beta * (0.5 - 0.25 * x0.sum(-1)).sum(), x)[0]

    return {"guidance": guidance}


@plant("guidance", "zero", "DPS", at="checkerboard")
def class_label_of_the_denoised_point(w):
    return {"guidance": DPSGuidance(w.denoiser, w.toy.energy, w.beta)}


@plant("guidance", "DPS", "denoised point", "clean energy", at="swissroll", beta=4.0)
def gradient_at_the_denoised_point_without_the_chain_rule(w):
    def guidance(x, t):
        x0 = w.toy.truth.posterior_mean(x, t, w.schedule)
        return w.beta * 2 / 9 * x0  # E = 1 - |x|^2 / 9

    return {"guidance": guidance}


@plant("guidance", "denoised point", at="8gaussians")
def guidance_at_the_denoised_point(w):
    return {"guidance": lambda x, t: w.guidance(w.toy.truth.posterior_mean(x, t, w.schedule), t)}


@plant("guidance", "denoised point", at="moons", beta=2.0)
def classifier_sees_what_the_sampler_predicts(w):
    def guidance(x, t):
        x0_hat = convert(w.score(x, t), "score", "x0", x, t, w.schedule)
        return w.guidance(x0_hat, t)

    return {"guidance": guidance}


@plant("guidance", "clean energy", "time fixed", at="swissroll")
def clean_energy_at_noisy_points(w):
    def guidance(x, t):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            return -torch.autograd.grad(w.beta * w.toy.energy(x).sum(), x)[0]

    return {"guidance": guidance}


@plant("guidance", "clean energy", "time fixed", at="8gaussians")
def clean_energy_of_blobs(w):
    def guidance(x, t):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            return -torch.autograd.grad(w.beta * w.toy.energy(x).sum(), x)[0]

    return {"guidance": guidance}


@plant("guidance", "conditional score", at="8gaussians")
def guided_score_for_guidance(w):
    return {"guidance": lambda x, t: w.score(x, t) + w.guidance(x, t)}


@plant("guidance", "conditional score", at="rings", beta=2.0, cosine=True)
def conditional_model_for_guidance(w):
    target = w.toy.truth.tilt(w.beta)
    return {"guidance": lambda x, t: target.score(x, t, w.schedule)}


# -- time ------------------------------------------------------------------------------------------------------------


@plant("guidance", "time reversed", at="8gaussians")
def time_runs_the_other_way(w):
    return {"guidance": lambda x, t: w.guidance(x, (1 - t).clamp(1e-3, 1))}


@plant("guidance", "time scaled", at="rings")
def half_the_time(w):
    return {"guidance": lambda x, t: w.guidance(x, t / 2)}


@plant("guidance", "time squared", at="moons")
def square_root_of_time(w):
    return {"guidance": lambda x, t: w.guidance(x, t**0.5)}


@plant("guidance", "time squared", at="8gaussians", beta=5.0)
def square_of_time(w):
    return {"guidance": lambda x, t: w.guidance(x, (t * t).clamp(min=1e-3))}


@plant("guidance", "time scaled", "missing noise levels", at="helix")
def twice_the_time(w):
    return {"guidance": lambda x, t: w.guidance(x, (2 * t).clamp(max=1))}


@plant("guidance", "time fixed", at="helix")
def always_one_noise_level(w):
    return {"guidance": lambda x, t: w.guidance(x, 0.4)}


@plant("guidance", "time scaled", "time fixed", "missing noise levels", at="8gaussians")
def index_to_a_thousand_clipped(w):
    return {"guidance": lambda x, t: w.guidance(x, (1000 * t).clamp(max=1))}


@plant("guidance", "time scaled", "time fixed", "clean energy", "missing noise levels", at="moons")
def divided_by_a_thousand(w):
    return {"guidance": lambda x, t: w.guidance(x, (t / 1000).clamp(min=1e-4))}


@plant("guidance", "missing noise levels", at="8gaussians", beta=5.0)
def frozen_near_the_data(w):
    return {"guidance": lambda x, t: w.guidance(x, t.clamp(min=0.3))}


@plant("guidance", "missing noise levels", at="8gaussians")
def guidance_interval(w):
    return {"guidance": lambda x, t: w.guidance(x, t) if float(t) < 0.35 else torch.zeros_like(x)}


@plant("guidance", "non-finite", "missing noise levels", at="8gaussians")
def nan_at_high_noise(w):
    return {"guidance": lambda x, t: w.guidance(x, t) if float(t) <= 0.9 else torch.full_like(x, torch.nan)}


@plant("guidance", "another schedule", at="8gaussians")
def trained_with_the_cosine_schedule(w):
    return {"guidance": lambda x, t: w.toy.truth.guidance(x, t, w.beta, VPCosine())}


@plant("guidance", "another schedule", at="moons", beta=5.0)
def weaker_noise_at_the_end(w):
    hers = VPLinear(0.1, 12.0)
    return {"guidance": lambda x, t: w.toy.truth.guidance(x, t, w.beta, hers)}


@plant("guidance", "another schedule", at="checkerboard", cosine=True)
def linear_guidance_for_a_cosine_model(w):
    return {"guidance": lambda x, t: w.toy.truth.guidance(x, t, w.beta, VPLinear())}


# -- coordinates and units -------------------------------------------------------------------------------------------


@plant("guidance", "coordinates swapped", at="8gaussians")
def rows_and_columns(w):
    return {"guidance": lambda x, t: w.guidance(x, t).flip(-1)}


@plant("guidance", "coordinate flipped", at="moons")
def image_axis_points_down(w):
    return {"guidance": lambda x, t: w.guidance(x, t) * torch.tensor([1.0, -1.0]).to(x)}


@plant("guidance", "coordinate dropped", at="rings", beta=5.0)
def only_the_first_coordinate(w):
    return {"guidance": lambda x, t: torch.stack([w.guidance(x, t)[:, 0], torch.zeros_like(x[:, 0])], -1)}


@plant("guidance", "coordinate dropped", at="helix")
def third_coordinate_of_three_dropped(w):
    return {"guidance": lambda x, t: torch.nn.functional.pad(w.guidance(x, t)[:, :2], (0, 1))}


@plant("guidance", "coordinate scaled", at="8gaussians")
def pixels_are_not_square(w):
    return {"guidance": lambda x, t: w.guidance(x, t) * torch.tensor([1.0, 3.0]).to(x)}


@plant("guidance", "rotated", at="8gaussians")
def another_frame(w):
    return {"guidance": lambda x, t: w.guidance(x, t) @ turned(50.0).to(x)}


@plant("guidance", "rotated", at="checkerboard")
def transposed_change_of_frame(w):
    turn = turned(20.0)  # of a network that works in the frame z = x R

    def guidance(x, t):
        gradient = w.guidance((x @ turn.to(x)) @ turn.to(x).T, t) @ turn.to(x)
        return gradient @ turn.to(x)  # should be the transpose

    return {"guidance": guidance}


@plant("guidance", "coordinates swapped", "rotated", at="ten")
def coordinates_in_another_order(w):
    return {"guidance": lambda x, t: w.guidance(x, t).roll(1, -1)}


@plant("guidance", "input scaled", at="8gaussians", blind=ANOTHER_ENERGY)
def model_in_other_units(w):
    return {"guidance": lambda x, t: w.guidance(x / 1.6, t)}


@plant("guidance", "input scaled", "input shifted", at="blobs", blind=ANOTHER_ENERGY)
def standardised_once_more(w):
    mean, std = w.points.mean(0), w.points.std()
    return {"guidance": lambda x, t: w.guidance((x - mean) / std, t)}


@plant("guidance", "input shifted", at="moons", blind=ANOTHER_ENERGY)
def mean_subtracted_once_more(w):
    return {"guidance": lambda x, t: w.guidance(x - torch.tensor([1.0, -0.6]).to(x), t)}


@plant("guidance", "off the slice", "coordinate dropped", at="helix", beta=4.0, blind=ANOTHER_ENERGY)
def projected_to_the_plane(w):
    flat = torch.tensor([1.0, 1.0, 0.0])
    return {"guidance": lambda x, t: w.guidance(x * flat.to(x), t)}


@plant("guidance", "off the slice", at="ten", blind=ANOTHER_ENERGY)
def sees_only_two_components(w):
    return {"guidance": lambda x, t: w.guidance(w.plane.embed(w.plane.coordinates(x)), t)}


# -- damaged values --------------------------------------------------------------------------------------------------


@plant("guidance", "clipped", at="8gaussians")
def clipped_to_norm_one(w):
    def guidance(x, t):
        g = w.guidance(x, t)
        return g / g.norm(dim=-1, keepdim=True).clamp(min=1.0)

    return {"guidance": guidance}


@plant("guidance", "clipped", at="rings", beta=10.0)
def values_clamped(w):
    return {"guidance": lambda x, t: w.guidance(x, t).clamp(-2.0, 2.0)}


@plant("guidance", "rounded", at="moons")
def differences_of_a_half_precision_energy(w):
    def energy(x, t):
        return w.guidance.energy(x, t).half().to(x)

    def guidance(x, t):
        h, axes = 0.01, torch.eye(2).to(x)
        return -torch.stack([(energy(x + h * e, t) - energy(x - h * e, t)) / (2 * h) for e in axes], -1)

    return {"guidance": guidance}


@plant("guidance", "drift", at="8gaussians")
def bias_of_the_last_layer(w):
    return {"guidance": lambda x, t: w.guidance(x, t) + torch.tensor([0.8, -0.4]).to(x)}


@plant("guidance", "drift", at="ten")
def drift_in_ten_dimensions(w):
    return {"guidance": lambda x, t: w.guidance(x, t) + 0.3}


@plant("guidance", UNNAMED, at="8gaussians", beta=5.0, blind=ANOTHER_ENERGY)
def differences_with_too_large_a_step(w):
    def guidance(x, t):
        axes = torch.eye(2).to(x)
        ahead, behind = ([w.guidance.energy(x + s * 1.5 * e, t) for e in axes] for s in (1, -1))
        return -(torch.stack(ahead, -1) - torch.stack(behind, -1)) / 3.0

    return {"guidance": guidance}


@plant("guidance", "non-finite", at="swissroll")
def weight_that_ends_at_a_radius(w):
    return {"guidance": lambda x, t: w.guidance(x, t) * (1 - x.square().sum(-1, keepdim=True) / 9).sqrt()}


# -- randomness, batches, calls --------------------------------------------------------------------------------------


@plant("guidance", "random", at="8gaussians")
def fresh_noise_at_every_call(w):
    def guidance(x, t):
        g = w.guidance(x, t)
        return g + 0.02 * g.norm(dim=-1, keepdim=True) * torch.randn_like(g)

    return {"guidance": guidance}


@plant("guidance", "random", at="swissroll")
def monte_carlo_without_a_seed(w):
    def guidance(x, t):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            x0 = (x + w.sigma(t) ** 2 * w.score(x, t)) / w.alpha(t)
            cloud = x0 + w.sigma(t) * torch.randn(16, *x.shape)
            energy = -torch.logsumexp(-w.beta * (1 - cloud.square().sum(-1) / 9), 0)
            return -torch.autograd.grad(energy.sum(), x)[0]

    return {"guidance": guidance}


@plant("guidance", "batch size", at="8gaussians", symptoms=("factor",))
def mean_of_the_energies_differentiated(w):
    def guidance(x, t):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            return -torch.autograd.grad(w.guidance.energy(x, t).mean(), x)[0]

    return {"guidance": guidance}


@plant("guidance", "batch", "batch size", at="moons")
def normalised_over_the_batch(w):
    def guidance(x, t):
        g = w.guidance(x, t)
        return g / g.norm() * 20

    return {"guidance": guidance}


@plant("guidance", "batch", at="rings", symptoms=("drift",))
def baseline_of_the_batch(w):
    def guidance(x, t):
        g = w.guidance(x, t)
        return g - g.mean(0)

    return {"guidance": guidance}


@plant("guidance", "batch order", at="checkerboard")
def sorted_and_not_put_back(w):
    def guidance(x, t):
        order = w.guidance.energy(x, t).argsort()
        return w.guidance(x[order], t)

    return {"guidance": guidance}


@plant("guidance", "in place", at="8gaussians")
def point_moved_in_place(w):
    def guidance(x_t, t):
        g = w.guidance(x_t, t)
        x_t += 0.1 * g
        return g

    return {"guidance": guidance}


@plant("guidance", "in place", at="ten")
def point_clamped_in_place(w):
    return {"guidance": lambda x_t, t: w.guidance(x_t.clamp_(-2.0, 2.0), t)}


@plant("guidance", "in place", at="moons")
def time_rescaled_in_place(w):
    def guidance(x_t, t):
        t *= 0.999
        return w.guidance(x_t, t)

    return {"guidance": guidance}


@plant("guidance", "time per row", at="8gaussians")
def wants_one_time_per_row(w):
    return {"guidance": lambda x, t: w.guidance(x, t.reshape(len(x)))}


@plant("guidance", "gradients", at="moons")
def forgets_to_enable_gradients(w):
    def guidance(x, t):
        x = x.detach().requires_grad_(True)
        return -torch.autograd.grad(w.guidance.energy(x, t).sum(), x)[0]

    return {"guidance": guidance}


@plant("guidance", "type", at="rings")
def numpy_array(w):
    return {"guidance": lambda x, t: w.guidance(x, t).numpy()}


@plant("guidance", "dtype", at="8gaussians")
def double_precision_inside(w):
    return {"guidance": lambda x, t: w.guidance(x.double(), t)}


# -- sampling --------------------------------------------------------------------------------------------------------


@plant("sampling", "few steps", at="8gaussians")
def three_steps(w):
    return {"steps": 3}


@plant("sampling", "few steps", at="rings", beta=5.0, cosine=True)
def four_steps(w):
    return {"steps": 4}


@plant("sampling", "scale", at="moons", blind=NO_TRUTH)
def scale_of_four(w):
    return {"scale": 4.0}
