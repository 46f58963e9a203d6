"""Checks of what sampling does with the fields: paths that leave the support, too few steps, samples off the target."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger import thresholds as limit
from cepkit.debugger.checks.density_support import Support
from cepkit.debugger.findings import Finding, Outcome, finding
from cepkit.debugger.scene import CallFailed, Scene
from cepkit.diffusion.sampling import Step, initial_noise, sampling_steps
from cepkit.truth.metrics import mmd2, mmd2_null_band

_LOOKS = 9  # states of a path at which its support is looked up
_STEP_PARTICLES = 192  # a median needs no more, and the longest of the runs takes four times the steps


def guided_path(scene: Scene) -> list[Step] | None:
    """Every state of guided sampling with the scene's method, steps and scale; None where a callable fails."""
    shape = (scene.particles, scene.dim)
    noise = initial_noise(shape, generator=scene.generator(5), dtype=scene.dtype, device=scene.device)
    denoiser = scene.denoiser(guided=True)
    try:
        return list(sampling_steps(denoiser, noise, steps=scene.steps, method=scene.method, generator=scene.generator(6)))
    except CallFailed:
        return None


def check_paths(scene: Scene, path: list[Step] | None) -> Outcome:
    """Where do guided paths leave the support, and do any diverge?"""
    if scene.score is None:
        return Outcome()
    if path is None:
        text = "No guided samples could be drawn, because a callable gave nothing of use on the way."
        return Outcome((finding("trajectories", "note", text, remedy="see the findings on the calls"),))
    support = Support(scene)
    chosen = sorted({round(i) for i in np.linspace(0, len(path) - 1, min(_LOOKS, len(path)))})
    outside = torch.stack([support.outside(path[i].x, path[i].t) for i in chosen]) if support.known else None
    states = torch.stack([step.x for step in path])
    size = states.abs().amax(-1)
    lost = (~(size < limit.DIVERGED * scene.domain.reach)).any(0)
    arrays = {
        "paths": scene.plane.coordinates(states[:, :200]).cpu().numpy(),
        "path_times": np.array([step.t for step in path]),
        "samples": states[-1].cpu().numpy(),
        "diverged": lost.cpu().numpy(),
    }
    findings = [_diverging(path, size, lost, scene)]
    if outside is not None:
        times = [path[i].t for i in chosen]
        arrays |= {"outside": outside.float().mean(1).cpu().numpy(), "outside_times": np.array(times)}
        arrays["departed"] = outside[-1].cpu().numpy()
        findings.append(_leaving(scene, support, outside, times, states[-1]))
    return Outcome(tuple(findings), arrays)


def _diverging(path: list[Step], size: Tensor, lost: Tensor, scene: Scene) -> Finding:
    share = float(lost.float().mean())
    if share == 0.0:
        return finding("divergence", "ok", "No guided path diverges.", figure=0.0)
    late = (~(size < limit.DIVERGED * scene.domain.reach)).any(1)
    t = path[int(late.float().argmax())].t
    text = f"{share:.1%} of the guided paths diverge or become NaN, the first at t = {t:.3g}."
    remedy = "a smaller scale, more steps, or the NaN and infinite values found in the fields"
    return finding("divergence", "error", text, figure=share, t=t, remedy=remedy)


def _leaving(scene: Scene, support: Support, outside: Tensor, times: list[float], ends: Tensor) -> Finding:
    share = float(outside[-1].float().mean())
    what = f"the support of {support.source}"
    if share <= limit.DEPARTED_WARNING:
        return finding("trajectories", "ok", f"{share:.1%} of the guided paths end outside {what}.", figure=share)
    # a path has left for good at the state after which it is never inside again
    gone = outside.flip(0).int().cummin(0).values.flip(0).bool()[:, outside[-1]]
    first = gone.int().argmax(0)
    t = times[int(first.median())]
    severity = "error" if share > limit.DEPARTED_ERROR else "warning"
    out = ends[outside[-1]]
    finite = out[torch.isfinite(out).all(-1)]
    at = scene.plane.coordinates(finite).median(0).values if len(finite) else None
    place = "are not finite" if at is None else f"lie near x = ({float(at[0]):.2f}, {float(at[1]):.2f})"
    text = f"{share:.1%} of the guided paths end outside {what}, half of them gone for good by t = {t:.2g}; their ends {place}."
    remedy = "guidance too strong for the score to hold (scale, a missing factor), too few steps, or a field that is wrong there"
    return finding("trajectories", severity, text, figure=share, x=at, t=t, remedy=remedy)


def displacement(a: Tensor, b: Tensor) -> float:
    """The median distance of samples (n, D) from the same noise, relative to the RMS spread of `b`; NaN if none is finite."""
    rows = torch.isfinite(a).all(-1) & torch.isfinite(b).all(-1)
    if int(rows.sum()) < 2:
        return math.nan
    spread = (b[rows] - b[rows].mean(0)).square().sum(-1).mean().sqrt().clamp_min(1e-12)
    return float((a[rows] - b[rows]).norm(dim=-1).median() / spread)


