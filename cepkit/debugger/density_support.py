"""Whether a point at noise level t still lies where the data, noised to t, could have put it."""

import torch
from torch import Tensor

from cepkit.debugger.factors import finite_rows
from cepkit.debugger.scene import Scene
from cepkit.debugger.thresholds import SUPPORT_DISTANCE, SUPPORT_NATS, SUPPORT_PEAK_NATS, SUPPORT_TIME
from cepkit.diffusion.process import perturb


class Support:
    """The support of the truth, of a log density, of the user's points or of the model's own unguided samples."""

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
        finite = finite_rows(x)
        out = ~finite
        if bool(finite.any()):
            out[finite] = self._excess(x[finite], t_seen) > 0
        return out

    def _excess(self, x: Tensor, t: float) -> Tensor:
        """How far points (n, D) are beyond the limit, (n,), positive outside."""
        noisy = None
        if self._reference is not None:
            noisy = perturb(self._reference, t, self.scene.schedule, generator=self.scene.generator("support")).x_t
        log_q = self.scene.log_support(x, t)
        if log_q is None and noisy is None:  # a log density that fails here only
            return x.new_full(x.shape[:-1], -1.0)
        if log_q is None:
            # the gaps that true draws leave between themselves say how near a point of the support must be
            half = len(noisy) // 2
            gaps = torch.cdist(noisy[:half], noisy[half:]).amin(-1)
            return torch.cdist(x, noisy).amin(-1) - SUPPORT_DISTANCE * gaps.max()
        if noisy is not None:
            return self.scene.log_support(noisy, t).min() - SUPPORT_NATS - log_q
        on_grid = self.scene.log_support(self.scene.grid, t)
        peak = torch.cat([log_q, log_q if on_grid is None else on_grid]).max()
        return peak - SUPPORT_PEAK_NATS - log_q
