"""Whether a point at noise level t still lies where the data, noised to t, could have put it."""

import torch
from torch import Tensor

from cepkit.debugger.factors import finite_rows
from cepkit.debugger.scene import Scene
from cepkit.debugger.thresholds import SUPPORT_DISTANCE, SUPPORT_NATS, SUPPORT_TIME
from cepkit.diffusion.process import perturb


def outside_support(scene: Scene, x: Tensor, t: float) -> Tensor:
    """Which of the points (n, D) at noise level t are outside, (n,) booleans; points that are not finite are.

    The limit is the faintest of true draws where the truth is known, else a distance from the noised points that stand for the
    data, of which there must be some.
    """
    t_seen = max(t, SUPPORT_TIME)
    x = x * float(scene.schedule.alpha(t_seen) / scene.schedule.alpha(t))
    finite = finite_rows(x)
    out = ~finite
    if not bool(finite.any()):
        return out
    clean = torch.cat([points for points in (scene.clean.data, scene.clean.target) if points is not None])
    noisy = perturb(clean, t_seen, scene.schedule, generator=scene.generator("support")).x_t
    if scene.truth is not None:
        limit = scene.truth.log_q(noisy, t_seen, scene.schedule).min() - SUPPORT_NATS
        out[finite] = scene.truth.log_q(x[finite], t_seen, scene.schedule) < limit
    else:
        # the gaps that true draws leave between themselves say how near a point of the support must be
        half = len(noisy) // 2
        gaps = torch.cdist(noisy[:half], noisy[half:]).amin(-1)
        out[finite] = torch.cdist(x[finite], noisy).amin(-1) > SUPPORT_DISTANCE * gaps.max()
    return out
