"""What a planted fault and a correct setting are, where they are planted, and how a report about them is judged.

A case is planted in a world: a data distribution with an energy, an inverse temperature and a schedule, whose exact fields are
known. It is shown to the debugger in up to four modes, which differ in what the user knows:

    truth      the exact mixture and beta
    energy     the right energy E_t, and no truth
    points     clean data points
    nothing    the callables alone
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import torch
from checks import seeded, toy_named

from cepkit.debugger import FieldDebugger, Report, Slice
from cepkit.diffusion.schedules import Schedule, VPCosine, VPLinear
from cepkit.truth.fields import ExactDenoiser, ExactGuidance
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import TOYS, Toy

MODES = ("truth", "energy", "points", "nothing")
SUBJECTS = ("score", "guidance", "sampling")
WINE = Path(__file__).parents[2] / "data" / "wine.csv"
UNNAMED = ""  # as an expected cause: the fault has no name, and naming one would be wrong

# why a mode is left out
ENERGY_ALONE = {"energy": "an energy says nothing of the score; without one it is the mode `nothing`"}
ANOTHER_ENERGY = dict.fromkeys(("points", "nothing"), "it is, or nearly is, the right guidance of another energy")
ANOTHER_DATA = {"nothing": "it is the right score of other data"} | ENERGY_ALONE
NO_TRUTH = dict.fromkeys(("energy", "points", "nothing"), "only the truth says that scale 1 samples the target")


# -- where faults are planted ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """A distribution with an energy, seen at inverse temperature `beta`, with its exact fields.

    `plane` is the slice that is looked at, None in two dimensions, and `domain` is as the debugger takes it.
    """

    toy: Toy
    beta: float
    schedule: Schedule
    plane: Slice | None
    domain: object

    @cached_property
    def denoiser(self) -> ExactDenoiser:
        return ExactDenoiser(self.toy.truth, self.schedule)

    @cached_property
    def guidance(self) -> ExactGuidance:
        return ExactGuidance(self.toy.truth, self.beta, self.schedule)

    @cached_property
    def points(self) -> torch.Tensor:
        """Clean points, (2000, D)."""
        return self.toy.sample(2000, generator=seeded(11))[0]

    def score(self, x_t, t):
        return self.denoiser(x_t, t)

    def alpha(self, t):
        return self.schedule.alpha(t)

    def sigma(self, t):
        return self.schedule.sigma(t)

    def known(self, mode: str) -> dict:
        """The debugger's keyword arguments of a mode, but for the callables."""
        settings = {"schedule": self.schedule, "domain": self.domain}
        if self.plane is not None:
            settings["slice"] = self.plane
        if mode == "truth":
            return settings | {"truth": self.toy.truth, "beta": self.beta}
        if mode == "energy":
            return settings | {"energy": self.guidance.energy}
        return settings | ({"support": self.points} if mode == "points" else {})


def _blobs() -> Toy:
    """Own data: three uneven clusters off the origin, better to the upper right."""
    generator = seeded(1)
    centres = torch.tensor([[-1.5, 0.5], [1.0, -1.0], [2.0, 1.5]])
    k = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 300, replacement=True, generator=generator)
    x = centres[k] + torch.tensor([0.5, 0.25]) * torch.randn(300, 2, generator=generator)
    return from_points(x, 0.5 - 0.25 * x.sum(-1), std=0.1, name="blobs")


def _helix() -> Toy:
    """Own data in three dimensions: a helix, better the higher."""
    generator = seeded(2)
    u = torch.rand(400, generator=generator) * 2 - 1
    x = torch.stack([1.5 * (4 * u).cos(), 1.5 * (4 * u).sin() + 0.5 * u, 1.5 * u], -1)
    return from_points(
        x + 0.1 * torch.randn(400, 3, generator=generator), 0.5 * (1 - u) - 0.3 * (4 * u).cos(), std=0.2, name="helix"
    )


def _ten() -> Toy:
    """Own data in ten dimensions: twelve clusters with an energy each."""
    generator = seeded(3)
    centres = torch.randn(12, 10, generator=generator) * torch.linspace(2.0, 0.4, 10)
    return from_points(centres, torch.linspace(0, 1, 12)[torch.randperm(12, generator=generator)], std=0.4, name="ten")


OWN = {"blobs": _blobs, "helix": _helix, "ten": _ten, "wine": lambda: from_points(WINE, std=0.15)}


@cache
def world(name: str, beta: float = 3.0, *, cosine: bool = False) -> World:
    """The world of a toy's name or a key of `OWN`."""
    toy = toy_named(name) if name in TOYS else own_toy(name)
    schedule = VPCosine() if cosine else VPLinear()
    if toy.dim == 2:
        return World(toy, beta, schedule, None, (toy.centre, toy.extent))
    points = toy.sample(1000, generator=seeded(4))[0]
    plane = Slice.axes(3) if toy.dim == 3 else Slice.pca(points)
    return World(toy, beta, schedule, plane, round(1.1 * float(plane.coordinates(points).abs().max()), 1))


