"""Mistakes planted in exact fields are named, with the truth, with points and with the field alone."""

import pytest
import torch
from checks import seeded, toy_named

from cepkit.debugger import FieldDebugger, Slice
from cepkit.diffusion.guidance import DPSGuidance
from cepkit.diffusion.process import convert
from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactDenoiser, ExactGuidance, MeanEnergyGuidance

BETA = 3.0
SCHEDULE = VPLinear()
TOY, ROLL = toy_named("8gaussians"), toy_named("swissroll")
SCORE, EXACT = ExactDenoiser(TOY.truth, SCHEDULE), ExactGuidance(TOY.truth, BETA, SCHEDULE)
FEW = {"particles": 128, "times": (0.05, 0.2, 0.5, 0.8), "steps": 12}
MORE = {"particles": 256, "times": (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)}
FLIP = torch.tensor([1.0, -1.0])


def report(**given):
    return FieldDebugger(schedule=SCHEDULE, domain=4.5, **{"score": SCORE, **given}).run()


def at(clock):
    return lambda field: lambda x, t: field(x, clock(float(t)))


OF_BOTH = {
    "sign": lambda field: lambda x, t: -field(x, t),
    "time reversed": at(lambda t: max(1 - t, 1e-3)),
    "time scaled": at(lambda t: t / 2),
    "time squared": at(lambda t: t**2),
    "time fixed": at(lambda t: 0.3),
    "missing noise levels": at(lambda t: max(t, 0.2)),
    "coordinates swapped": lambda field: lambda x, t: field(x, t).flip(-1),
    "coordinate flipped": lambda field: lambda x, t: field(x, t) * FLIP,
    "coordinate scaled": lambda field: lambda x, t: field(x, t) * torch.tensor([1.0, 3.0]),
    "coordinate dropped": lambda field: lambda x, t: field(x, t) * torch.tensor([1.0, 0.0]),
    "rotated": lambda field: lambda x, t: field(x, t) @ torch.tensor([[0.8, 0.6], [-0.6, 0.8]]),
    "input scaled": lambda field: lambda x, t: field(2 * x, t),
    "input shifted": lambda field: lambda x, t: field(x - torch.tensor([1.0, 0.5]), t),
    "drift": lambda field: lambda x, t: field(x, t) + torch.tensor([0.5, 0.2]),
    "clipped": lambda field: lambda x, t: field(x, t).clamp(-0.5, 0.5),
    "rounded": lambda field: lambda x, t: field(x, t).bfloat16().float(),
}  # fmt: skip
OF_THE_GUIDANCE = {
    "another beta": ExactGuidance(TOY.truth, BETA**2, SCHEDULE),
    "mean energy": MeanEnergyGuidance(TOY.truth, BETA, SCHEDULE),
    "clean energy": lambda x, t: EXACT(x, 1e-3),
    "denoised point": lambda x, t: EXACT(convert(SCORE(x, t), "score", "x0", x, t, SCHEDULE), t),
    "conditional score": lambda x, t: SCORE(x, t) + EXACT(x, t),
    "another schedule": lambda x, t: TOY.truth.guidance(x, t, BETA, VPCosine()),
    "zero": lambda x, t: torch.zeros_like(x),
}
OF_THE_SCORE = {
    "already guided": lambda x, t: SCORE(x, t) + EXACT(x, t),
    "another schedule": lambda x, t: TOY.truth.score(x, t, VPCosine()),
}


@pytest.mark.parametrize("cause", OF_BOTH | OF_THE_GUIDANCE)
def test_a_mistake_in_the_guidance_is_named_with_the_truth(cause):
    guidance = OF_THE_GUIDANCE[cause] if cause in OF_THE_GUIDANCE else OF_BOTH[cause](EXACT)
    found = report(guidance=guidance, truth=TOY.truth, beta=BETA, **FEW)
    assert found.causes == (cause,), str(found)
    assert found.finding("truth-guidance").remedy or cause == "zero"


