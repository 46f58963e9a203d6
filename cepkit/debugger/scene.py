"""What the checks look at: the settings of a run, the points where the noisy density matters, and the fields on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger.calls import Probe
from cepkit.debugger.findings import Place
from cepkit.debugger.slices import Domain, Slice
from cepkit.diffusion.denoisers import FunctionDenoiser
from cepkit.diffusion.process import perturb
from cepkit.diffusion.sampling import sample
from cepkit.diffusion.schedules import Schedule
from cepkit.truth.exact import Mixture

GRID_SIDE = 36  # points along a side of the pictures


class CallFailed(RuntimeError):
    """A callable gave nothing of use where a sampler needed it; the probe has recorded why."""


@dataclass(frozen=True)
class Cloud:
    """Points at one noise level.

    Attributes:
        x: (n, D) from q_t, or spread over the domain where nothing is known of q_t.
        eps: the noise that made them, None where they were not made by noising.
        guided: (n, D) where the guidance will be asked: from p_t with a truth, else `x`.
    """

    x: Tensor
    eps: Tensor | None
    guided: Tensor


@dataclass(frozen=True, eq=False)
class Scene:
    """One run of the debugger: everything that was given, and what is derived from it once.

    Attributes:
        support: log q(x_t, t), or clean points (m, D), or None. A log density that fails counts as none.
    """

    schedule: Schedule
    domain: Domain
    plane: Slice
    times: tuple[float, ...]
    score: Probe | None
    guidance: Probe | None
    energy: Probe | None
    truth: Mixture | None
    beta: float
    scale: float
    support: Probe | Tensor | None
    particles: int
    steps: int
    method: str
    seed: int
    device: torch.device
    dtype: torch.dtype
    _fields: dict = field(default_factory=dict)

    def generator(self, offset: int = 0) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(self.seed + offset)

    @property
    def dim(self) -> int:
        return self.plane.dim

    @property
    def probes(self) -> list[Probe]:
        return [probe for probe in (self.score, self.guidance, self.energy, self.support) if isinstance(probe, Probe)]

    # -- points ----------------------------------------------------------------------------------------------------

    @cached_property
    def uv(self) -> Tensor:
        """The picture's points in slice coordinates, (side, side, 2)."""
        return self.domain.grid(GRID_SIDE).to(device=self.device, dtype=self.dtype)

    @cached_property
    def grid(self) -> Tensor:
        """The same points in space, (side * side, D)."""
        return self.plane.embed(self.uv).reshape(-1, self.dim)

    @cached_property
    def clean(self) -> tuple[Tensor | None, Tensor | None, str]:
        """Clean points (n, D) of the data, of the target if known, and a word for where they come from."""
        if self.truth is not None:
            data, target = (
                m.sample(self.particles, generator=self.generator(i), dtype=self.dtype)[0]
                for i, m in enumerate((self.truth, self.truth.tilt(self.beta)))
            )
            return data, target, "the truth"
        if isinstance(self.support, Tensor):
            chosen = torch.randperm(len(self.support), generator=self.generator(), device=self.device)[: self.particles]
            return self.support[chosen].to(self.dtype), None, "your points"
        if self.support is None and self.score is not None:
            own = self.draw(guided=False, steps=self.steps)
            if own is not None:
                kept = own[torch.isfinite(own).all(-1) & (own.abs().amax(-1) < 100 * self.domain.reach)]
                if len(kept) > self.particles // 2:
                    return kept, None, "the model's own unguided samples"
        return None, None, "the whole domain" if self.support is None else "your log density"

    @cached_property
    def source(self) -> str:
        """Where the points come from, in words."""
        return self.clean[2]

    @cached_property
    def clouds(self) -> dict[float, Cloud]:
        """The points for each of `times`."""
        return {t: self.cloud(t, offset=10 + i) for i, t in enumerate(self.times)}

    def cloud(self, t: float, *, offset: int) -> Cloud:
        """Points at noise level t, drawn with the seed plus `offset`."""
        data, target, _ = self.clean
        generator = self.generator(offset)
        if data is not None:
            x, eps = perturb(data, t, self.schedule, generator=generator)
            guided = x if target is None else perturb(target, t, self.schedule, generator=generator).x_t
            return Cloud(x, eps, guided)
        log_q = self.log_support(self.grid, t)
        weight = torch.ones_like(self.grid[:, 0]) if log_q is None else (log_q - log_q.max()).exp()
        chosen = torch.multinomial(weight, self.particles, replacement=True, generator=generator)
        shift = torch.rand((self.particles, 2), generator=generator, device=self.device, dtype=self.dtype) - 0.5
        cell = 2 * self.domain.reach / GRID_SIDE
        x = self.grid[chosen] + cell * shift @ self.plane.basis.to(shift)
        return Cloud(x, None, x)

    def log_support(self, x: Tensor, t: float) -> Tensor | None:
        """log q_t at x (n, D) from the truth or the given function; None where there is neither or it fails."""
        if self.truth is not None:
            return self.truth.log_q(x, t, self.schedule)
        if not isinstance(self.support, Probe):
            return None
        value = self.support(x, t, quiet=True)  # where nothing can be, minus infinity is a right answer
        return None if value is None else value.nan_to_num(nan=-1e30, neginf=-1e30)

    # -- fields ----------------------------------------------------------------------------------------------------

    def on_cloud(self, name: str, t: float) -> Tensor | None:
        """The field "score" or "guidance" (or "exact": the true guidance) at the cloud's guided points, (n, D)."""
        return self._field(name, t, "cloud", lambda: self.clouds[t].guided)

    def on_grid(self, name: str, t: float) -> Tensor | None:
        """The field at the picture's points, (side * side, D)."""
        return self._field(name, t, "grid", lambda: self.grid)

    def _field(self, name: str, t: float, where: str, points: Callable) -> Tensor | None:
        key = (name, t, where)
        if key not in self._fields:
            if name == "exact":
                self._fields[key] = self.truth.guidance(points(), t, self.beta, self.schedule)
            else:
                probe = getattr(self, name)
                self._fields[key] = None if probe is None else probe(points(), t)
        return self._fields[key]

    # -- samples ---------------------------------------------------------------------------------------------------

    def denoiser(self, *, guided: bool, scale: float | None = None) -> FunctionDenoiser:
        """The score, with scale * guidance added if wanted, for the samplers; raises `CallFailed` where nothing comes."""
        scale = self.scale if scale is None else scale

        def total(x_t: Tensor, t: Tensor) -> Tensor:
            # a path this far out is lost; points as large as this only make other callables raise
            inside = x_t.abs().amax(-1, keepdim=True) < 1e6 * self.domain.reach
            x_t = torch.where(inside, x_t, torch.nan)
            score = self.score(x_t, t, quiet=True)
            force = self.guidance(x_t, t, quiet=True) if guided and self.guidance is not None else 0.0
            if score is None or force is None:
                raise CallFailed(f"nothing of use from the {'score' if score is None else 'guidance'} at t = {float(t):.3g}")
            return score + scale * force

        return FunctionDenoiser(total, self.schedule, "score")

    def draw(self, *, guided: bool, steps: int, scale: float | None = None, n: int | None = None) -> Tensor | None:
        """Samples (n, D) from the seed's noise by the deterministic solver, None where a callable fails."""
        method = "dpmpp2m" if self.method == "sde" else self.method
        denoiser = self.denoiser(guided=guided, scale=scale)
        shape = (n or self.particles, self.dim)
        try:
            return sample(
                denoiser, shape, steps=steps, method=method, generator=self.generator(5), dtype=self.dtype, device=self.device
            )
        except CallFailed:
            return None

    # -- for findings and pictures -----------------------------------------------------------------------------------

    def place(self, x: Tensor, t: float | None = None) -> Place:
        """A `Place` from a point in space (D,)."""
        return Place(tuple(float(value) for value in self.plane.coordinates(x)), t)

    def picture(self, values: Tensor) -> np.ndarray:
        """Values at the grid's points as a (side, side, ...) array."""
        return values.detach().cpu().double().reshape(GRID_SIDE, GRID_SIDE, *values.shape[1:]).numpy()


def finite_rows(*fields: Tensor) -> Tensor:
    """Rows (n,) in which every field (n, D) is finite."""
    return torch.stack([torch.isfinite(value).all(-1) for value in fields]).all(0)


def rms(value: Tensor) -> float:
    """The root mean square Euclidean norm of the rows that are finite; 0 if there are none."""
    value = value[torch.isfinite(value).all(-1)].double()
    return float(value.square().sum(-1).mean().sqrt()) if len(value) else 0.0
