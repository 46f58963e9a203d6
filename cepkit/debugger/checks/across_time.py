"""A guidance that does not agree with itself from one noise level to another, found with points alone.

exp(-E_t(x_t)) is the mean of exp(-E_s(x_s)) over the way back from t to s < t. So the guidance at s, added up along straight
lines from the middle of the points, gives E_s at noised points, and these give the exact guidance at every larger t.
"""

import itertools
import math

import torch
from torch import Tensor

from cepkit.debugger.checks.agreement import field_of
from cepkit.debugger.diagnosis import LEFT, RIVAL, Diagnosis
from cepkit.debugger.explanations.case import Candidate, Candidates, Field, value_of
from cepkit.debugger.explanations.energies import LEARN
from cepkit.debugger.explanations.repairs import of_order, of_size_and_time
from cepkit.debugger.factors import finite_rows, rms
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene
from cepkit.diffusion.process import perturb
from cepkit.diffusion.sampling import initial_noise
from cepkit.diffusion.schedules import Schedule
from cepkit.truth.exact import Mixture

TOLERANCE = 0.15  # the sums along lines and over points carry errors of 0.03 to 0.09 on the toys
WARNING = 0.6
MEAN = Candidate("mean energy", "is the mean energy's", LEARN, torch.zeros_like)
_NODES, _SUMMED, _COMPARED = 32, 512, 128


class Later(Schedule):
    """The noise that is added from level s on: x_t = alpha x_s + sigma eps."""

    def __init__(self, schedule: Schedule, s: float) -> None:
        self.schedule, self.s = schedule, s

    def log_alpha(self, t: Tensor | float) -> Tensor:
        return self.schedule.log_alpha(t) - float(self.schedule.log_alpha(self.s))

    def sigma_squared(self, t: Tensor | float) -> Tensor:
        return -torch.expm1(2 * self.log_alpha(t))

    def t_from_log_snr(self, log_snr: Tensor | float) -> Tensor:
        raise NotImplementedError("nothing is sampled with it")


def check(scene: Scene) -> Findings:
    """Does the guidance at large t follow from that at small t?"""
    times = sorted(scene.times)
    base = times[len(times) // 3]
    applies = scene.truth is None and scene.energy is None and scene.guidance is not None and scene.guidance.steady
    if not applies or scene.many is None or len(scene.many) < 4 * _COMPARED or base == times[-1]:
        return
    given = field_of(scene.guidance)
    before = _inconsistency(scene, given, base)
    if before <= TOLERANCE:
        text = f"The guidance at larger t follows from that at t = {base:g}. The relative error is {before:.2g}."
        yield Finding("own-guidance", "ok", text, figure=before)
        return
    tried = [Diagnosis(before, _inconsistency(scene, given, base, mean=True), MEAN)]
    known = (of_size_and_time(given, scene.schedule, _unknown), of_order(given, scene.plane.dim), _without(scene, given))
    for candidate in itertools.chain(*known):
        tried.append(Diagnosis(before, _inconsistency(scene, candidate.field, base), candidate))
    least = min(found.after for found in tried)
    text = f"The guidance at larger t does not follow from that at t = {base:g}. The relative error is {before:.2g}."
    if least <= LEFT * before:
        best = next(found for found in tried if found.after <= RIVAL * least)
        text = f"{text} {best.sentence('guidance', '')}"
        yield Finding("own-guidance", "error", text, before, remedy=best.repair, cause=best.cause)
    else:
        text += " No repair of the catalogue removes the difference: it is unexplained."
        remedy = "give energy=..., or truth=... and beta=..., to compare it with"
        yield Finding("own-guidance", "warning" if before > WARNING else "note", text, before, remedy=remedy)


def _inconsistency(scene: Scene, guidance: Field, base: float, *, mean: bool = False) -> float:
    """The error of a guidance at larger t relative to what it implies at `base`, or to the mean energy that it implies."""
    points = scene.many
    x = perturb(points[_COMPARED:][:_SUMMED], base, scene.schedule, generator=scene.generator("halves")).x_t
    energy = _along_lines(guidance, x, base)
    rows = torch.isfinite(energy)
    if int(rows.sum()) < _COMPARED:
        return 1.0
    implied, later = Mixture.from_points(x[rows], energy[rows]), Later(scene.schedule, base)
    fields = implied.mean_energy_guidance if mean else implied.guidance
    errors = []
    for t in scene.times:
        if t > base:
            seen = perturb(points[:_COMPARED], t, scene.schedule, generator=scene.generator("noised")).x_t
            value, right = value_of(guidance, seen, t), fields(seen, t, 1.0, later)
            rows = finite_rows(value, right)
            size = max(rms(value[rows]), rms(right[rows]))
            if bool(rows.any()):
                errors.append(rms((value - right)[rows]) / size if size > 0 else 0.0)
    return math.sqrt(sum(e * e for e in errors) / len(errors)) if errors else 1.0


def _without(scene: Scene, guidance: Field) -> Candidates:
    """The guidance without what may have been added to it: the score, or what is left of it at full noise, where it vanishes."""
    if scene.score is not None:
        words, repair = "is the guided score, which holds the score already", "hand over guided score - score"
        score = field_of(scene.score)
        yield Candidate("conditional score", words, repair, lambda x, t: guidance(x, t) - score(x, t))
    noise = initial_noise((_COMPARED, scene.plane.dim), generator=scene.generator("full noise"), dtype=scene.dtype)
    constant = value_of(guidance, noise, 1.0).mean(0)
    words = f"has a constant drift added, ({', '.join(f'{v:.2g}' for v in constant.tolist())})"
    yield Candidate("drift", words, "subtract it: a bias of a last layer", lambda x, t: guidance(x, t) - constant.to(x))


def _unknown(x: Tensor) -> Tensor:
    return torch.full_like(x, torch.nan)


def _along_lines(guidance: Field, x: Tensor, t: float) -> Tensor:
    """E_t at points (n, D), up to a constant: minus the guidance along the line from their mean."""
    middle = x.mean(0)
    shares = (torch.arange(_NODES, dtype=x.dtype, device=x.device) + 0.5) / _NODES
    path = middle + shares[:, None, None] * (x - middle)
    force = value_of(guidance, path.reshape(-1, x.shape[1]), t).reshape(path.shape)
    return -(force.mean(0) * (x - middle)).sum(-1)
