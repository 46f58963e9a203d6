"""What explains the disagreement of two fields: every candidate of the catalogue is put in, and what is left is measured."""

import math
from dataclasses import dataclass, replace

from cepkit.debugger.explanations import CATALOGUE
from cepkit.debugger.explanations.case import Candidate, Case, value_of
from cepkit.debugger.factors import advice, fit_factor, known_factor

# An explanation is named if at most this share of the disagreement is left. A network trained for half a minute has an error of
# 0.06 to 0.2 of its own, which no explanation removes; a disagreement that is smaller than that must vanish almost entirely
# where something is fitted to it.
LEFT = 0.3
LEFT_OF_LITTLE = 0.05
LITTLE = 0.2
FLOORS = 1.5  # and it may leave this many times the error that a right field would show
KNOWN_FLOORS = 2.5  # a disagreement below this many times that error is none
LEAST = 1e-3  # a smaller disagreement is rounding
SEEN = 0.8  # of the disagreement: more must not be left where the mistake itself is put in, if only undoing it is compared
CERTAIN = 0.02  # of the disagreement: nothing better is looked for
RIVAL = 1.5  # explanations that leave less than this many times what the best one leaves: the simplest of them is named


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What explains how a given field differs from the right one.

    Attributes:
        before: the error relative to the right field.
        after: what is left of it with the explanation put in; `before` if there is none.
        candidate: the explanation, None if there is none.
        factor: the name of the factor before it, such as "-1" or "alpha_t"; empty if there is none.
        rival: an explanation of another name that fits nearly as well.
        floor: the error that a right field would show.
        case: the levels at which it was judged.
    """

    before: float
    after: float
    candidate: Candidate | None = None
    factor: str = ""
    rival: Candidate | None = None
    floor: float = 0.0
    case: Case | None = None

    @property
    def constants(self) -> int:
        """How much was fitted; a factor counts too, and twice where it is needed beside another mistake."""
        if self.candidate.cause == "factor":
            return int(self.factor != "-1")
        return self.candidate.constants + 2 * bool(self.factor)

    @property
    def cause(self) -> str:
        """The short name of the fault, empty if nothing explains it."""
        if self.candidate is None or self.rival is not None:
            return ""
        if self.candidate.cause == "factor":
            return "sign" if self.factor == "-1" else "factor"
        return self.candidate.cause

    def sentence(self, subject: str, reference: str) -> str:
        """The explanation in words."""
        if self.candidate is None:
            return "No explanation of the catalogue removes the difference: it is unexplained."
        text = f"It {self.candidate.words}"
        if self.candidate.cause == "factor" and self.factor:
            text = f"It is c(t) times {reference} with c(t) = {self.factor}"
            text += ", a sign flip" if self.factor == "-1" else ""
        elif self.factor:
            text += f", with a factor of {self.factor}"
        if self.rival is not None:
            text += f"; or it {self.rival.words}. The points do not tell the two apart"
        before = "more than it can be measured" if math.isinf(self.before) else f"{self.before:.1%}"
        return f"{text}. With this put in, the error falls from {before} to {self.after:.1%}."

    @property
    def repair(self) -> str:
        if self.candidate is None:
            return ""
        if self.candidate.cause == "factor":
            return advice(self.factor) if self.factor else self.candidate.repair
        return self.candidate.repair + (f"; and {advice(self.factor)}" if self.factor else "")


def explain(case: Case) -> Diagnosis:
    """Put in every candidate of the catalogue until one explains all, or take the best that explains most."""
    before = case.error(case.right)
    if not max(LEAST, KNOWN_FLOORS * case.floor) <= before < math.inf:
        return Diagnosis(before, before)
    tried: list[Diagnosis] = []
    for kind in CATALOGUE[case.subject]:
        for candidate in kind(case):
            found = _put_in(candidate.case or case, candidate)
            if found is None:
                continue
            tried.append(found)
            if found.after <= CERTAIN * found.before and found.constants < 2:
                return _simplest(tried)
        if any(found.after <= found.floor and found.constants < 2 for found in tried):
            break
    return _simplest(tried) if tried else Diagnosis(before, before)


def _simplest(tried: list[Diagnosis]) -> Diagnosis:
    """Of those that explain nearly as much as the best one, the one that fits the fewest constants."""
    # only what is judged at the same levels can be compared
    levels = sorted(set.intersection(*(set(found.case.points) for found in tried)))
    left = [_left(found.case.only(levels), found.candidate)[0] if levels else found.after for found in tried]
    limit = RIVAL * max(min(left), min(found.floor for found in tried))
    near = [(found, error) for found, error in zip(tried, left, strict=True) if error <= limit]
    fewest = min(found.constants for found, _ in near)
    near = sorted((item for item in near if item[0].constants == fewest), key=lambda item: float(f"{item[1]:.2g}"))
    (best, least), *others = near
    # what leaves exactly as much is the same field by another name, and the first of its names stands
    rivals = [
        found.candidate for found, error in others if found.cause != best.cause and 1 + 1e-3 < error / max(least, 1e-30) < RIVAL
    ]
    return replace(best, rival=rivals[0] if rivals else None)


def _put_in(case: Case, candidate: Candidate) -> Diagnosis | None:
    """What is left of the disagreement with this candidate; None if it is too much."""
    before = case.error(case.right)
    share = LEFT if before > LITTLE or candidate.constants == 0 else LEFT_OF_LITTLE
    limit = max(share * before, min(FLOORS * case.floor, before / 2))
    if _left(case.few, candidate)[0] > 2 * limit:
        return None
    after, factor = _left(case, candidate)
    return Diagnosis(before, after, candidate, factor, floor=case.floor, case=case) if after <= limit else None


def _left(case: Case, candidate: Candidate) -> tuple[float, str]:
    """What is left of the disagreement with this candidate, and the factor before it."""
    if candidate.undo is not None:
        undone = {t: value_of(lambda x, t: candidate.undo(case.given[t], x, t), x, t) for t, x in case.points.items()}
        left = replace(case, given=undone).error(case.right)
        # with much noise nearly everything is undone into nearly the right field, so the mistake itself must be seen as well
        return (left, "") if case.error(candidate.field) < SEEN * case.error(case.right) else (math.inf, "")
    predicted = {t: value_of(candidate.field, x, t) for t, x in case.points.items()}
    plain = case.error(lambda x, t: predicted[t])
    if not candidate.factor_allowed:
        return plain, ""
    fits = {t: fit_factor(case.given[t], value) for t, value in predicted.items()}
    kept = {t: fit.factor for t, fit in fits.items() if math.isfinite(fit.factor)}
    name = known_factor(kept, case.schedule) if kept and all(kept.values()) else None
    if name is None or name == "1":
        return plain, ""
    rest = math.sqrt(sum(fit.residual**2 for fit in fits.values()) / len(fits))
    return (rest, name) if rest < 0.5 * plain else (plain, "")
