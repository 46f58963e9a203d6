"""Mistakes of a score: another parametrisation, guidance that it holds already."""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from cepkit.debugger.explanations.case import Candidate, Candidates, Case
from cepkit.diffusion.process import convert
from cepkit.diffusion.schedules import Schedule


class Conversion(NamedTuple):
    """A conversion that was left out or done wrong."""

    words: str
    repair: str
    at_noise: float  # what the field is at full noise, where a score is -x: times -x
    done: Callable[[Tensor, Tensor, float], Tensor]  # from the right score, x and t to the faulty one
    undone: Callable[[Tensor, Tensor, float], Tensor]  # and back


def conversions(schedule: Schedule) -> Iterator[Conversion]:
    """An eps, x0 or v handed over as a score, or taken for another of these."""
    for kind, at_noise in (("eps", -1.0), ("x0", 0.0), ("v", 0.0)):
        for sign in (1.0, -1.0) if kind != "eps" else (1.0,):  # minus an eps is the score without its 1 / sigma_t

            def done(score: Tensor, x: Tensor, t: float, kind=kind, sign=sign) -> Tensor:
                return sign * convert(score, "score", kind, x, t, schedule)

            def undone(given: Tensor, x: Tensor, t: float, kind=kind, sign=sign) -> Tensor:
                return convert(sign * given, kind, "score", x, t, schedule)

            words = f"is {'minus ' if sign < 0 else ''}{'a' if kind == 'v' else 'an'} {kind} handed over as a score"
            repair = f'convert(value, "{kind}", "score", x_t, t, schedule), or FunctionDenoiser(f, schedule, "{kind}")'
            yield Conversion(words, repair, sign * at_noise, done, undone)
    for kind, other in itertools.permutations(("eps", "x0", "v"), 2):

        def taken(score: Tensor, x: Tensor, t: float, kind=kind, other=other) -> Tensor:
            return convert(convert(score, "score", kind, x, t, schedule), other, "score", x, t, schedule)

        def back(given: Tensor, x: Tensor, t: float, kind=kind, other=other) -> Tensor:
            return convert(convert(given, "score", other, x, t, schedule), kind, "score", x, t, schedule)

        yield Conversion(
            f"comes of {kind} taken for {other}", f'say parametrisation="{kind}"', float(other != "eps"), taken, back
        )


def parametrisations(case: Case) -> Candidates:
    """An eps, x0 or v handed over as a score, or converted once too often."""
    for words, repair, _, done, undone in conversions(case.schedule):

        def field(x: Tensor, t: float, done=done) -> Tensor:
            return done(case.right(x, t), x, t)

        yield Candidate("parametrisation", words, repair, field, False, undo=undone)


def already_guided(case: Case) -> Candidates:
    """A score that holds the guidance."""
    fields = []
    if case.mixture is not None and case.beta > 0:
        fields.append(lambda x, t: case.mixture.guidance(x, t, case.beta, case.schedule))
    if case.other is not None:
        fields.append(case.other)
    for guidance in fields:
        words = "is guided already, so that guidance would count twice"
        repair = "hand over the unguided score, or no guidance"
        yield Candidate("already guided", words, repair, lambda x, t, g=guidance: case.right(x, t) + g(x, t), False)
