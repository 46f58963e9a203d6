"""Faults of a score, planted in exact fields the way people make them."""

import torch
from planted_guidance import turned
from planting import ANOTHER_DATA, UNNAMED, Case, planter, world

from cepkit.diffusion.denoisers import FunctionDenoiser
from cepkit.diffusion.process import convert
from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.truth.exact import Mixture

CASES: dict[str, Case] = {}
plant = planter(CASES)


def as_kind(w, kind):
    """The exact prediction in another parametrisation."""
    return lambda x, t: convert(w.score(x, t), "score", kind, x, t, w.schedule)


# -- parametrisation and size ----------------------------------------------------------------------------------------


@plant("score", "parametrisation", "factor", at="8gaussians")
def eps_for_score(w):
    return {"score": as_kind(w, "eps")}


@plant("score", "parametrisation", at="moons")
def x0_for_score(w):
    return {"score": as_kind(w, "x0")}


@plant("score", "parametrisation", at="rings", cosine=True)
def v_for_score(w):
    return {"score": as_kind(w, "v"), "guidance": None}


@plant("score", "parametrisation", "factor", at="blobs")
def score_declared_eps(w):
    return {"score": FunctionDenoiser(w.score, w.schedule, "eps")}


@plant("score", "parametrisation", at="checkerboard")
def eps_declared_v(w):
    return {"score": FunctionDenoiser(as_kind(w, "eps"), w.schedule, "v")}


@plant("score", "parametrisation", at="ten")
def x0_declared_eps(w):
    return {"score": FunctionDenoiser(as_kind(w, "x0"), w.schedule, "eps")}


@plant("score", "factor", "parametrisation", at="8gaussians", beta=5.0)
def not_divided_by_sigma(w):
    return {"score": lambda x, t: w.sigma(t) * w.score(x, t), "guidance": None}


@plant("score", "factor", at="moons")
def divided_by_sigma_twice(w):
    return {"score": lambda x, t: w.score(x, t) / w.sigma(t)}


@plant("score", "factor", at="rings")
def times_alpha(w):
    return {"score": lambda x, t: w.alpha(t) * w.score(x, t)}


@plant("score", "factor", "temperature", at="swissroll")
def score_of_the_square(w):
    return {"score": lambda x, t: 2 * w.score(x, t)}


@plant("score", "sign", at="checkerboard")
def eps_over_sigma_without_the_minus(w):
    return {"score": lambda x, t: as_kind(w, "eps")(x, t) / w.sigma(t)}


@plant("score", UNNAMED, "parametrisation", "another schedule", "input scaled", at="8gaussians")
def alpha_forgotten_in_the_conversion(w):
    def score(x, t):
        x0 = w.toy.truth.posterior_mean(x, t, w.schedule)
        return (x0 - x) / w.sigma(t) ** 2  # should be alpha_t x0 - x

    return {"score": score}


# -- time ------------------------------------------------------------------------------------------------------------


@plant("score", "time reversed", at="8gaussians")
def score_backwards_in_time(w):
    return {"score": lambda x, t: w.score(x, (1 - t).clamp(1e-3, 1))}


@plant("score", "time scaled", at="moons")
def score_at_half_the_time(w):
    return {"score": lambda x, t: w.score(x, t / 2)}


@plant("score", "time squared", at="rings")
def score_at_the_square_of_time(w):
    return {"score": lambda x, t: w.score(x, (t * t).clamp(min=1e-3)), "guidance": None}


@plant("score", "time scaled", "time fixed", at="blobs")
def score_at_a_thousand_t(w):
    return {"score": lambda x, t: w.score(x, (1000 * t).clamp(max=1)), "guidance": None}


@plant("score", "time fixed", at="helix")
def one_embedding_for_all_times(w):
    return {"score": lambda x, t: w.score(x, 0.5)}


@plant("score", "missing noise levels", at="8gaussians")
def score_frozen_near_the_data(w):
    return {"score": lambda x, t: w.score(x, t.clamp(min=0.25)), "guidance": None}


@plant("score", "non-finite", "missing noise levels", at="moons")
def nan_at_low_noise(w):
    return {"score": lambda x, t: w.score(x, t) if float(t) > 0.08 else w.score(x, t) / 0}


@plant("score", "missing noise levels", "factor", "clipped", at="rings", beta=1.0)
def sigma_clamped_from_below(w):
    return {"score": lambda x, t: -as_kind(w, "eps")(x, t) / w.sigma(t).clamp(min=0.4), "guidance": None}


@plant("score", "another schedule", at="8gaussians")
def cosine_model_sampled_as_linear(w):
    return {"score": lambda x, t: w.toy.truth.score(x, t, VPCosine())}


@plant("score", "another schedule", at="moons")
def another_constant_of_the_schedule(w):
    def hers(t):  # beta_max of 10
        log_alpha = -(10 - 0.1) * t**2 / 4 - 0.1 * t / 2
        return log_alpha.exp(), (1 - (2 * log_alpha).exp()).sqrt()

    def score(x, t):
        alpha, sigma = hers(t)
        return w.toy.truth.score(x, VPLinear().t_from_log_snr(2 * (alpha / sigma).log()), VPLinear())

    return {"score": score, "guidance": None}


