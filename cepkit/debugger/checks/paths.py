"""Guided paths that diverge, or that leave the support of the data."""

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger.factors import finite_rows
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import DIVERGED, Scene
from cepkit.debugger.slices import MARGIN
from cepkit.diffusion.process import perturb

# Share of guided paths outside the support; the limit is the faintest of a thousand true draws and two nats below it.
DEPARTED_WARNING = 0.03
DEPARTED_ERROR = 0.25
SUPPORT_NATS = 2.0
SUPPORT_DISTANCE = 1.5  # for points: beyond this many times the largest gap among true draws
SUPPORT_PULL = 1.5  # times the largest score among true draws
SUPPORT_TIME = 0.05  # the support is looked at with at least this much noise, so that tiny overshoots of a sharp edge are ignored

MOST = 4096  # points that stand for the support

_LOOKS = 9  # states of a path at which its support is looked up


def check(scene: Scene) -> Findings:
    """Where do guided paths leave the support, and do any diverge?"""
    if scene.score is None:
        return
    if scene.path is None:
        text = "No guided samples could be drawn, because a callable failed on the way."
        yield Finding("trajectories", "note", text, remedy="see the findings on the calls")
        return
    times = np.array([step.t for step in scene.path])
    states = torch.stack([step.x for step in scene.path])
    lost = ~(states.abs().amax(-1) < DIVERGED * scene.domain.reach)
    scene.arrays["paths"] = scene.plane.coordinates(states[:, :200]).cpu().numpy()
    scene.arrays["path_times"], scene.arrays["samples"] = times, states[-1].cpu().numpy()
    scene.arrays["diverged"] = lost.any(0).cpu().numpy()
    share = float(lost.any(0).float().mean())
    if share == 0.0:
        yield Finding("divergence", "ok", "No guided path diverges.", figure=0.0)
    else:
        t = float(times[int(lost.any(1).float().argmax())])
        text = f"{share:.1%} of the guided paths diverge or become NaN, the first at t = {t:.3g}."
        remedy = "a smaller scale, more steps, or the NaN and infinite values found in the fields"
        yield Finding("divergence", "error", text, figure=share, t=t, remedy=remedy)
    if scene.clean.data is not None:
        looks = sorted({round(i) for i in np.linspace(0, len(times) - 1, min(_LOOKS, len(times)))})
        outside = torch.stack([outside_support(scene, states[i], times[i]) for i in looks])
        scene.keep_curve("outside", dict(zip(times[looks], outside.float().mean(1).tolist(), strict=True)))
        scene.arrays["departed"] = outside[-1].cpu().numpy()
        yield _leaving(scene, outside, times[looks], states[-1])


def _leaving(scene: Scene, outside: Tensor, times: np.ndarray, ends: Tensor) -> Finding:
    """The finding on paths outside the support: `outside` (looks, n) at `times` (looks,), with their `ends` (n, D)."""
    departed = outside[-1]
    share = grave = float(departed.float().mean())
    text = f"{share:.1%} of the guided paths end outside the support of {scene.clean.source}"
    if share <= DEPARTED_WARNING:
        return Finding("trajectories", "ok", text + ".", figure=share)
    # a path has left for good at the state after which it is never inside again
    gone = outside.flip(0).int().cummin(0).values.flip(0)[:, departed]
    t = float(times[int(gone.argmax(0).median())])
    ends = ends[departed & finite_rows(ends)]
    at = scene.plane.coordinates(ends).median(0).values if len(ends) else None
    text += f". Half of these are gone for good by t = {t:.2g}."
    if scene.truth is None:  # a cold target may lie beside all points that stand for the data, but not out of the domain
        grave = float(scene.domain.outside(scene.plane.coordinates(ends), MARGIN).float().sum()) / len(departed)
        text += f" {grave:.1%} of all end outside the domain."
    severity = "error" if grave > DEPARTED_ERROR else "warning" if grave > DEPARTED_WARNING else "note"
    remedy = "guidance too strong for the score to hold, too few steps, or a field that is wrong there"
    return Finding("trajectories", severity, text, figure=share, x=at, t=t, remedy=remedy)


def outside_support(scene: Scene, x: Tensor, t: float) -> Tensor:
    """Which of the points (n, D) at noise level t are outside the support, (n,) booleans; points that are not finite are.

    The limit is the faintest of true draws where the truth is known. Else they must be far from the noised points that stand for
    the data, of which there must be some, and the score must be large.
    """
    t_seen = max(t, SUPPORT_TIME)
    x = x * float(scene.schedule.alpha(t_seen) / scene.schedule.alpha(t))
    finite = finite_rows(x)
    out = ~finite
    if not bool(finite.any()):
        return out
    given = scene.clean.data if scene.support is None or scene.truth is not None else scene.support.to(x)
    clean = torch.cat([points[:MOST] for points in (given, scene.clean.target) if points is not None])
    noisy = perturb(clean, t_seen, scene.schedule, generator=scene.generator("support")).x_t
    if scene.truth is not None:
        limit = scene.truth.log_q(noisy, t_seen, scene.schedule).min() - SUPPORT_NATS
        out[finite] = scene.truth.log_q(x[finite], t_seen, scene.schedule) < limit
    else:
        # the gaps that true draws leave between themselves say how near a point of the support must be
        half = len(noisy) // 2
        gaps = torch.cdist(noisy[:half], noisy[half:]).amin(-1)
        far = torch.cdist(x[finite], noisy).amin(-1) > SUPPORT_DISTANCE * gaps.max()
        # a target may lie where draws are rare, but not where the score pulls back more than it does at any draw
        pulled, pulls = (scene.score(points, t_seen, within=0) for points in (x[finite], noisy))
        if pulled is not None and pulls is not None:
            far &= ~(pulled.norm(dim=-1) <= SUPPORT_PULL * pulls.norm(dim=-1).nan_to_num().max())
        out[finite] = far
    return out
