"""Every planted fault is found by its own check, and the exact guidance of no toy raises an alarm."""

import pytest
import torch
from checks import seeded, toy_named

from cepkit.debugger import FieldDebugger, Slice
from cepkit.diffusion.guidance import DPSGuidance
from cepkit.diffusion.process import convert
from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.truth.fields import ExactDenoiser, ExactGuidance, MeanEnergyGuidance
from cepkit.truth.own_points import from_points

BETA = 3.0
SCHEDULE = VPLinear()
TOY = toy_named("8gaussians")
DENOISER = ExactDenoiser(TOY.truth, SCHEDULE)
EXACT = ExactGuidance(TOY.truth, BETA, SCHEDULE)
TURN = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
KNOWN = {"truth": TOY.truth, "beta": BETA}
FEW = {"particles": 256, "times": (0.05, 0.2, 0.5, 0.8)}  # enough for every fault here, and three times as fast


def report(guidance=EXACT, *, score=DENOISER, truth=True, **settings):
    given = {**FEW, "steps": 12, **(KNOWN if truth else {}), **settings}
    return FieldDebugger(score=score, guidance=guidance, schedule=SCHEDULE, domain=4.5, **given).run()


def alarms(found):
    return {item.check for item in found.findings if item.severity in ("warning", "error")}


# -- no false alarms -------------------------------------------------------------------------------------------------


def test_the_exact_guidance_passes_on_every_toy(toy):
    exact, denoiser = (ExactGuidance(toy.truth, BETA, SCHEDULE), ExactDenoiser(toy.truth, SCHEDULE))
    settings = {"particles": 128, "times": (0.05, 0.2, 0.8)} if toy.name == "2spirals" else {}
    domain = (toy.centre, toy.extent)
    found = FieldDebugger(
        score=denoiser, guidance=exact, energy=exact.energy, domain=domain, truth=toy.truth, beta=BETA, **settings
    ).run()
    assert alarms(found) == set(), str(found)
    assert found.worst == "ok"


@pytest.mark.parametrize("name", ["8gaussians", "checkerboard"])
@pytest.mark.parametrize("support", ["nothing", "points"])
def test_the_exact_guidance_passes_without_a_truth(name, support):
    toy = toy_named(name)
    given = None if support == "nothing" else toy.sample(1500, generator=seeded(1))[0]
    exact = ExactGuidance(toy.truth, BETA, SCHEDULE)
    found = FieldDebugger(score=ExactDenoiser(toy.truth, SCHEDULE), guidance=exact, domain=toy.extent, support=given, **FEW).run()
    assert alarms(found) == set(), str(found)
    assert found.finding("reference").severity == "note"  # says that a sign flip would go unseen


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("beta", [1.0, 10.0])
def test_neither_the_seed_nor_the_inverse_temperature_raises_an_alarm(seed, beta):
    found = report(ExactGuidance(TOY.truth, beta, SCHEDULE), beta=beta, seed=seed, steps=25)
    assert alarms(found) == set(), str(found)


@pytest.mark.parametrize("name", ["moons", "swissroll"])
@pytest.mark.parametrize("given", ["truth", "energy", "points", "nothing"])
def test_a_strong_guidance_that_is_right_raises_no_alarm(name, given):
    toy, beta = toy_named(name), 50.0
    exact = ExactGuidance(toy.truth, beta, SCHEDULE)
    settings = {
        "truth": {"truth": toy.truth, "beta": beta},
        "energy": {"energy": exact.energy},
        "points": {"support": toy.sample(1500, generator=seeded(1))[0].float()},
        "nothing": {},
    }[given]
    denoiser, domain = ExactDenoiser(toy.truth, SCHEDULE), (toy.centre, toy.extent)
    found = FieldDebugger(score=denoiser, guidance=exact, domain=domain, **FEW, **settings).run()
    assert alarms(found) == set(), str(found)
    if name == "moons" and given == "nothing":
        assert found.finding("norm-ratio").figure > 3  # strong it is


@pytest.mark.parametrize("given", ["truth", "energy"])
def test_no_guidance_for_an_energy_that_is_constant_raises_no_alarm(given):
    known = {"beta": 0.0} if given == "truth" else {"energy": lambda x, t: 3 + 0 * x[:, 0]}
    found = report(lambda x, t: 0 * x, truth=given == "truth", particles=64, steps=4, **known)
    item = found.finding("zero-guidance")
    assert item.severity == "note" and "does not depend on x" in item.message