@plant("score", "another schedule", at="helix", cosine=True)
def linear_model_sampled_as_cosine(w):
    return {"score": lambda x, t: w.toy.truth.score(x, t, VPLinear())}


# -- coordinates, units, other data ----------------------------------------------------------------------------------


@plant("score", "input scaled", at="swissroll")
def score_in_other_units(w):
    return {"score": lambda x, t: w.score(x / 1.5, t)}


@plant("score", "input shifted", at="8gaussians")
def score_about_another_mean(w):
    return {"score": lambda x, t: w.score(x + torch.tensor([0.7, 0.3]).to(x), t)}


@plant("score", "coordinates swapped", at="moons")
def score_columns_swapped(w):
    return {"score": lambda x, t: w.score(x, t).flip(-1), "guidance": None}


@plant("score", "coordinate flipped", at="blobs")
def score_with_one_sign(w):
    return {"score": lambda x, t: w.score(x, t) * torch.tensor([-1.0, 1.0]).to(x)}


@plant("score", "coordinate dropped", at="helix")
def score_without_its_last_column(w):
    return {"score": lambda x, t: torch.cat([w.score(x, t)[:, :2], torch.zeros_like(x[:, 2:])], -1)}


@plant("score", "coordinate scaled", at="8gaussians")
def score_with_one_column_scaled(w):
    return {"score": lambda x, t: w.score(x, t) * torch.tensor([1.0, 0.4]).to(x)}


@plant("score", "rotated", at="checkerboard")
def score_in_another_frame(w):
    return {"score": lambda x, t: w.score(x, t) @ turned(30.0).to(x)}


@plant("score", "off the slice", at="ten")
def right_in_the_plane_only(w):
    def score(x, t):
        flat = w.plane.embed(w.plane.coordinates(x))
        return w.score(flat, t)

    return {"score": score}


@plant("score", "already guided", at="8gaussians", blind=ANOTHER_DATA)
def model_already_guided(w):
    return {"score": lambda x, t: w.score(x, t) + w.guidance(x, t)}


@plant("score", "already guided", at="rings", beta=2.0, blind=ANOTHER_DATA)
def model_of_the_good_data(w):
    return {"score": lambda x, t: w.toy.truth.tilt(w.beta).score(x, t, w.schedule)}


@plant("score", UNNAMED, at="moons", blind=ANOTHER_DATA)
def model_of_other_data(w):
    return {"score": lambda x, t: world("8gaussians").score(x, t), "guidance": None}


@plant("score", "input scaled", "coordinate scaled", UNNAMED, at="blobs", blind=ANOTHER_DATA)
def data_drawn_wider(w):
    c = w.toy.truth.components()
    wider = Mixture.from_points(1.5 * c.mean, c.energy, std=1.5 * float(c.std.max()))
    return {"score": lambda x, t: wider.score(x, t, w.schedule), "guidance": None}


# -- damaged values, calls -------------------------------------------------------------------------------------------


@plant("score", "clipped", at="8gaussians")
def score_values_clamped(w):
    return {"score": lambda x, t: w.score(x, t).clamp(-1.0, 1.0)}


@plant("score", "clipped", at="checkerboard")
def score_norm_clipped(w):
    def score(x, t):
        s = w.score(x, t)
        return s * (1.5 / s.norm(dim=-1, keepdim=True)).clamp(max=1.0)

    return {"score": score, "guidance": None}


@plant("score", "drift", at="moons")
def score_with_a_bias(w):
    return {"score": lambda x, t: w.score(x, t) + torch.tensor([1.0, 0.5]).to(x)}


@plant("score", "rounded", at="8gaussians")
def points_rounded_to_a_grid(w):
    return {"score": lambda x, t: w.score((x * 2).round() / 2, t)}


@plant("score", "rounded", at="moons")
def conversion_in_bfloat16(w):
    def score(x, t):
        x0 = w.toy.truth.posterior_mean(x, t, w.schedule)
        alpha, sigma = w.alpha(t).bfloat16(), w.sigma(t).bfloat16()
        return ((alpha * x0.bfloat16() - x.bfloat16()) / sigma / sigma).to(x)

    return {"score": score}


@plant("score", "random", at="rings")
def score_with_fresh_noise(w):
    return {"score": lambda x, t: w.score(x, t) + 0.03 / w.sigma(t) * torch.randn_like(x)}


@plant("score", "in place", at="8gaussians")
def score_centres_in_place(w):
    def score(x_t, t):
        s = w.score(x_t, t)
        x_t -= 0.05 * x_t.mean()
        return s

    return {"score": score, "guidance": None}


@plant("score", "batch", at="moons")
def score_normalised_by_the_batch(w):
    def score(x, t):
        s = w.score(x, t)
        return s / s.std() / w.sigma(t)

    return {"score": score}


@plant("score", "shape", at="helix")
def score_of_a_batch_of_images(w):
    return {"score": lambda x, t: w.score(x, t)[:, None], "guidance": None}


@plant("score", "raised", at="8gaussians")
def table_too_short(w):
    levels = torch.linspace(0.001, 0.9, 900)
    return {"score": lambda x, t: w.score(x, levels[int(1000 * t)]), "guidance": None}
