"""Mistakes in size: fields that are clipped, rounded, shifted by a constant, or missing at some noise levels."""

import torch
from torch import Tensor

from cepkit.debugger.explanations.case import Candidate, Candidates, Case
from cepkit.debugger.factors import finite_rows, rms


def factors(case: Case) -> Candidates:
    """The right field itself, with a factor before it."""
    yield Candidate("factor", "", "", case.right)


def clipped(case: Case) -> Candidates:
    """Norms or values that are cut off, or norms that are always the same."""
    given = torch.cat([value[finite_rows(value)] for value in case.given.values()])
    if not len(given):
        return
    norm, value = float(given.norm(dim=-1).max()), float(given.abs().max())
    repair = "remove the clipping; a step that is too large needs more steps or a smaller scale"
    words = f"is cut off where its norm is above {norm:.3g}"
    yield Candidate("clipped", words, repair, lambda x, t: _cut(case.right(x, t), norm), False, constants=1)
    words = f"has its values cut off at {value:.3g}"
    yield Candidate("clipped", words, repair, lambda x, t: case.right(x, t).clamp(-value, value), False, constants=1)
    words = f"has the norm {norm:.3g} everywhere"
    yield Candidate("clipped", words, "do not normalise it", lambda x, t: norm * _direction(case.right(x, t)), constants=1)
    words = f"is squashed by a tanh to values below {value:.3g}"
    yield Candidate("clipped", words, repair, lambda x, t: value * (case.right(x, t) / value).tanh(), False, constants=1)
    words = "is squashed by a tanh"
    yield Candidate("clipped", words, repair, lambda x, t: case.right(x, t).tanh(), False, constants=1)


def _cut(field: Tensor, norm: float) -> Tensor:
    return field * (norm / field.norm(dim=-1, keepdim=True).clamp_min(1e-30)).clamp_max(1.0)


def _direction(field: Tensor) -> Tensor:
    return field / field.norm(dim=-1, keepdim=True).clamp_min(1e-30)


def drift(case: Case) -> Candidates:
    """A constant vector that is added."""
    rests = {t: case.given[t] - exact for t, exact in case.exact.items()}
    constant = {t: rest[finite_rows(rest)].mean(0) for t, rest in rests.items()}
    size = max(float(value.norm()) for value in constant.values())
    words = f"has a constant drift added, up to {size:.3g} in size"
    shown = constant[max(constant, key=lambda t: float(constant[t].norm()))]
    words += f", along ({', '.join(f'{v:.2f}' for v in (shown / max(size, 1e-30)).tolist())})"
    repair = "subtract it: a bias of a last layer, or data that were not centred as in training"
    yield Candidate("drift", words, repair, lambda x, t: case.right(x, t) + constant[t].to(x), False, constants=3)


def missing_levels(case: Case) -> Candidates:
    """Right at some noise levels; zero or constant at the others."""
    size = {t: rms(value) for t, value in case.given.items()}
    wrong = {t for t in case.given if case.at(t).error(case.right) > 0.15}
    if not wrong or len(wrong) == len(case.given):
        return
    named = ", ".join(f"{t:g}" for t in sorted(wrong))
    words, repair = f"is right elsewhere, and zero at t = {named}", "train it at all noise levels, or remove the limit on t"
    if all(size[t] == 0.0 for t in wrong):
        yield Candidate(
            "missing noise levels", words, repair, lambda x, t: torch.zeros_like(x) if t in wrong else case.right(x, t), False
        )
    means = {t: case.given[t].mean(0) for t in wrong}
    words = f"is right elsewhere, and the same at all points at t = {named}"

    def constant(x: Tensor, t: float) -> Tensor:
        return means[t].expand_as(x) if t in wrong else case.right(x, t)

    yield Candidate("missing noise levels", words, repair, constant, False, constants=2)
    factors = {t: size[t] / max(rms(case.exact[t]), 1e-30) for t in wrong}
    words = f"is right elsewhere, and of another size at t = {named}"

    def resized(x: Tensor, t: float) -> Tensor:
        return factors.get(t, 1.0) * case.right(x, t)

    yield Candidate("missing noise levels", words, repair, resized, False, constants=3)


def rounded(case: Case) -> Candidates:
    """Values that a half-precision type holds exactly."""
    for name in ("bfloat16", "float16"):
        kind = getattr(torch, name)
        if all(torch.equal(value.to(kind).to(value), value) for value in case.given.values()):
            words = f"is rounded to {name}"
            yield Candidate("rounded", words, "compute in float32", lambda x, t, k=kind: case.right(x, t).to(k).to(x), False)