def test_what_rounding_leaves_of_no_guidance_has_no_curl():
    x = torch.randn((300, 10), generator=seeded(3))
    x[:, 0] += torch.tensor([3.0, -3.0]).repeat_interleave(150)
    toy, schedule = from_points(x, x[:, 0], std=0.1), VPCosine()
    found = FieldDebugger(
        score=ExactDenoiser(toy.truth, schedule), guidance=ExactGuidance(toy.truth, 0.0, schedule), domain=toy.extent,
        slice=Slice.axes(10), support=toy.sample(1500, generator=seeded(1))[0].float(), steps=4, **FEW,
    ).run()  # fmt: skip
    assert not {"curl", "zero-guidance", "calls"} & alarms(found), str(found)


def test_energies_are_compared_where_components_overlap():
    x = torch.randn((200, 2), generator=seeded(2))
    truth = from_points(0.1 * x + 2, x[:, 0], std=0.3).truth  # a component's energy is not that of the place
    exact = ExactGuidance(truth, 5.0, SCHEDULE)
    found = FieldDebugger(
        guidance=exact, schedule=SCHEDULE, domain=((2.0, 2.0), 1.5), truth=truth, beta=5.0, particles=256, times=(0.2,)
    ).run()
    assert found.finding("sample-energy").severity == "ok", str(found)


def test_another_schedule_parametrisation_and_float64_raise_no_alarm():
    schedule = VPCosine()
    exact = ExactGuidance(TOY.truth, BETA, schedule)
    denoiser = ExactDenoiser(TOY.truth, schedule, "v")
    found = FieldDebugger(score=denoiser, guidance=exact, domain=4.5, support=TOY.sample(16)[0].double(), **KNOWN, **FEW).run()
    assert alarms(found) == set(), str(found)
    assert found.arrays["samples"].dtype == "float64"


def test_thousands_of_particles_are_compared_with_as_many_exact_ones():
    found = report(particles=4096, times=(0.2,), steps=2, guidance=None)
    assert "Two exact sets of 4096" in found.finding("sample-distance").message


# -- planted in the guidance ---------------------------------------------------------------------------------------


def test_a_sign_flip_is_found_against_the_truth_and_against_the_energy():
    found = report(lambda x, t: -EXACT(x, t), energy=EXACT.energy)
    for check in ("truth-guidance", "energy-gradient"):
        item = found.finding(check)
        assert item.severity == "error" and item.figure == pytest.approx(2, abs=1e-3) and item.cause == "sign"
        assert "sign flip" in item.message and "-1" in item.remedy
    assert "falls short" in found.finding("sample-energy").message


@pytest.mark.parametrize(
    ("factor", "name", "missing"),
    [
        (lambda alpha, sigma: 1 / sigma, "1/sigma_t", "missing sigma_t"),
        (lambda alpha, sigma: sigma, "sigma_t", "missing 1/sigma_t"),
        (lambda alpha, sigma: 1 / alpha, "1/alpha_t", "missing alpha_t"),
        (lambda alpha, sigma: alpha, "alpha_t", "missing 1/alpha_t"),
        (lambda alpha, sigma: -sigma, "-sigma_t", "sign flip and a missing 1/sigma_t"),
        (lambda alpha, sigma: sigma**2 / alpha, "sigma_t^2/alpha_t", "missing alpha_t/sigma_t^2"),
        (lambda alpha, sigma: sigma / alpha, "sigma_t/alpha_t", "missing alpha_t/sigma_t"),
        (lambda alpha, sigma: 2.0, "2.00", "counted twice"),
    ],
)
@pytest.mark.parametrize("against", ["truth", "energy"])
def test_a_missing_factor_is_named(factor, name, missing, against):
    def guidance(x, t):
        return factor(SCHEDULE.alpha(t), SCHEDULE.sigma(t)) * EXACT(x, t)

    energy = EXACT.energy if against == "energy" else None
    found = report(guidance, truth=against == "truth", energy=energy, particles=64, steps=2)
    item = found.finding("truth-guidance" if against == "truth" else "energy-gradient")
    assert item.severity == "error" and f"c(t) = {name}" in item.message and missing in item.remedy


