"""The debugger: hand over a score and a guidance as callables, read in words and pictures what is wrong with them."""

from dataclasses import replace

import numpy as np

from cepkit.debugger.checks import CALLABLES, CHECKS
from cepkit.debugger.checks.callables import NO_ONE_FIELD
from cepkit.debugger.findings import SEVERITIES, Finding
from cepkit.debugger.report import Report
from cepkit.debugger.scene import Scene


class FieldDebugger(Scene):
    """A debugger of guided diffusion models, in two dimensions or on a plane through more.

    Callables take x_t of shape (n, D) and a scalar `t` (a 0-dim float64 tensor, as the samplers pass it). They are called with
    gradients off. The sign convention is the package's: guidance = -grad E_t with beta inside, and the guided score is
    score + scale * guidance.

    Args:
        score: (x_t, t) -> (n, D), or a denoiser of any parametrisation. With a `truth` it may be left out: the exact one.
        guidance: (x_t, t) -> (n, D).
        schedule: may be left out when `score` is a denoiser, which has one.
        domain: where the clean data are, in slice coordinates: a half width, (centre, half width) or
            ((x_lo, x_hi), (y_lo, y_hi)).
        energy: (x_t, t) -> (n,), the energy whose minus gradient the guidance should be.
        truth: the exact `Mixture`; needs `beta`.
        beta: the inverse temperature of the truth's target.
        scale: the factor of the guidance.
        slice: the plane that is looked at; the two axes of a two-dimensional space when absent.
        times: noise levels in (0, 1] to look at.
        particles: the number of points at each level, and of paths.
        steps: of the second-order sampler, see `cepkit.diffusion.sampling`.
        seed: of all randomness; two runs with one seed agree.
        support: clean data points (m, D), where there is no truth.
        device: of the points. By default it follows the support points, else the first torch module found, as the dtype does,
            else float32 on the CPU.

    Without `energy` or `truth` the guidance is compared with itself from one noise level to another, which does not show another
    beta. Without `truth` or `support` the score is compared with its own samples, which does not show other data.

    Raises:
        ValueError: an argument that is not what it should be, by name.
    """

    def run(self) -> Report:
        """Run every check on what the callables gave; a callable that fails leaves the checks of the others standing."""
        CALLABLES.look(self)
        findings = [item for kind in CHECKS for item in kind.check(self)]
        self._keep_background()
        findings = [*CALLABLES.check(self), *findings]
        space = "two dimensions" if self.plane.dim == 2 else f"a plane through {self.plane.dim} dimensions"
        truth = "without a truth" if self.truth is None else f"with the truth, beta = {self.beta:g}"
        heading = (
            f"{space}, {truth}; scale {self.scale:g}, {self.steps} steps, "
            f"{self.particles} points drawn from {self.clean.source} at each of {len(self.times)} noise levels"
        )
        return Report(tuple(_causes_first(findings)), dict(self.arrays), heading)

    def _keep_background(self) -> None:
        """Keep the arrays that pictures are drawn over: the fields in the plane, and the density where it is known."""
        self.arrays["times"], self.arrays["grid"] = np.array(self.times), self.uv.cpu().double().numpy()
        self.arrays["domain"], self.arrays["labels"] = np.array(self.domain.box), np.array(self.plane.labels)
        for name in ("score", "guidance"):
            values = [self.on_grid(name, t) for t in self.times]
            if all(value is not None for value in values):
                self.arrays[name] = np.stack([self.picture(self.plane.project(value)) for value in values])
        if self.truth is not None:
            densities = [self.truth.log_q(self.grid, t, self.schedule) for t in self.times]
            self.arrays["log_q"] = np.stack([self.picture(value) for value in densities])
        elif self.clean.data is not None:
            self.arrays["points"] = self.plane.coordinates(self.clean.data).cpu().numpy()


_COMPARED = {"truth-guidance", "truth-score", "energy-gradient", "points-score", "own-score", "own-guidance"}


def _precedence(item: Finding) -> int:
    """Which named cause is believed first: no field, a reference, what is plain to see, a field beside itself, the steps."""
    if item.cause in NO_ONE_FIELD:
        return 0
    seen, alone, last = ("limits", "zero-guidance", "score-at-noise"), ("own-score", "own-guidance"), ("steps",)
    return next((i for i, checks in enumerate((seen, alone, last), 2) if item.check in checks), 1)


def _causes_first(findings: list[Finding]) -> list[Finding]:
    """The findings, severest first and among these the named causes first; other alarms may be consequences, and say so."""
    alarms = [item for item in findings if item.rank >= SEVERITIES.index("warning")]
    first = min((_precedence(item) for item in alarms if item.cause), default=0)
    cause = next((item.cause for item in alarms if item.cause and _precedence(item) == first), "")
    differs = any(item.check in _COMPARED for item in alarms)
    if cause == "few steps" and differs:
        cause = ""
    kept = []
    for item in findings:
        # what is wrong with the calls themselves, such as a dtype, is wrong whatever else is
        believed = item.cause and (_precedence(item) == first or item.cause == cause or item.check == "calls")
        if cause and item in alarms and not believed:
            remedy = f"probably a consequence of the cause that is named, {cause}: mend that first"
            item = replace(item, cause="", remedy=remedy)
        elif item.cause == "few steps" and differs:
            item = replace(item, cause="", remedy="a field that is wrong may need more steps than a right one: mend it first")
        kept.append(item)
    return sorted(kept, key=lambda item: (-item.rank, not item.cause))
