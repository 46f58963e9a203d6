"""A guidance that does not agree with itself from one noise level to another, found with points alone.

exp(-E_t(x_t)) is the mean of exp(-E_s(x_s)) over the way back from t to s < t. So the guidance at s, added up along straight
lines from the middle of the points, gives E_s at noised points, and these give the exact guidance at every larger t.
"""

import itertools
import math
from dataclasses import replace

import torch
from torch import Tensor

from cepkit.debugger.checks.agreement import field_of
from cepkit.debugger.checks.from_points import TOLERANCES
from cepkit.debugger.diagnosis import FLOORS, LEFT, RIVAL, Diagnosis
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
    if not applies or scene.own_samples_doubtful or scene.many is None or len(scene.many) < 4 * _COMPARED or base == times[-1]:
        return
    across, given = _AcrossTime(scene, base), _remembered(field_of(scene.guidance))
    if max(rms(given(x, t)) for t, x in across.seen.items()) == 0.0:
        return
    before, floor = across.error(given)
    if before <= max(TOLERANCE, TOLERANCES * floor):
        text = f"The guidance at larger t follows from that at t = {base:g}. The relative error is {before:.2g}."
        yield Finding("own-guidance", "ok", text, figure=before)
        return
    tried = []
    fields = (of_size_and_time(given, scene.schedule, _unknown), of_order(given, scene.plane.dim), _without(scene, given))
    for candidate in itertools.chain([replace(MEAN, field=given)], *fields):
        after, floor = across.error(candidate.field, mean=candidate.cause == MEAN.cause)
        if after <= max(LEFT * before, min(FLOORS * floor, before / 2)):
            tried.append(Diagnosis(before, after, candidate, floor=floor))
    text = f"The guidance at larger t does not follow from that at t = {base:g}. The relative error is {before:.2g}."
    if tried:
        least = min(found.after for found in tried)
        best = next(found for found in tried if found.after <= RIVAL * least)
        text = f"{text} {best.sentence('guidance', '')}"
        yield Finding("own-guidance", "error", text, before, remedy=best.repair, cause=best.cause)
    else:
        text += " No repair of the catalogue removes the difference: it is unexplained."
        remedy = "give energy=..., or truth=... and beta=..., to compare it with"
        yield Finding("own-guidance", "warning" if before > WARNING else "note", text, before, remedy=remedy)


class _AcrossTime:
    """Noised points at the base level, the lines that lead to them, and other points at the larger levels, `seen`."""

    def __init__(self, scene: Scene, base: float) -> None:
        self.base, self.later = base, Later(scene.schedule, base)
        points = scene.many
        summed = points[_COMPARED:][:_SUMMED]
        self.x = perturb(summed, base, scene.schedule, generator=scene.generator("halves")).x_t
        self.middle = self.x.mean(0)
        shares = (torch.arange(_NODES, dtype=self.x.dtype, device=self.x.device) + 0.5) / _NODES
        self.lines = (self.middle + shares[:, None, None] * (self.x - self.middle)).reshape(-1, self.x.shape[1])
        noised = scene.generator("noised")
        later = [t for t in scene.times if t > base]
        self.seen = {t: perturb(points[:_COMPARED], t, scene.schedule, generator=noised).x_t for t in later}

    def error(self, guidance: Field, *, mean: bool = False) -> tuple[float, float]:
        """The error of a guidance at larger t beside what it implies at the base, or the mean energy, and that of a right one."""
        force = value_of(guidance, self.lines, self.base).reshape(_NODES, *self.x.shape)
        energy = -(force.mean(0) * (self.x - self.middle)).sum(-1)
        rows = torch.isfinite(energy)
        if int(rows.sum()) < _COMPARED:
            return 1.0, 0.0
        x, energy = self.x[rows], energy[rows]
        parts = [Mixture.from_points(x[part], energy[part]) for part in (slice(None), slice(None, None, 2), slice(1, None, 2))]
        errors, floors = [], []
        for t, seen in self.seen.items():
            value = value_of(guidance, seen, t)
            fields = [(m.mean_energy_guidance if mean else m.guidance)(seen, t, 1.0, self.later) for m in parts]
            rows = finite_rows(value, *fields)
            right, one, two = (field[rows] for field in fields)
            size = max(rms(value[rows]), rms(right))
            if bool(rows.any()):
                errors.append(rms(value[rows] - right) / size if size > 0 else 0.0)
                floors.append(rms(one - two) / 2 / size if size > 0 else 0.0)
        return (_mean(errors), _mean(floors)) if errors else (1.0, 0.0)


def _remembered(field: Field) -> Field:
    """The same field, called once for every tensor of points and level: most repairs look at the same ones."""
    known: dict[tuple[int, float], tuple[Tensor, Tensor]] = {}

    def remembered(x: Tensor, t: float) -> Tensor:
        key = (id(x), float(t))
        if key not in known:
            known[key] = x, field(x, t)  # the tensor is kept, so that its id is not given to another
        return known[key][1]

    return remembered


def _mean(values: list[float]) -> float:
    return math.sqrt(sum(v * v for v in values) / len(values))


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