def test_an_energy_without_a_graph_is_differenced():
    found = report(energy=lambda x, t: EXACT.energy(x.detach(), t), particles=64, steps=4)
    item = found.finding("energy-gradient")
    assert item.severity == "ok" and "finite differences" in item.message and item.figure < 1e-3


def test_another_energy_than_the_guidance_s_is_found():
    other = MeanEnergyGuidance(TOY.truth, BETA, SCHEDULE)
    assert report(energy=other.energy).finding("energy-gradient").severity in ("warning", "error")


def test_dps_with_a_piecewise_constant_energy_steers_nothing():
    board = toy_named("checkerboard")
    denoiser = ExactDenoiser(board.truth, SCHEDULE)
    guidance = DPSGuidance(denoiser, board.energy, BETA)
    steps = {"energy": lambda x, t: torch.where(x[:, 0] > 0, 1.0, 0.0)}  # its gradient is zero too
    for given in ({}, {"truth": board.truth, "beta": BETA}, steps):
        found = FieldDebugger(score=denoiser, guidance=guidance, domain=5, **given, particles=64, steps=4, times=(0.1, 0.5)).run()
        item = found.finding("zero-guidance")
        assert item.severity == ("error" if given else "warning") and "DPS" in item.remedy and item.cause == "zero"


@pytest.mark.parametrize("truth", [True, False])
def test_a_scale_of_ten_is_found(truth):
    found = report(scale=10.0, truth=truth)
    item = found.finding("norm-ratio")
    assert item.severity in (("warning", "error") if truth else ("note",)) and item.figure > 3
    if not truth:
        assert found.finding("guided-mean").severity == "error" and found.finding("guided-mean").figure > 0.9
    else:
        assert "scale" in item.remedy
        assert found.finding("scale").severity == "warning"
        assert "overshoots" in found.finding("sample-energy").message


@pytest.mark.parametrize(
    "change",
    [
        lambda x, t: EXACT(x, t) / SCHEDULE.alpha(t),
        lambda x, t: EXACT(x, 1.001 - t),
        lambda x, t: 20 * EXACT(x, t) / EXACT(x, t).norm(dim=-1).max(),
        lambda x, t: DENOISER(x, t) + EXACT(x, t),
    ],
)
def test_a_guidance_that_points_out_of_the_data_is_seen_without_a_truth(change):
    found = report(change, truth=False, particles=128, steps=4)
    assert found.finding("guided-mean").severity in ("warning", "error")
    assert max(abs(value) for value in found.finding("guided-mean").x) > 4.5


def test_a_guidance_that_its_energy_calls_for_is_no_alarm_however_strong():
    found = report(lambda x, t: 10 * EXACT(x, t), truth=False, energy=lambda x, t: 10 * EXACT.energy(x, t), steps=4)
    assert found.finding("guided-mean").severity == "note" and found.finding("guided-mean").figure > 0.9


@pytest.mark.parametrize("truth", [True, False])
def test_an_energy_of_clean_data_evaluated_at_noisy_points_is_found(truth):
    def guidance(x, t):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(BETA * TOY.energy(x).sum(), x)
        return -gradient

    found = report(guidance, truth=truth)
    item = found.finding("time-dependence")
    assert item.severity == "warning" and item.figure < 1e-6
    assert found.causes == ("clean energy" if truth else "time fixed",)


def test_a_clean_energy_with_a_weight_in_t_is_found():
    def guidance(x, t):
        return SCHEDULE.alpha(t) * EXACT(x, 0.1)

    item = report(guidance).finding("time-dependence")
    assert item.severity == "warning" and "factor" in item.message


@pytest.mark.parametrize("truth", [True, False])
def test_three_steps_are_too_few(truth):
    item = report(steps=3, truth=truth).finding("steps")
    assert item.severity == "error" and item.figure > 0.2 and "too few steps" in item.remedy and item.cause == "few steps"


def test_a_strong_guidance_that_needs_more_steps_than_the_score_is_not_called_too_few_steps():
    item = report(lambda x, t: 10 * EXACT(x, t), truth=False, steps=25).finding("steps")
    assert item.severity == "warning" and item.cause == "" and "without the guidance 25 are enough" in item.remedy


