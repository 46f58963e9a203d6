"""Samples that are not of the target, where the truth is known."""

import math

from torch import Tensor

from cepkit.debugger.factors import finite_rows
from cepkit.debugger.findings import STANDARD_ERRORS, Finding, Findings, grade
from cepkit.debugger.scene import DIVERGED, Scene
from cepkit.truth.metrics import mmd2, mmd2_null_band

# Samples against exact ones: beyond chance, and large enough to matter (the energy in standard deviations of E under the data).
ENERGY_SHIFT = 0.05
MMD_TIMES_NULL = 2.0
MMD_LEAST = 2e-3


def check(scene: Scene) -> Findings:
    """Compare mean energy and MMD^2 of the samples with exact ones, and show what the scale does to them."""
    if scene.truth is None or scene.path is None:
        return
    x = scene.path[-1].x
    x = x[x.abs().amax(-1) < DIVERGED * scene.domain.reach]
    if len(x) < 2:
        return
    # without a guidance the samples should be of the data themselves
    target = scene.truth if scene.guidance is None else scene.truth.tilt(scene.beta)
    count = max(4096, 2 * len(x))  # two sets as large as the samples are compared below
    exact = target.sample(count, generator=scene.generator("exact samples"), dtype=scene.dtype)[0]
    data = scene.truth.sample(count, generator=scene.generator("data energies"), dtype=scene.dtype)[0]
    # the energy at a place, for all three: components that overlap there may have different ones
    energies, exact_energies, data_energies = (scene.truth.energy(points) for points in (x, exact, data))
    scene.arrays.update({"sample_energies": energies.cpu().numpy(), "exact_energies": exact_energies.cpu().numpy()})
    yield _energy(scene, energies, exact_energies, data_energies)
    yield _distance(scene, x, exact[: len(x)], exact[len(x) : 2 * len(x)])
    if scene.guidance is not None and scene.scale != 1.0:
        path = scene.walk(steps=scene.steps, scale=1.0)
        if path is not None:
            plain = path[-1].x
            unscaled = float(scene.truth.energy(plain[finite_rows(plain)]).mean())
            yield _scale(scene, float(energies.mean()), unscaled, float(exact_energies.mean()))


def _energy(scene: Scene, energies: Tensor, exact: Tensor, data: Tensor) -> Finding:
    mean, wanted = float(energies.mean()), float(exact.mean())
    error = math.sqrt(float(energies.var()) / len(energies) + float(exact.var()) / len(exact))
    text = f"The mean energy of the samples is {mean:.3f}, the target's {wanted:.3f}, the data's {float(data.mean()):.3f}"
    if abs(mean - wanted) <= max(STANDARD_ERRORS * error, ENERGY_SHIFT * float(data.std())):
        return Finding("sample-energy", "ok", text + ".", figure=mean - wanted)
    if mean < wanted:
        text, remedy = f"{text}, below the target's: it overshoots.", "the guidance or its scale is too strong"
    else:
        text += ", above the target's: it falls short."
        remedy = "the guidance or its scale is too weak, or points the wrong way"
    if scene.scale != 1.0:
        remedy += f"; scale {scene.scale:g} does not sample the target, only scale 1 does (a colder target is a larger beta)"
    return Finding("sample-energy", "warning", text, figure=mean - wanted, remedy=remedy)


def _distance(scene: Scene, x: Tensor, exact: Tensor, other: Tensor) -> Finding:
    distance = float(mmd2(x, exact))
    band = mmd2_null_band(exact, other, generator=scene.generator("null band"))
    text = f"MMD² of the samples to exact ones is {distance:.2g}. Two exact sets of {len(x)} reach {band.largest:.2g} by chance."
    severity = grade(distance, warning=max(MMD_TIMES_NULL * band.largest, MMD_LEAST))
    remedy = "the samples are not of the target: see the findings on the fields and on the steps"
    return Finding("sample-distance", severity, text, figure=distance, remedy=remedy)


def _scale(scene: Scene, mean: float, unscaled: float, wanted: float) -> Finding:
    text = f"At scale {scene.scale:g} the mean energy is {mean:.3f}, at scale 1 {unscaled:.3f}, and the target's {wanted:.3f}."
    if abs(unscaled - wanted) >= abs(mean - wanted) or abs(mean - wanted) < ENERGY_SHIFT:
        return Finding("scale", "note", text, figure=scene.scale)
    return Finding("scale", "warning", text, figure=scene.scale, remedy="scale 1 is nearer: set scale=1 and change beta instead")
