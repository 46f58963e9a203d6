"""A score that is not the one of the points: the exact score of finitely many points is a sum over them.

With much noise it is nearly the score of the distribution that the points are drawn from. Half of the points against the other
half says how nearly, and where that is not near enough nothing is compared. Without points, the score is compared with the exact
score of its own samples, and with their noise: at every level the score is -E[eps | x_t] / sigma_t, so over pairs (x_t, eps)

    E[score . eps] = -sigma_t E|score|^2,

and a score that is c times right shows 1/c as the ratio of the two sides.
"""

import math

import torch
from torch import Tensor

from cepkit.debugger.checks.agreement import POINTS, TRUTH_NOTE, field_of, finding
from cepkit.debugger.diagnosis import FLOORS, LEFT, RIVAL, Diagnosis
from cepkit.debugger.explanations.case import Case, Field
from cepkit.debugger.explanations.repairs import repairs
from cepkit.debugger.factors import finite_rows, rms
from cepkit.debugger.findings import STANDARD_ERRORS, Finding, Findings
from cepkit.debugger.scene import Scene
from cepkit.diffusion.denoisers import FunctionDenoiser
from cepkit.diffusion.process import perturb
from cepkit.diffusion.sampling import initial_noise, sampling_steps
from cepkit.truth.exact import Mixture

KNOWN = 0.12  # a noise level is compared if two halves of the points agree to this, relative to the score
TOLERANCES = 3.0  # times the difference of the halves: what a right score may show
OWN_TOLERANCE = 0.12  # samples of a right score carry the error of the solver too
TRIVIAL = 0.3  # a repaired score this near to -x at the least noise has lost its data
SAME, UNSURE = 1.05, 2.0  # times the least that is left: as good as the best, and too near to name one matter of time
OF_TIME = {"time scaled", "time squared", "another schedule"}
_OWN_SAMPLES, _STEPS = 1024, 25  # the number of steps is not what is asked here


def check(scene: Scene) -> Findings:
    """Is the score that of the points, or else of its own samples?"""
    if scene.score is None or scene.truth is not None:
        return
    if scene.support is not None:
        case = points_case(scene, scene.many, field_of(scene.score))
        if case is not None:
            yield finding(scene, "points-score", case, "the exact score of your points", max(TRUTH_NOTE, TOLERANCES * case.floor))
        return
    yield from _own_score(scene)


