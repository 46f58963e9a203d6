"""A guidance or score that is not what an energy, the truth or the points say, and the explanation of the difference."""

import math

import torch
from torch import Tensor

from cepkit.debugger.calls import RecordedCallable
from cepkit.debugger.diagnosis import Diagnosis, explain
from cepkit.debugger.explanations.case import FIRST_TIME, Case, Field
from cepkit.debugger.factors import ZERO_SHARE, finite_rows, fit_factor, rms
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene
from cepkit.truth.exact import Mixture

# Error relative to the exact field (1 is as bad as none). Networks trained for half a minute reach 0.06, 0.2 at small t;
# the mean energy has 0.7.
TRUTH_NOTE = 0.15
TRUTH_WARNING = 0.3
TRUTH_ERROR = 0.9
EXPLAINED_WARNING = 0.01  # a difference that an explanation removes is a fault even where a network's own error would be larger
GRADIENT_TOLERANCE = 0.02  # guidance and its own energy's gradient come from one formula: only rounding may separate them
ROUNDING = 1e-5  # of the score's size sqrt(D) / sigma_t: what is left of a guidance that is zero
NEGLIGIBLE_SHARE = 0.05  # a noise level whose exact guidance is below this share of the score does not decide

POINTS = 256  # for the gradient of an energy, whose finite differences take 2 D calls each


def check(scene: Scene) -> Findings:
    """Are the guidance and the score what the energy and the truth say? Without both, say what stays unknown."""
    if scene.guidance is not None and scene.energy is not None:
        yield from _energy_gradient(scene)
    elif scene.guidance is not None and scene.truth is None:
        text = "Neither an energy nor a truth was given, so a wrong sign or factor of the guidance may go unseen."
        yield Finding("reference", "note", text, remedy="give energy=..., or truth=... and beta=...")
    if scene.truth is not None:
        yield from _exact_guidance(scene)
        yield from _exact_score(scene)


def _energy_gradient(scene: Scene) -> Findings:
    ways = set()

    def right(x, t):
        force, how = scene.energy.minus_gradient(x, t, scene.domain.reach)
        ways.add(how)
        return torch.full_like(x, torch.nan) if force is None else force

    fields = scene.fields("guidance")
    points = {t: scene.clouds[t].guided[:POINTS] for t in fields}
    given = {t: guidance[:POINTS] for t, (guidance,) in fields.items()}
    points = {t: x for t, x in points.items() if bool(finite_rows(right(x, t), given[t]).any())}
    if not points:
        return
    given = {t: given[t] for t in points}
    case = Case("guidance", right, given, points, scene.schedule, score=_score(scene), **_energies(scene))
    how = ways.pop()
    # central differences in float32 carry errors of about a hundredth themselves
    tolerance = GRADIENT_TOLERANCE * (2 if how == "finite differences" else 1)
    yield finding(scene, "energy-gradient", case, f"minus the gradient of your energy ({how})", tolerance)


def _energies(scene: Scene) -> dict[str, object]:
    """What a `Case` needs to know of energies: from the truth, or else from the given energy of clean points."""
    if scene.truth is not None:
        return {"mixture": scene.truth, "beta": scene.beta, "energy": lambda x0: scene.beta * scene.truth.energy(x0)}

    def clean(x0: Tensor) -> Tensor:
        return scene.energy.function(x0, torch.tensor(FIRST_TIME, dtype=torch.float64))

    data, beta = scene.many, scene.beta or 1.0  # 1 where it is inside the energy
    values = None if data is None else scene.energy(data, FIRST_TIME, within=0)
    if values is None or not bool(torch.isfinite(values).all()):
        return {}
    return {"mixture": Mixture.from_points(data, values / beta), "beta": beta, "energy": clean}


def _score(scene: Scene) -> Field | None:
    """The exact score, or the given one, or None; differentiable if the callable is."""
    if scene.truth is not None:
        return lambda x, t: scene.truth.score(x, t, scene.schedule)
    if scene.score is None:
        return None
    return lambda x, t: scene.score.function(x, torch.as_tensor(t, dtype=torch.float64))


def field_of(function: RecordedCallable) -> Field:
    """A recorded callable whose failures are NaN."""

    def field(x: Tensor, t: float) -> Tensor:
        value = function(x, t, within=0)
        return torch.full_like(x, torch.nan) if value is None else value

    return field


def _exact_guidance(scene: Scene) -> Findings:
    guidance = scene.fields("guidance", "exact")
    if not guidance:
        return
    exact = scene.fields("exact", "exact score")
    kept = [t for t, (given, right) in guidance.items() if max(rms(given), rms(right)) > NEGLIGIBLE_SHARE * rms(exact[t][1])]
    kept = kept or list(guidance)
    case = Case(
        "guidance",
        lambda x, t: scene.truth.guidance(x, t, scene.beta, scene.schedule),
        {t: guidance[t][0][:POINTS] for t in kept},
        {t: scene.clouds[t].guided[:POINTS] for t in kept},
        scene.schedule,
        score=_score(scene),
        **_energies(scene),
    )
    yield finding(scene, "truth-guidance", case, "the exact guidance", TRUTH_NOTE)
    t = max(kept, key=lambda t: fit_factor(*guidance[t]).error)
    drawn = scene.on_grid("guidance", t)
    if drawn is not None:
        size = max(rms(guidance[t][1]), ZERO_SHARE * rms(exact[t][1]))
        scene.keep_map("error_map", (drawn - scene.on_grid("exact", t)).norm(dim=-1) / size, t)


