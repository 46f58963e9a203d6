"""Guided paths that diverge, or that leave the support of the data."""

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger import thresholds
from cepkit.debugger.density_support import outside_support
from cepkit.debugger.factors import finite_rows
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene

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
    lost = ~(states.abs().amax(-1) < thresholds.DIVERGED * scene.domain.reach)
    scene.arrays.update(
        {
            "paths": scene.plane.coordinates(states[:, :200]).cpu().numpy(),
            "path_times": times,
            "samples": states[-1].cpu().numpy(),
            "diverged": lost.any(0).cpu().numpy(),
        }
    )
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
    share = float(departed.float().mean())
    text = f"{share:.1%} of the guided paths end outside the support of {scene.clean.source}"
    if share <= thresholds.DEPARTED_WARNING:
        return Finding("trajectories", "ok", text + ".", figure=share)
    # a path has left for good at the state after which it is never inside again
    gone = outside.flip(0).int().cummin(0).values.flip(0)[:, departed]
    t = float(times[int(gone.argmax(0).median())])
    ends = ends[departed & finite_rows(ends)]
    at = scene.plane.coordinates(ends).median(0).values if len(ends) else None
    text += f". Half of these are gone for good by t = {t:.2g}."
    severity = "error" if share > thresholds.DEPARTED_ERROR else "warning"
    remedy = "guidance too strong for the score to hold (scale, a missing factor), too few steps, or a field that is wrong there"
    return Finding("trajectories", severity, text, figure=share, x=at, t=t, remedy=remedy)