def check_steps(scene: Scene) -> Outcome:
    """Do the samples still move when the steps are doubled?"""
    if scene.score is None:
        return Outcome()
    counts = [scene.steps * k for k in (1, 2, 4)]
    n = min(scene.particles, _STEP_PARTICLES)
    runs = [scene.draw(guided=True, steps=count, n=n) for count in counts]
    if any(run is None for run in runs):
        return Outcome()
    moved = [displacement(a, b) for a, b in itertools.pairwise(runs)]
    arrays = {"step_counts": np.array(counts), "step_displacement": np.array(moved)}
    if not math.isfinite(moved[0]):
        text = f"The samples with {scene.steps} steps are not finite, so nothing can be said of the steps."
        return Outcome((finding("steps", "warning", text),), arrays)
    order = math.log2(moved[0] / moved[1]) if moved[0] > 0 and moved[1] > 0 else math.nan
    text = f"From {counts[0]} to {counts[1]} steps the samples move by {moved[0]:.1%} of their spread,"
    text += f" to {counts[2]} by {moved[1]:.1%}"
    text += f" (order {order:.1f} observed)." if math.isfinite(order) else "."
    if moved[0] <= limit.STEPS_WARNING:
        return Outcome((finding("steps", "ok", text, figure=moved[0]),), arrays)
    severity = "error" if moved[0] > limit.STEPS_ERROR else "warning"
    remedy = f"too few steps: try {counts[1] if moved[1] <= limit.STEPS_WARNING else f'more than {counts[2]}'}"
    if moved[1] > 0.5 * moved[0] and moved[1] > limit.STEPS_WARNING:
        remedy += "; doubling them hardly helps, so a field is probably rough or too strong"
    return Outcome((finding("steps", severity, text, figure=moved[0], remedy=remedy),), arrays)


def check_samples(scene: Scene, path: list[Step] | None) -> Outcome:
    """Mean energy and MMD^2 of samples against exact ones, and what the scale does to them."""
    if scene.truth is None or path is None:
        return Outcome()
    x = path[-1].x
    x = x[(x.abs().amax(-1) < limit.DIVERGED * scene.domain.reach)]
    if len(x) < 2:
        return Outcome()
    # without a guidance the samples should be of the data themselves
    target = scene.truth if scene.guidance is None else scene.truth.tilt(scene.beta)
    exact, energies = target.sample(4096, generator=scene.generator(8), dtype=scene.dtype)
    e_data = scene.truth.sample(4096, generator=scene.generator(9), dtype=scene.dtype)[1]
    e_mine = scene.truth.energy(x)
    mean, wanted = float(e_mine.mean()), float(energies.mean())
    error = math.sqrt(float(e_mine.var()) / len(x) + float(energies.var()) / len(energies))
    shift = abs(mean - wanted)
    off = shift > limit.STANDARD_ERRORS * error and shift > limit.ENERGY_SHIFT * float(e_data.std())
    arrays = {"sample_energies": e_mine.cpu().numpy(), "exact_energies": energies.cpu().numpy()}
    text = f"The mean energy of the samples is {mean:.3f}, the target's {wanted:.3f}, the data's {float(e_data.mean()):.3f}"
    if not off:
        first = finding("sample-energy", "ok", text + ".", figure=mean - wanted)
    else:
        way = "below the target's: it overshoots" if mean < wanted else "above the target's: it falls short"
        remedy = f"the guidance or its scale {'is too strong' if mean < wanted else 'is too weak, or points the wrong way'}"
        if scene.scale != 1.0:
            remedy += f"; scale {scene.scale:g} does not sample the target, only scale 1 does (a colder target is a larger beta)"
        first = finding("sample-energy", "warning", f"{text}, {way}.", figure=mean - wanted, remedy=remedy)
    findings = [first, _mmd(scene, x, exact[: len(x)], exact[len(x) : 2 * len(x)])]
    if (
        scene.guidance is not None
        and scene.scale != 1.0
        and (plain := scene.draw(guided=True, steps=scene.steps, scale=1.0)) is not None
    ):
        plain = plain[torch.isfinite(plain).all(-1)]
        findings.append(_scale(scene, mean, float(scene.truth.energy(plain).mean()), wanted))
    return Outcome(tuple(findings), arrays)


def _mmd(scene: Scene, x: Tensor, one: Tensor, other: Tensor) -> Finding:
    distance = float(mmd2(x, one))
    band = mmd2_null_band(one, other, generator=scene.generator(4))
    text = f"MMD² of the samples to exact ones is {distance:.2g}; two exact sets of {len(x)} reach {band.largest:.2g}"
    if distance <= max(limit.MMD_TIMES_NULL * band.largest, limit.MMD_LEAST):
        return finding("sample-distance", "ok", text + ".", figure=distance)
    remedy = "see the findings on the fields and on the steps; a factor in the guidance shows here too"
    return finding("sample-distance", "warning", text + ": the samples are not of the target.", figure=distance, remedy=remedy)


def _scale(scene: Scene, mean: float, plain: float, wanted: float) -> Finding:
    better = abs(plain - wanted) < abs(mean - wanted)
    text = f"At scale {scene.scale:g} the mean energy is {mean:.3f}, at scale 1 {plain:.3f}, and the target's {wanted:.3f}"
    if not better or abs(mean - wanted) < limit.ENERGY_SHIFT:
        return finding("scale", "note", text + ".", figure=scene.scale)
    text += ": scale 1 is nearer."
    return finding("scale", "warning", text, figure=scene.scale, remedy="set scale=1 and change beta instead")