def points_case(scene: Scene, data: Tensor, score: Field) -> Case | None:
    """A score beside the exact one of points (m, D), at noised other points; None where no noise level can be compared."""
    data = data[torch.randperm(len(data), generator=scene.generator("halves"), device=data.device)]
    few = min(len(data) // 4, POINTS)
    seen, rest = data[:few], data[few:]
    halves = [Mixture.from_points(part, torch.zeros(len(part))) for part in (rest[::2], rest[1::2], rest)]
    points, given, floors = {}, {}, {}
    for t in sorted({*scene.times, 1.0}):
        x = perturb(seen, t, scene.schedule, generator=scene.generator("noised")).x_t
        one, two, whole = (mixture.score(x, t, scene.schedule) for mixture in halves)
        floor = rms(one - two) / 2 / rms(whole)
        value = score(x, t)
        if floor < KNOWN and bool(finite_rows(value).any()):
            points[t], given[t] = x, value
            floors[t] = floor
    if len(points) < 2:
        return None

    def right(x: Tensor, t: float) -> Tensor:
        return halves[-1].score(x, t, scene.schedule)

    other = None if scene.guidance is None else field_of(scene.guidance)
    known = {"mixture": halves[-1], "score": right, "other": other, "floors": floors, "known_from": min(points)}
    return Case("score", right, given, points, scene.schedule, **known)


def _own_score(scene: Scene) -> Findings:
    given = field_of(scene.score)
    before, floor = _inconsistency(scene, given)
    reference = "the exact score of its own samples"
    if before <= max(OWN_TOLERANCE, TOLERANCES * floor):
        text = f"The score agrees with {reference}. The relative error is {before:.2g}."
        yield Finding("own-score", "ok", text, figure=before)
        return
    scene.own_samples_doubtful = True
    noise = initial_noise((POINTS, scene.plane.dim), generator=scene.generator("full noise"), dtype=scene.dtype)
    tried = []
    for candidate in repairs(given, noise, scene.schedule):
        if rms(candidate.field(noise, min(scene.times)) + noise) < TRIVIAL * rms(noise):
            continue  # -x at every level agrees with itself, as the score of pure noise does
        after, candidate_floor = _inconsistency(scene, candidate.field)
        if after <= max(LEFT * min(before, 1.0), FLOORS * candidate_floor):
            tried.append(Diagnosis(before, after, candidate, floor=candidate_floor))
    size = "is not defined: they diverge" if math.isinf(before) else f"is {before:.2g}"
    text = f"The score does not agree with {reference}. The relative error {size}."
    if tried:
        best, cause = _best(tried)
        text = f"{text} {best.sentence('score', reference)}"
        yield Finding("own-score", "error", text, before, remedy=best.repair, cause=cause)
    else:
        text += " No repair of the catalogue removes the difference: it is unexplained."
        yield Finding("own-score", "warning", text, before, remedy="give points of the data as support=..., or a truth")


def _best(tried: list[Diagnosis]) -> tuple[Diagnosis, str]:
    """What leaves least, and its cause; none where it is a matter of time and others of that kind leave little more."""
    least = min(found.after for found in tried)
    # with much noise a parametrisation differs from a sign or a factor by less than what finitely many points show
    common = [found for found in tried if found.cause == "parametrisation" and found.after <= RIVAL * max(least, found.floor)]
    best = next(iter(common), next(found for found in tried if found.after <= SAME * least))
    others = {found.cause for found in tried if found.after < UNSURE * best.after and found.cause in OF_TIME}
    return best, "" if best.cause in OF_TIME and len(others) > 1 else best.cause


def _inconsistency(scene: Scene, score: Field) -> tuple[float, float]:
    """The error of a score relative to the exact score of its own samples, and the error that a right one would show."""
    denoiser = FunctionDenoiser(lambda x, t: score(x, float(t)), scene.schedule, "score")
    noise = initial_noise((_OWN_SAMPLES, scene.plane.dim), generator=scene.generator("start"), dtype=scene.dtype)
    x = list(sampling_steps(denoiser, noise, steps=max(scene.steps, _STEPS)))[-1].x
    kept = x[finite_rows(x) & (x.abs().amax(-1) < 100 * scene.domain.reach)]
    case = points_case(scene, kept, score) if len(kept) > len(x) // 2 else None
    if case is None:
        return math.inf, 0.0
    error = case.error(case.right)
    for t in scene.times:
        noised, eps = perturb(kept, t, scene.schedule, generator=scene.generator("noised"))
        factor, scatter = regression_factor(score(noised, t), eps, float(scene.schedule.sigma(t)))
        error = max(error, abs(1 - 1 / factor) - STANDARD_ERRORS * scatter) if math.isfinite(factor) else math.inf
    return error, case.floor


def regression_factor(score: Tensor, eps: Tensor, sigma_t: float) -> tuple[float, float]:
    """c such that score / c is calibrated: -sigma_t E|score|^2 / E[score . eps], over pairs (n, D), and its relative error.

    The factor is NaN where it is undefined.
    """
    rows = finite_rows(score)
    s, e = score[rows].double(), eps[rows].double()
    cross, square = (s * e).sum(-1), s.square().sum(-1)
    mean = float(cross.mean()) if len(cross) > 1 else 0.0
    if mean == 0.0:
        return math.nan, math.inf
    factor = -sigma_t * float(square.mean()) / mean
    # the two means rise and fall together, so the scatter is that of their difference
    return factor, float((cross / mean - square / square.mean()).std()) / math.sqrt(len(cross))