@pytest.mark.parametrize("cause", OF_BOTH | OF_THE_SCORE)
def test_a_mistake_in_the_score_is_named_with_the_truth(cause):
    if cause == "coordinates swapped":
        pytest.skip("the eight modes look the same with their coordinates swapped")
    score = OF_THE_SCORE[cause] if cause in OF_THE_SCORE else OF_BOTH[cause](SCORE)
    assert report(score=score, truth=TOY.truth, beta=BETA, **FEW).causes == (cause,)


@pytest.mark.parametrize("kind", ["eps", "x0", "v"])
@pytest.mark.parametrize("known", ["truth", "points", "nothing"])
def test_a_parametrisation_is_named_with_any_reference(kind, known):
    given = {
        "truth": {"truth": TOY.truth, "beta": BETA},
        "points": {"support": TOY.sample(1500, generator=seeded(1))[0]},
        "nothing": {},
    }[known]
    found = report(score=lambda x, t: convert(SCORE(x, t), "score", kind, x, t, SCHEDULE), **given, **MORE)
    assert found.causes == ("parametrisation",) and any(f'"{kind}"' in item.remedy for item in found.findings)


def test_an_energy_of_the_denoised_point_is_named():
    denoiser = ExactDenoiser(ROLL.truth, SCHEDULE)
    guidance = DPSGuidance(denoiser, ROLL.truth.energy, BETA)
    domain = (ROLL.centre, ROLL.extent)
    found = FieldDebugger(score=denoiser, guidance=guidance, domain=domain, truth=ROLL.truth, beta=BETA, **FEW).run()
    assert found.causes == ("DPS",)


@pytest.mark.parametrize("support", [True, False])
@pytest.mark.parametrize("cause", ["sign", "time reversed", "mean energy", "conditional score"])
def test_a_guidance_is_compared_with_itself_where_nothing_else_is_known(cause, support):
    guidance = OF_THE_GUIDANCE[cause] if cause in OF_THE_GUIDANCE else OF_BOTH[cause](EXACT)
    points = {"support": TOY.sample(1500, generator=seeded(1))[0]} if support else {}
    found = report(guidance=guidance, **points, **MORE)
    assert found.causes == (cause,) and found.finding("own-guidance").severity == "error"


@pytest.mark.parametrize("support", [True, False])
def test_a_right_model_agrees_with_itself(support):
    points = {"support": TOY.sample(1500, generator=seeded(1))[0]} if support else {}
    found = report(guidance=EXACT, **points, **MORE)
    assert found.causes == () and found.finding("own-guidance").figure < 0.1
    assert found.finding("points-score" if support else "own-score").severity == "ok"


def test_a_fault_off_the_slice_is_told_from_one_in_it():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((400, 3), generator=generator, dtype=torch.float64)
    truth = Mixture.from_points(x, x[:, 0] + x[:, 2] ** 2, std=0.3)
    exact = ExactGuidance(truth, BETA, SCHEDULE)

    def guidance(x, t):
        return exact(x, t) + x[:, 2:] ** 2 * torch.tensor([0.0, 0.0, 2.0])

    found = FieldDebugger(guidance=guidance, schedule=SCHEDULE, truth=truth, beta=BETA, slice=Slice.axes(3), **FEW).run()
    assert found.causes == ("off the slice",)


def test_what_is_not_in_the_catalogue_is_said_to_be_unexplained():
    found = report(guidance=lambda x, t: EXACT(x, t) + torch.sin(5 * x), truth=TOY.truth, beta=BETA, **FEW)
    item = found.finding("truth-guidance")
    assert found.causes == () and "unexplained" in item.message and "at t = " in item.message


@pytest.mark.parametrize("shift", [1e3, 1e6])
def test_the_zero_of_the_energy_changes_no_finding(shift):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((300, 2), generator=generator, dtype=torch.float64)
    energy = x.square().sum(-1)
    reports = []
    for offset in (0.0, shift):
        truth = Mixture.from_points(x, energy + offset, std=0.3)
        guidance = ExactGuidance(truth, BETA, SCHEDULE)
        reports.append(FieldDebugger(guidance=guidance, schedule=SCHEDULE, truth=truth, beta=BETA, **FEW).run())
    first, second = ({item.check: item.severity for item in found.findings} for found in reports)
    assert first == second and reports[1].causes == ()
