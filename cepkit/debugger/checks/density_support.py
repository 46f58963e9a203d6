"""Whether a point at noise level t still lies where the data, noised to t, could have put it."""

from __future__ import annotations

import torch
from torch import Tensor

from cepkit.debugger.scene import Scene
from cepkit.debugger.thresholds import SUPPORT_DISTANCE, SUPPORT_NATS, SUPPORT_PEAK_NATS, SUPPORT_TIME
from cepkit.diffusion.process import perturb


class Support:
    """Decides `outside(x, t)` from the truth, a log density, the user's points or the model's own unguided samples."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        data, target, self.source = scene.clean
        self._reference = data if target is None else torch.cat([data, target])

    @property
    def known(self) -> bool:
        """False where there is neither a density nor a single reference point."""
        return self._reference is not None or self.scene.log_support(self.scene.grid, 0.5) is not None

    def outside(self, x: Tensor, t: float) -> Tensor:
        """Which of the points (n, D) at noise level t are outside, (n,) booleans; points that are not finite are."""
        t_seen = max(t, SUPPORT_TIME)
        schedule = self.scene.schedule
        x = x * float(schedule.alpha(t_seen) / schedule.alpha(t))
        sound = torch.isfinite(x).all(-1)
        out = ~sound
        out[sound] = self._excess(x[sound], t_seen) > 0
        return out

    def _excess(self, x: Tensor, t: float) -> Tensor:
        """How far beyond the limit, positive outside."""
        if not len(x):
            return x.new_zeros(0)
        log_q = self.scene.log_support(x, t)
        if log_q is not None:
            if self._reference is not None:
                noisy = perturb(self._reference, t, self.scene.schedule, generator=self.scene.generator(3)).x_t
                limit = self.scene.log_support(noisy, t).min() - SUPPORT_NATS
            else:
                somewhere = self.scene.log_support(torch.cat([self.scene.grid, x]), t)
                limit = somewhere.max() - SUPPORT_PEAK_NATS
            return limit - log_q
        if self._reference is None:
            return x.new_full(x.shape[:-1], -1.0)
        noisy = perturb(self._reference, t, self.scene.schedule, generator=self.scene.generator(3)).x_t
        half = len(noisy) // 2
        # the gaps that true draws leave between themselves say how near a point of the support must be
        gaps = torch.cdist(noisy[:half], noisy[half:]).amin(-1)
        return torch.cdist(x, noisy).amin(-1) - SUPPORT_DISTANCE * gaps.max()
