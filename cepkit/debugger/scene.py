"""The scene that the checks look at: the arguments, the points where the noisy density matters, and the fields on them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cepkit.calling import modules_of
from cepkit.debugger.calls import RecordedCallable
from cepkit.debugger.factors import finite_rows
from cepkit.debugger.slices import Domain, Slice
from cepkit.diffusion.denoisers import Denoiser, FunctionDenoiser, predict
from cepkit.diffusion.guidance import same_schedule
from cepkit.diffusion.process import perturb
from cepkit.diffusion.sampling import Step, initial_noise, sampling_steps
from cepkit.diffusion.schedules import Schedule
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactDenoiser
from cepkit.truth.metrics import PROBE_TIMES
from cepkit.validation import as_float64, check_beta, check_number, check_points

GRID_SIDE = 36  # points along a side of the pictures
MANY = 2048  # clean points in sums over points
DIVERGED = 1e3  # times the domain's half width
CREDIBLE = 4.0  # times the domain's largest coordinate: values that are not finite count on sampled paths up to here
# what is added to the seed for each use of randomness, so that no two share their numbers
_STREAMS = {
    "data": 0, "target": 1, "support": 3, "null band": 4, "start": 5, "full noise": 7, "exact samples": 8,
    "data energies": 9, "halves": 11, "noised": 12, "cloud": 20, "probe": 2000,
}  # fmt: skip


class CallFailed(RuntimeError):
    """A callable failed where a sampler needed it; the mistake has been recorded."""


class Clean(NamedTuple):
    """Clean points (n, D) of the data and of the target, each None if unknown, and where the data come from, in words."""

    data: Tensor | None
    target: Tensor | None
    source: str


class Cloud(NamedTuple):
    """Points (n, D) at one noise level."""

    x: Tensor  # from q_t, or spread over the domain where nothing is known of q_t
    eps: Tensor | None  # the noise that made them, None where they were not made by noising
    guided: Tensor  # where the guidance is looked at: from p_t with a truth, else x


class Scene:
    """Everything that one run of the debugger was given, and what is derived from it once.

    The arguments are those of `cepkit.debugger.FieldDebugger`. The attributes of the same names are checked, with their defaults
    filled in, and each callable is a `RecordedCallable`; `slice` is called `plane`. The pictures are drawn from `arrays`.
    """

    def __init__(
        self,
        *,
        score: Callable | Denoiser | None = None,
        guidance: Callable | None = None,
        schedule: Schedule | None = None,
        domain: object = 4.5,
        energy: Callable | None = None,
        truth: Mixture | None = None,
        beta: float | None = None,
        scale: float = 1.0,
        slice: Slice | None = None,
        times: Sequence[float] = PROBE_TIMES,
        particles: int = 512,
        steps: int = 25,
        seed: int = 0,
        support: Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        given = {"score": score, "guidance": guidance, "energy": energy}
        if score is None and guidance is None:
            raise ValueError("score, guidance: expected at least one callable (x_t, t) -> tensor, got neither")
        self.score, self.guidance, self.energy = (
            None if function is None else RecordedCallable(function, name, per_point=name == "energy")
            for name, function in given.items()
        )
        self.plane = Slice.axes(2) if slice is None else slice
        if not isinstance(self.plane, Slice):
            raise ValueError(f"slice: expected a cepkit.debugger.Slice, got {type(slice).__name__}")
        self.schedule = score.schedule if schedule is None and isinstance(score, Denoiser) else schedule
        if not isinstance(self.schedule, Schedule):
            raise ValueError(f"schedule: expected a cepkit Schedule such as VPLinear(), got {type(schedule).__name__}")
        for name, function in given.items():
            same_schedule(function, self.schedule, name)
        if not isinstance(truth, Mixture | None):
            raise ValueError(f"truth: expected a cepkit.truth.exact.Mixture, got {type(truth).__name__}")
        if truth is not None and truth.dim != self.plane.dim:
            raise ValueError(f"truth: expected the {self.plane.dim} dimensions of the slice, got {truth.dim}; give slice=...")
        self.truth, self.beta = truth, 0.0 if truth is None and beta is None else check_beta(beta)
        self.support = None if support is None else check_points(support, self.plane.dim, name="support").detach()
        if support is not None and (support.ndim != 2 or len(support) < 16):
            raise ValueError(f"support: expected at least 16 points, shape (m, {self.plane.dim}), got {tuple(support.shape)}")
        example = _first_parameter(given.values()) if support is None else support
        self.device = example.device if device is None else torch.device(device)
        self.dtype = torch.promote_types(example.dtype, torch.float32)
        if score is None and truth is not None:
            score = ExactDenoiser(truth, self.schedule)
        if isinstance(score, Denoiser):
            self.score = RecordedCallable(partial(predict, score, "score"), "score")
        self.domain = Domain.of(domain)
        self.times = _levels(times)
        self.scale = check_number(scale, name="scale")
        self.particles = check_number(particles, name="particles", low=16, integer=True)
        self.steps = check_number(steps, name="steps", low=1, integer=True)
        self.seed = check_number(seed, name="seed", low=0, integer=True)
        self.arrays: dict[str, np.ndarray] = {}
        self.own_samples_doubtful = False  # set where the score does not agree with them
        self._fields: dict[tuple[str, float, int], Tensor | None] = {}
        if truth is not None:
            self._check_truth()

    def _check_truth(self) -> None:
        """Refuse a truth whose values are not finite: every comparison with them would be left out."""
        values = {"sample": torch.cat(self.clean[:2])}
        if bool(torch.isfinite(values["sample"]).all()):
            x, t = self.clouds[self.times[0]].guided, self.times[0]
            values |= {"energy": self.truth.energy(values["sample"]), "log_q": self.truth.log_q(x, t, self.schedule)}
            values |= {"score": self.truth.score(x, t, self.schedule)}
            values |= {"guidance": self.truth.guidance(x, t, self.beta, self.schedule)}
        for name, value in values.items():
            bad = int((~torch.isfinite(value)).sum())
            if bad or not math.isfinite(float(value.sum())):
                came = f"got {bad} NaN or infinite of {value.numel()}"
                raise ValueError(f"truth: expected finite values of .{name} in {value.dtype}, with a finite sum, {came}")

    def generator(self, stream: str, index: int = 0) -> torch.Generator:
        """A fresh generator for one use of randomness, such as "start"."""
        return torch.Generator(self.device).manual_seed(self.seed + _STREAMS[stream] + index)

    @cached_property
    def uv(self) -> Tensor:
        """The picture's points in slice coordinates, (side, side, 2)."""
        return self.domain.grid(GRID_SIDE).to(device=self.device, dtype=self.dtype)

    @cached_property
    def grid(self) -> Tensor:
        """The same points in space, (side * side, D)."""
        return self.plane.embed(self.uv).reshape(-1, self.plane.dim)

    @cached_property
    def clean(self) -> Clean:
        """The points that stand for the data."""
        if self.truth is not None:
            data, target = (
                mixture.sample(self.particles, generator=self.generator(stream), dtype=self.dtype)[0]
                for stream, mixture in (("data", self.truth), ("target", self.truth.tilt(self.beta)))
            )
            return Clean(data, target, "the truth")
        if self.support is not None:
            points = self.support.to(device=self.device, dtype=self.dtype)
            chosen = torch.randperm(len(points), generator=self.generator("data"), device=self.device)[: self.particles]
            return Clean(points[chosen], None, "your points")
        path = self.walk(steps=self.steps, scale=0.0)
        if path is not None:
            own = path[-1].x
            own = own[own.abs().amax(-1) < 100 * self.domain.reach]
            if len(own) > self.particles // 2:
                return Clean(own, None, "the model's own unguided samples")
        return Clean(None, None, "the whole domain")

    @cached_property
    def many(self) -> Tensor | None:
        """As many clean points (m, D) as are to be had, up to `MANY`, for sums over points; None if there are none."""
        if self.support is not None:
            return self.support.to(device=self.device, dtype=self.dtype)[:MANY]
        if self.truth is None and self.clean.data is not None:
            path = self.walk(steps=self.steps, scale=0.0, n=MANY)
            if path is not None:
                return path[-1].x[finite_rows(path[-1].x)]
        return self.clean.data

    @cached_property
    def clouds(self) -> dict[float, Cloud]:
        """The points for each of `times`."""
        return {t: self._cloud(t, self.generator("cloud", i)) for i, t in enumerate(self.times)}

    def _cloud(self, t: float, generator: torch.Generator) -> Cloud:
        data, target, _ = self.clean
        if data is not None:
            x, eps = perturb(data, t, self.schedule, generator=generator)
            guided = x if target is None else perturb(target, t, self.schedule, generator=generator).x_t
            return Cloud(x, eps, guided)
        chosen = torch.multinomial(torch.ones_like(self.grid[:, 0]), self.particles, replacement=True, generator=generator)
        shift = torch.rand((self.particles, 2), generator=generator, device=self.device, dtype=self.dtype) - 0.5
        cell = 2 * self.domain.reach / GRID_SIDE
        x = self.grid[chosen] + cell * shift @ self.plane.basis.to(shift)
        return Cloud(x, None, x)

    def fields(self, *names: str) -> dict[float, tuple[Tensor, ...]]:
        """Fields (n, D) at the points of each noise level where all of them gave something finite.

        "score", "guidance", "exact" (the exact guidance) and "exact score" are at the points where the guidance is looked at, and
        "data score" is the score at the noised data.
        """
        found = {}
        for t, cloud in self.clouds.items():
            fields = [self._field(name, t, cloud.x if name == "data score" else cloud.guided) for name in names]
            if all(field is not None for field in fields) and bool(finite_rows(*fields).any()):
                found[t] = tuple(fields)
        return found

    def on_grid(self, name: str, t: float) -> Tensor | None:
        """A field at the picture's points, (side * side, D)."""
        return self._field(name, t, self.grid)

    def _field(self, name: str, t: float, x: Tensor) -> Tensor | None:
        key = (name, t, id(x))
        if key not in self._fields:
            if name == "exact":
                value = self.truth.guidance(x, t, self.beta, self.schedule)
            elif name == "exact score":
                value = self.truth.score(x, t, self.schedule)
            else:
                function = getattr(self, name.removeprefix("data "))
                value = None if function is None else function(x, t)
            self._fields[key] = value
        return self._fields[key]

    def keep_curve(self, name: str, values: Mapping[float, float]) -> None:
        """Keep values over t as arrays[name], and the times as arrays[name + "_times"]."""
        self.arrays[f"{name}_times"], self.arrays[name] = np.array(list(values)), np.array(list(values.values()))

    def keep_map(self, name: str, values: Tensor, t: float) -> None:
        """Keep values (side * side,) at the picture's points as arrays[name] (side, side), and t as arrays[name + "_time"]."""
        self.arrays[f"{name}_time"], self.arrays[name] = np.array(t), self.picture(values)

    def picture(self, values: Tensor) -> np.ndarray:
        """Values at the picture's points, (side * side, ...), as an array (side, side, ...)."""
        return values.detach().cpu().double().reshape(GRID_SIDE, GRID_SIDE, *values.shape[1:]).numpy()

    @cached_property
    def path(self) -> list[Step] | None:
        """Every state of guided sampling with the given steps and scale, from the seed's noise; None where a callable fails."""
        return self.walk(steps=self.steps, scale=self.scale)

    def walk(self, *, steps: int, scale: float, n: int | None = None) -> list[Step] | None:
        """The same with other steps, another scale, or `n` particles."""
        if self.score is None:
            return None
        shape = (n or self.particles, self.plane.dim)
        noise = initial_noise(shape, generator=self.generator("start"), dtype=self.dtype)
        # values that are not finite are a fault near the data and the noise; further out they may be a consequence
        within = CREDIBLE * max(1.0, float(self.grid.abs().max()))

        def total(x_t: Tensor, t: Tensor) -> Tensor:
            # a path this far out is lost; points as large as this only make other callables raise
            inside = x_t.abs().amax(-1, keepdim=True) < 1e6 * self.domain.reach
            x_t = torch.where(inside, x_t, torch.nan)
            score = self.score(x_t, t, within=within)
            force = self.guidance(x_t, t, within=within) if scale and self.guidance is not None else 0.0
            if score is None or force is None:
                raise CallFailed
            return score + scale * force

        denoiser = FunctionDenoiser(total, self.schedule, "score")
        try:
            return list(sampling_steps(denoiser, noise, steps=steps))
        except CallFailed:
            return None


def _levels(times: Sequence[float]) -> tuple[float, ...]:
    """The noise levels in order, each once."""
    levels = {check_number(t, name="times", low=1e-4, high=1.0) for t in as_float64(times, "times").reshape(-1).tolist()}
    if not levels:
        raise ValueError("times: expected at least one noise level in (0, 1], got none")
    return tuple(sorted(levels))


def _first_parameter(callables: Iterable[object]) -> Tensor:
    """Of the torch modules that the callables use; an empty tensor on the CPU if there is none."""
    parameters = (p for function in callables for module in modules_of(function) for p in module.parameters())
    return next(parameters, torch.empty(0))
