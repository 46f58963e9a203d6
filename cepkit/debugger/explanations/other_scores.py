"""Mistakes of a score: another parametrisation, guidance that it holds already."""

import itertools

from torch import Tensor

from cepkit.debugger.explanations.case import Candidate, Candidates, Case
from cepkit.diffusion.process import convert


def parametrisations(case: Case) -> Candidates:
    """An eps, x0 or v handed over as a score, or converted once too often."""
    for kind in ("eps", "x0", "v"):
        for sign in (1.0, -1.0) if kind != "eps" else (1.0,):  # minus an eps is the score without its 1 / sigma_t

            def field(x: Tensor, t: float, kind=kind, sign=sign) -> Tensor:
                return sign * convert(case.right(x, t), "score", kind, x, t, case.schedule)

            def undo(given: Tensor, x: Tensor, t: float, kind=kind, sign=sign) -> Tensor:
                return convert(sign * given, kind, "score", x, t, case.schedule)

            words = f"is {'minus ' if sign < 0 else ''}{'a' if kind == 'v' else 'an'} {kind} handed over as a score"
            repair = f'convert(value, "{kind}", "score", x_t, t, schedule), or FunctionDenoiser(f, schedule, "{kind}")'
            yield Candidate("parametrisation", words, repair, field, False, undo=undo)
    for kind, other in itertools.permutations(("eps", "x0", "v"), 2):
        words = f"comes of {kind} taken for {other}"

        def mistaken(x: Tensor, t: float, kind=kind, other=other) -> Tensor:
            return convert(convert(case.right(x, t), "score", kind, x, t, case.schedule), other, "score", x, t, case.schedule)

        def undone(given: Tensor, x: Tensor, t: float, kind=kind, other=other) -> Tensor:
            return convert(convert(given, "score", other, x, t, case.schedule), kind, "score", x, t, case.schedule)

        yield Candidate("parametrisation", words, f'say parametrisation="{kind}"', mistaken, False, undo=undone)


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