def test_the_observed_order_of_the_solver_is_two():
    displacement = report(particles=128, steps=25).arrays["step_displacement"]
    assert 1.6 < float(torch.tensor(displacement[0] / displacement[1]).log2()) < 2.6


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_a_rotation_is_found_by_its_curl(truth, share):
    def guidance(x, t):
        field = EXACT(x, t)
        return field + share * field @ TURN.to(x).T

    item = report(guidance, truth=truth, particles=128, steps=4).finding("curl")
    assert item.severity in ("warning", "error") and item.t is not None and len(item.x) == 2


def test_curl_is_measured_as_it_is_defined():
    def guidance(x, t):
        return torch.stack([x[:, 0] - 3 * x[:, 1], 3 * x[:, 0] + 2 * x[:, 1]], -1)

    # Jacobian ((1, -3), (3, 2)): the antisymmetric part is ((0, -3), (3, 0))
    figure = report(guidance, truth=False, steps=4).finding("curl").figure
    assert figure == pytest.approx((18 / 23) ** 0.5, rel=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.1])
@pytest.mark.parametrize("hidden", [True, False])
def test_curl_is_told_from_rounding_in_a_field_of_single_precision(share, hidden):
    def guidance(x, t):
        return single(x, t).to(x) if hidden else single(x, t)

    def single(x, t):
        field = EXACT(x.float(), t)
        field = (64 + field) - 64  # a last digit of 64: what a weak field loses inside a network
        return field + share * field @ TURN.T

    item = report(guidance, truth=False, particles=128, steps=2, times=(0.05, 0.2, 0.5)).finding("curl")
    assert item.severity == ("warning" if share else "ok")


def test_an_approximation_is_measured_and_not_mistaken_for_a_factor():
    item = report(MeanEnergyGuidance(TOY.truth, BETA, SCHEDULE)).finding("truth-guidance")
    assert item.severity in ("warning", "error") and "differs" in item.message


def test_guided_paths_that_leave_the_support_are_counted():
    def guidance(x, t):
        return torch.stack([torch.full_like(x[:, 0], 60.0), torch.zeros_like(x[:, 0])], -1)

    for truth in (True, False):
        found = report(guidance, truth=truth)
        item = found.finding("trajectories")
        assert item.severity == "error" and item.figure > 0.5 and item.x[0] > 3.5 and 0 < item.t < 1
        assert found.arrays["outside"][-1] == pytest.approx(item.figure)


def test_diverging_paths_are_counted():
    item = report(lambda x, t: 40 * x, truth=False).finding("divergence")
    assert item.severity == "error" and item.figure > 0.5


# -- planted in the score ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", ["truth", "points"])
def test_a_score_that_is_an_eps_is_found(known):
    support = None if known == "truth" else TOY.sample(1500, generator=seeded(1))[0]
    found = report(
        score=lambda x, t: convert(DENOISER(x, t), "score", "eps", x, t, SCHEDULE), truth=known == "truth", support=support
    )
    item = found.finding("truth-score" if known == "truth" else "points-score")
    assert item.severity == "error" and item.cause == "parametrisation" and "an eps" in item.message


@pytest.mark.parametrize("kind", ["x0", "v"])
def test_a_score_that_is_an_x0_or_v_is_found_without_a_truth(kind):
    found = report(score=lambda x, t: convert(DENOISER(x, t), "score", kind, x, t, SCHEDULE), truth=False)
    item = found.finding("own-score")
    assert item.severity == "error" and item.cause == "parametrisation" and f'"{kind}"' in item.remedy


def test_a_score_without_its_sigma_is_found_against_data():
    def score(x, t):
        return SCHEDULE.sigma(t) * DENOISER(x, t)

    found = report(score=score, truth=False, support=TOY.sample(2000, generator=seeded(1))[0], particles=512)
    item = found.finding("points-score")
    assert item.cause == "factor" and "c(t) = sigma_t" in item.message


def test_denoised_points_outside_the_domain_are_found():
    item = report(score=lambda x, t: DENOISER(x, t) + 3 / SCHEDULE.sigma(t) ** 2, guidance=None).finding("tweedie")
    assert item.severity == "warning" and item.figure > 0.5 and max(item.x) > 4.5
