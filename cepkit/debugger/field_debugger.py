"""The debugger: hand over a score and a guidance as callables, read in words and pictures what is wrong with them."""

import numpy as np

from cepkit.debugger.checks import CALLABLES, CHECKS
from cepkit.debugger.report import Report
from cepkit.debugger.scene import Scene


class FieldDebugger(Scene):
    """Finds what goes wrong in a guided diffusion model, in two dimensions or on a plane through more.

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
        steps, method: of the sampler that is examined, see `cepkit.diffusion.sampling`.
        seed: of all randomness; two runs with one seed agree.
        support: clean data points (m, D), where there is no truth.
        device, dtype: of the points. By default those of the support points, else of the first torch module found, else
            float32 on the CPU.

    Without `energy` or `truth` the debugger cannot know a wrong sign or factor of the guidance. Without `truth` or `support` it
    cannot know a factor of the score that is 1 at full noise, such as a missing sigma_t.

    Raises:
        ValueError: an argument that is not what it should be, by name.
    """

    def run(self) -> Report:
        """Run every check on what the callables gave; a callable that fails leaves the checks of the others standing."""
        findings = [item for kind in CHECKS for item in kind.check(self)]
        _keep_background(self)
        findings = [*CALLABLES.check(self), *findings]
        return Report(tuple(sorted(findings, key=lambda item: -item.rank)), self.arrays, _heading(self))


def _keep_background(scene: Scene) -> None:
    """Keep the arrays that pictures are drawn over: the fields in the plane, and the density where it is known."""
    scene.arrays.update(
        {
            "times": np.array(scene.times),
            "grid": scene.uv.cpu().double().numpy(),
            "domain": np.array(scene.domain.box),
            "labels": np.array(scene.plane.labels),
        }
    )
    for name in ("score", "guidance"):
        values = [scene.on_grid(name, t) for t in scene.times]
        if all(value is not None for value in values):
            scene.arrays[name] = np.stack([scene.picture(scene.plane.project(value)) for value in values])
    if scene.truth is not None:
        densities = [scene.truth.log_q(scene.grid, t, scene.schedule) for t in scene.times]
        scene.arrays["log_q"] = np.stack([scene.picture(value) for value in densities])
    elif scene.clean.data is not None:
        scene.arrays["points"] = scene.plane.coordinates(scene.clean.data).cpu().numpy()


def _heading(scene: Scene) -> str:
    space = "two dimensions" if scene.plane.dim == 2 else f"a plane through {scene.plane.dim} dimensions"
    with_truth = f"with the truth, beta = {scene.beta:g}" if scene.truth is not None else "without a truth"
    return (
        f"{space}, {with_truth}; scale {scene.scale:g}, {scene.steps} steps of {scene.method}, "
        f"{scene.particles} points drawn from {scene.clean.source} at each of {len(scene.times)} noise levels"
    )