def _exact_score(scene: Scene) -> Findings:
    fields = scene.fields("score", "exact score")
    if fields:
        case = Case(
            "score",
            lambda x, t: scene.truth.score(x, t, scene.schedule),
            {t: score[:POINTS] for t, (score, _) in fields.items()},
            {t: scene.clouds[t].guided[:POINTS] for t in fields},
            scene.schedule,
            score=_score(scene),
            **_energies(scene),
            other=None if scene.guidance is None else field_of(scene.guidance),
        )
        yield finding(scene, "truth-score", case, "the exact score", TRUTH_NOTE)


def finding(scene: Scene, check: str, case: Case, reference: str, tolerance: float) -> Finding:
    """Say how the guidance or the score relates to its `reference`, and keep the fitted factors and errors as curves."""
    name = "energy" if check == "energy-gradient" else case.subject
    fits = {t: fit_factor(case.given[t], exact) for t, exact in case.exact.items()}
    scene.keep_curve(f"{name}_factor", {t: fit.factor for t, fit in fits.items()})
    scene.keep_curve(f"{name}_error", {t: fit.error for t, fit in fits.items()})
    t = max(fits, key=lambda t: fits[t].error)
    fit, rest = fits[t], (case.given[t] - case.exact[t]).norm(dim=-1).nan_to_num()
    at = scene.plane.coordinates(case.points[t][rest.argmax()])
    subject = f"The {case.subject}"
    given_size, exact_size = ({u: rms(v) for u, v in values.items()} for values in (case.given, case.exact))
    if max(given_size.values()) <= ZERO_SHARE * max(exact_size.values()):
        text = f"{subject} is zero where {reference} is not."
        remedy = "a piecewise constant energy differentiated at one point (DPS), or a graph cut by detach() or no_grad"
        return Finding(check, "error", text, figure=1.0, x=at, t=t, remedy=remedy, cause="zero")
    if max(exact_size.values()) == 0.0:
        if all(size <= ROUNDING * math.sqrt(case.dim) / float(case.schedule.sigma(u)) for u, size in given_size.items()):
            return Finding(check, "ok", f"{subject} agrees with {reference}: both are zero but for rounding.", figure=0.0)
        text = f"{subject} is not zero, but {reference} is, at every noise level."
        remedy = "it is constant at the points looked at, or its graph is cut by detach() or no_grad"
        return Finding(check, "error", text, x=at, t=t, remedy=remedy)
    diagnosis = explain(case)
    if diagnosis.candidate is not None and (diagnosis.before > EXPLAINED_WARNING or diagnosis.cause == "rounded"):
        return _explained(check, case, reference, diagnosis, at, t)
    if diagnosis.before <= tolerance:
        text = f"{subject} agrees with {reference}. The relative error is at most {fit.error:.2g}, at t = {t:g}."
        return Finding(check, "ok", text, figure=fit.error, t=t)
    # one level of points where a network is at its worst is no fault yet
    size = diagnosis.before if check == "points-score" else fit.error
    severity = "warning" if check == "energy-gradient" or size > TRUTH_WARNING else "note"
    severity = "error" if size > TRUTH_ERROR else severity
    text = f"{subject} differs from {reference} by {fit.error:.2g} of its size at t = {t:g} (cosine {fit.cosine:.2f})."
    outside, cause = _off_the_slice(scene, case, diagnosis.before)
    if outside:
        return Finding(check, severity, text + outside, figure=fit.error, x=at, t=t, remedy="look at other slices", cause=cause)
    text += f" No explanation of the catalogue removes the difference: it is unexplained. {_pattern(case)}"
    remedy = "too little training or an approximation shows like this, and so does a mistake that is not in the catalogue"
    return Finding(check, severity, text, figure=fit.error, x=at, t=t, remedy=remedy)


def _explained(check: str, case: Case, reference: str, diagnosis: Diagnosis, at, t: float) -> Finding:
    severity = "error" if diagnosis.before > TRUTH_NOTE else "warning" if diagnosis.before > EXPLAINED_WARNING else "note"
    text = f"The {case.subject} differs from {reference} by {diagnosis.before:.2g} of its size."
    text = f"{text} {diagnosis.sentence(case.subject, reference)}"
    return Finding(check, severity, text, diagnosis.before, at, t, diagnosis.repair, diagnosis.cause)


def _off_the_slice(scene: Scene, case: Case, before: float) -> tuple[str, str]:
    """Words and cause of a difference that vanishes on the plane itself."""
    if scene.plane.dim == 2:
        return "", ""
    given = scene.guidance if case.subject == "guidance" else scene.score
    errors = []
    for t, x in case.points.items():
        inside = scene.plane.embed(scene.plane.coordinates(x))
        value, exact = given(inside, t, within=0), case.right(inside, t)
        if value is not None:
            size = max(rms(exact), 1e-30)
            errors.append(rms(scene.plane.project(value - exact)) / size)
    if not errors or max(errors) > 0.3 * before:
        return "", ""
    return f" In the plane of the slice the error is at most {max(errors):.1%}: the fault lies off the slice.", "off the slice"


def _pattern(case: Case) -> str:
    """Where an unexplained difference sits: at which noise levels, in which coordinates."""
    errors = {t: case.at(t).error(case.right) for t in case.points}
    shown = ", ".join(f"{error:.0%} at t = {t:g}" for t, error in sorted(errors.items()))
    rests = torch.cat([(case.given[t] - exact) / max(rms(exact), 1e-30) for t, exact in case.exact.items()]).nan_to_num()
    share = rests.square().sum(0) / rests.square().sum().clamp_min(1e-30)
    text = f"Its error is {shown}."
    if float(share.max()) > 0.5 + 0.5 / case.dim:
        text += f" {float(share.max()):.0%} of it is in x{int(share.argmax()) + 1}."
    return text