@cache
def own_toy(name: str) -> Toy:
    return OWN[name]()


# -- cases -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A planted fault, or a correct setting if `causes` is empty.

    Attributes:
        make: the callables and further arguments in a world, by the debugger's names; the exact ones where it says nothing.
        causes: the names that are right for it.
        symptoms: names that are true as well, but not the cause: one may follow a right name.
        blind: the modes that are left out, and why.
    """

    name: str
    subject: str
    causes: frozenset[str]
    world: Callable[[], World]
    make: Callable[[World], dict]
    blind: dict[str, str] = field(default_factory=dict)
    symptoms: frozenset[str] = frozenset()

    @property
    def modes(self) -> tuple[str, ...]:
        return tuple(mode for mode in MODES if mode not in self.blind)

    def arguments(self, mode: str) -> dict:
        """The debugger's keyword arguments."""
        made = self.make(self.world())
        # a network's own energy or points of its own, in place of the exact ones
        foreign = {"energy": "energy", "support": "points"}
        made = {name: value for name, value in made.items() if foreign.get(name, mode) == mode}
        # a score that works as asked, so that a guidance is not looked at alone, and the other way round
        whole = {"score": self.world().denoiser, "guidance": self.world().guidance}
        return {**whole, **self.world().known(mode), **made}

    def run(self, mode: str, **settings) -> tuple[Report, float]:
        """The report and the seconds it took."""
        arguments = {**self.arguments(mode), **settings}
        start = time.perf_counter()
        report = FieldDebugger(**arguments).run()
        return report, time.perf_counter() - start


def planter(cases: dict[str, Case]) -> Callable:
    """A decorator factory that adds the functions it decorates to `cases`, under their own names."""

    def plant(
        subject: str,
        *causes: str,
        at: str,
        beta: float = 3.0,
        cosine: bool = False,
        blind: dict | None = None,
        symptoms: tuple[str, ...] = (),
    ) -> Callable:
        assert subject in SUBJECTS
        blind = ENERGY_ALONE if blind is None and subject == "score" else blind or {}

        def add(make: Callable[[World], dict]) -> Callable[[World], dict]:
            name = make.__name__
            assert name not in cases, f"two cases are called {name}"
            place = lambda: world(at, beta, cosine=cosine)  # noqa: E731 (toys are made when they are needed)
            cases[name] = Case(name, subject, frozenset(causes), place, make, blind, frozenset(symptoms))
            return make

        return add

    return plant


# -- judging ---------------------------------------------------------------------------------------------------------

# what a message or a remedy says without a doubt, and the causes that it thereby names
CLAIMS = (
    (r"sign flip\. Their cosine", {"sign"}),
    (r"a plain sign flip", {"sign"}),
    (r"c\(t\) = -", {"sign", "factor", "parametrisation"}),
    (r"c\(t\) = ", {"factor", "parametrisation", "temperature", "another beta"}),
    (r"the right one at t = .*, which is ", {"factor", "parametrisation", "temperature"}),
    (r"it looks like an energy (or classifier )?of clean data", {"clean energy", "time fixed"}),
    (r"an x0 or v handed over", {"parametrisation"}),
    (r"an eps handed over as a score \(", {"parametrisation", "sign", "factor"}),
    (r"too few steps: try(?!.*doubling them hardly helps)", {"few steps"}),
    (r"set scale=1", {"scale"}),
)


def alarms(report: Report) -> list:
    """The findings that say that something is wrong."""
    return [item for item in report.findings if item.severity in ("warning", "error")]


def verdict(case: Case, report: Report) -> str:
    """How a report did on a case.

    A correct setting is "ok" or an "alarm". A fault is

        named    the first cause is right, and the finding that names it speaks of the right subject
        wrong    the first cause is not right, a later one is not even a symptom, or a warning or error claims another one
        seen     there is a warning or an error
        missed   there is none
    """
    found, causes = alarms(report), report.causes
    if not case.causes:
        return "alarm" if found or causes else "ok"
    if any(cause not in case.causes for cause in causes[:1]) or not case.causes | case.symptoms >= set(causes):
        return "wrong"
    if causes:
        about = next(item for item in report.findings if item.cause == causes[0])
        words = f"{about.check} {about.message}".lower()
        return "named" if case.subject == "sampling" or case.subject in words else "wrong"
    claimed = [claim for item in found for claim in claims(item)]
    if any(not claim & case.causes for claim in claimed):
        return "wrong"
    if found and UNNAMED in case.causes:
        return "named"
    return "seen" if found else "missed"


def claims(item) -> list[set[str]]:
    """The causes that a finding's words name, each with its equivalents; the first pattern that fits counts."""
    text = f"{item.message} {item.remedy}"
    return [causes for pattern, causes in CLAIMS if re.search(pattern, text)][:1]
