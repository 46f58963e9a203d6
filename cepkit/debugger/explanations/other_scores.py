"""Mistakes of a score: another parametrisation, guidance that it holds already."""

import itertools

from cepkit.debugger.explanations.case import Candidate, Candidates, Case
from cepkit.diffusion.process import PARAMETRISATIONS, convert


def parametrisations(case: Case) -> Candidates:
    """An eps, x0 or v handed over as a score, or converted once too often."""
    for kind in PARAMETRISATIONS:
        if kind != "score":
            repair = f'convert(value, "{kind}", "score", x_t, t, schedule), or FunctionDenoiser(f, schedule, "{kind}")'

            def field(x, t, kind=kind):
                return convert(case.right(x, t), "score", kind, x, t, case.schedule)

            article = "a" if kind == "v" else "an"
            yield Candidate("parametrisation", f"is {article} {kind} handed over as a score", repair, field, False)
            if kind != "eps":  # minus an eps is the score without its 1 / sigma_t
                words = f"is minus {article} {kind} handed over as a score"
                yield Candidate("parametrisation", words, repair, lambda x, t, f=field: -f(x, t), False)
    for kind, other in itertools.permutations(("eps", "x0", "v"), 2):
        words = f"comes of {kind} taken for {other}"

        def mistaken(x, t, kind=kind, other=other):
            return convert(convert(case.right(x, t), "score", kind, x, t, case.schedule), other, "score", x, t, case.schedule)

        yield Candidate("parametrisation", words, f'say parametrisation="{kind}"', mistaken, False)


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
