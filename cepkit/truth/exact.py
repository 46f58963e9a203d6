"""The ground truth: mixtures whose noisy densities, scores, posteriors and intermediate energies are closed-form.

For q_0 = sum_k w_k q_k and an energy that is constant on a component or quadratic in x_0, both the noised data
density and the noised target stay mixtures, and Theorem 3.1 of Lu et al. (2023) becomes a formula:

    E_t(x_t) = -log E[exp(-beta E(x_0)) | x_t] = log q_t(x_t) - log p~_t(x_t)
    guidance = -grad E_t = grad log p~_t - grad log q_t
    mean energy = beta E[E(x_0) | x_t] >= E_t          (Jensen)

with p~_t the noised, unnormalised q_0 exp(-beta E). A curve is a mixture over its quadrature nodes; how many
are needed depends on how much noise blurs them, so a `Mixture` may hold a rule instead of a list.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from cepkit.diffusion.process import x0_from_eps
from cepkit.diffusion.schedules import Schedule
from cepkit.truth.components import Components, by_chunks
from cepkit.truth.kernels import NoisyView, axis_tables
from cepkit.truth.posterior import Fields, compare_with_target, mean_energy
from cepkit.validation import as_float64, check_beta, check_number, check_points, check_time, check_time_shape

NodeRule = Callable[[float], Components]  # blur -> nodes
_KEPT_TILTS = 16  # targets that a mixture keeps; a moving slider would pile up hundreds


class Mixture:
    """A data distribution with an energy, known exactly at every noise level.

    In every method `x_t` has shape (..., D), `t` is a scalar or has the shape (...), and results follow the dtype
    and device of `x_t`. All methods are differentiable in `x_t`. They raise `ValueError` for a wrong dimension,
    non-finite points, t outside (0, 1] or a `beta` that is negative, infinite or too large to normalise.
    """

    def __init__(self, components: Components | NodeRule) -> None:
        """Args:
        components: fixed components, or a rule that returns nodes for a given blur: the standard deviation in x_0 units
            by which the nodes will at least be smoothed.
        """
        self._rule = components if callable(components) else None
        self._fixed = None if callable(components) else components.normalised()
        self._cache: dict[float, Components] = {}
        self._tilts: dict[float, Mixture] = {}

    @classmethod
    def from_points(cls, x: Tensor, energy: Tensor, *, std: float = 0.0) -> Self:
        """The empirical distribution of points (n, D) with energies (n,), each blurred by `std`."""
        x = as_float64(x, "x")
        if x.ndim != 2 or 0 in x.shape:
            raise ValueError(f"x: expected shape (n, D) with at least one point, got {tuple(x.shape)}")
        check_points(x, None, name="x")
        energy = _per_point(energy, x, "energy")
        std = check_number(std, name="std", low=0.0)
        return cls(Components(x.new_zeros(len(x)), x, x.new_tensor([std]), energy, torch.zeros_like(energy).long()))

    @property
    def dim(self) -> int:
        return self.components().dim

    def components(self, blur: float = 0.0) -> Components:
        """The components fine enough for points blurred by `blur` (float64, in x_0 units)."""
        if self._fixed is not None:
            return self._fixed
        level = 8.0 if math.isinf(blur) else 2.0 ** (math.floor(4 * math.log2(max(blur, 1e-3))) / 4)
        level = min(level, 8.0)
        if level not in self._cache:
            self._cache[level] = self._rule(level).normalised()
        return self._cache[level]

    def components_at(self, alpha: Tensor, sigma_squared: Tensor) -> Components:
        """The components fine enough for every noise level of these tensors (float64)."""
        if not alpha.numel():
            return self.components(math.inf)
        widest = self.components(math.inf).std.max()
        return self.components(float((widest**2 + (sigma_squared / alpha**2).amin()).sqrt()))

    @cached_property
    def _lowest(self) -> float:
        """The lowest constant energy. Relative to it float32 keeps the digits of the differences, on which the fields depend."""
        return float(self.components(math.inf).energy.min())

    def _relative(self, components: Components, like: Tensor) -> Components:
        """The components with energies relative to `_lowest`, in the dtype and on the device of `like`."""
        return replace(components, energy=components.energy - self._lowest).to(like)

    def tilt(self, beta: float) -> Self:
        """The target p_0 proportional to q_0 exp(-beta E), again a `Mixture` with the same energy."""
        beta = check_beta(beta)
        if beta in self._tilts:
            self._tilts[beta] = self._tilts.pop(beta)  # the last of them is the one used last
        else:
            if self._fixed is not None:
                tilted = Mixture(self._fixed.tilt(beta))
            else:
                self.components().tilt(beta)  # refuses a beta that cannot be normalised now, not at first use
                rule = self._rule
                tilted = Mixture(lambda blur: rule(blur).normalised().tilt(beta))
            self._tilts[beta] = tilted
            if len(self._tilts) > _KEPT_TILTS:
                del self._tilts[next(iter(self._tilts))]
        return self._tilts[beta]

    def log_partition(self, beta: float) -> float:
        """log E_q0[exp(-beta E)]."""
        return float(torch.logsumexp(self.components().tilt(check_beta(beta)).log_weight, 0))

    def mode_masses(self) -> Tensor:
        """The probability of each mode, shape (number of modes,), float64."""
        c = self.components()
        return torch.zeros(int(c.mode.max()) + 1, dtype=c.mean.dtype).index_add(0, c.mode, torch.exp(c.log_weight))

    def sample(
        self, n: int, *, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Draw n points: x of shape (n, D) and their energies (n,), on the generator's device."""
        n = check_number(n, name="n", low=0, integer=True)
        device = generator.device if generator is not None else "cpu"
        x, energy = self.components().to(torch.empty(0, dtype=torch.float64, device=device)).draw(n, generator)
        return x.to(dtype), energy.to(dtype)

    def log_q(self, x_t: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
        """log q_t(x_t), shape (...)."""
        return self._sweep(x_t, t, schedule, lambda view: view.mix(view.components.log_weight)[0])

    def score(self, x_t: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
        """grad log q_t(x_t), shape (..., D)."""
        return self._sweep(x_t, t, schedule, lambda view: view.pull(view.mix(view.components.log_weight)[1]))

    def posterior_mean(self, x_t: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
        """E[x_0 | x_t], shape (..., D), by Tweedie's formula."""

        def mean(view: NoisyView) -> Tensor:
            posterior = view.mix(view.components.log_weight)[1]
            if view.components.half_width is None:
                return view.pull_means(posterior)
            sigma = view.sigma_squared.sqrt()
            return x0_from_eps(-sigma * view.pull(posterior), view.x_t, view.alpha, sigma)

        return self._sweep(x_t, t, schedule, mean)

    def energy_t(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """The intermediate energy E_t(x_t) = -log E[exp(-beta E(x_0)) | x_t], shape (...). Theorem 3.1."""
        beta = check_beta(beta)
        energy_t = self._sweep(x_t, t, schedule, lambda view: compare_with_target(view, beta, fields=False)[0], beta=beta)
        return energy_t + beta * self._lowest

    def guidance(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """-grad E_t(x_t), shape (..., D)."""
        beta = check_beta(beta)
        return self._sweep(x_t, t, schedule, lambda view: compare_with_target(view, beta).guidance, beta=beta)

    def fields(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Fields:
        """log q_t, score, E_t and guidance together, sharing the work between the four."""
        beta = check_beta(beta)
        fields = Fields(*self._sweep(x_t, t, schedule, lambda view: compare_with_target(view, beta), beta=beta))
        return fields._replace(energy_t=fields.energy_t + beta * self._lowest)

    def mean_energy_t(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """beta E[E(x_0) | x_t], shape (...): what regression on noisy points learns; never below E_t."""
        beta = check_beta(beta)
        return self._sweep(x_t, t, schedule, lambda view: beta * mean_energy(view)[0], beta=beta) + beta * self._lowest

    def mean_energy_guidance(self, x_t: Tensor, t: Tensor | float, beta: float, schedule: Schedule) -> Tensor:
        """-beta grad E[E(x_0) | x_t], shape (..., D)."""
        beta = check_beta(beta)
        return self._sweep(x_t, t, schedule, lambda view: -beta * mean_energy(view)[1], beta=beta)

    def energy(self, x0: Tensor) -> Tensor:
        """The energy of a clean point, shape (...): E[E | x_0], where two components overlap their average.

        Away from the data it is the limit of that average as the noise vanishes; without noise of its own
        (points, the checkerboard) that is the energy of the nearest component, flat with jumps between.
        """
        return _CleanEnergy.apply(x0, self)

    def mode_probability(self, x0: Tensor) -> Tensor:
        """P(mode | x_0), shape (..., number of modes), with the same limit as `energy` away from the data."""
        modes = self.mode_masses().numel()

        def probability(view: NoisyView) -> Tensor:
            posterior = view.mix(view.components.log_weight)[1]
            return posterior.new_zeros(posterior.shape[0], modes).index_add(1, view.components.mode, posterior)

        return self._on_clean(x0, probability)

    def _on_clean(self, x0: Tensor, formula: Callable) -> Tensor | tuple[Tensor, ...]:
        check_points(x0, self.dim, name="x0")
        one = torch.ones((), dtype=torch.float64)
        floor = (1e-12 if x0.dtype == torch.float64 else 1e-9) * one
        components = self._relative(self.components(), x0)
        return by_chunks(lambda x: formula(NoisyView(components, x, one, floor)), x0, components)

    def _sweep(
        self, x_t: Tensor, t: Tensor | float, schedule: Schedule, formula: Callable, *, beta: float = 0.0
    ) -> Tensor | tuple[Tensor, ...]:
        """Apply `formula` to chunks of rows, with as many nodes as the smallest noise level needs."""
        self.tilt(beta)
        t = check_time_shape(check_time(t), check_points(x_t, self.dim).shape[:-1])
        alpha, sigma_squared = schedule.alpha(t.double()), schedule.sigma_squared(t.double())
        if t.numel() and float(t.min()) == 0.0:
            raise ValueError("t: expected times in (0, 1]; at t = 0 nothing is blurred and the density may not exist")
        components = self._relative(self.components_at(alpha, sigma_squared), x_t)
        if t.ndim:
            alpha, sigma_squared = (value.to(x_t).reshape(-1, 1) for value in (alpha, sigma_squared))
            return by_chunks(lambda x, a, s: formula(NoisyView(components, x, a, s)), x_t, components, alpha, sigma_squared)
        tables, *index = axis_tables(components, x_t.reshape(-1, self.dim), alpha, sigma_squared) or (None,)
        return by_chunks(
            lambda x, *row: formula(NoisyView(components, x, alpha, sigma_squared, tables, *row)), x_t, components, *index
        )


class _CleanEnergy(torch.autograd.Function):
    """`Mixture.energy` with its closed-form gradient, which costs one pass where automatic differentiation takes three."""

    @staticmethod
    def forward(ctx, x0: Tensor, mixture: Mixture) -> Tensor:
        energy, gradient = mixture._on_clean(x0, mean_energy)
        ctx.save_for_backward(x0, gradient)
        ctx.mixture = mixture
        return energy + mixture._lowest

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None]:
        x0, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated again: give it a graph
            gradient = ctx.mixture._on_clean(x0, mean_energy)[1]
        return upstream[..., None] * gradient, None


def _per_point(value: Tensor, x: Tensor, name: str) -> Tensor:
    value = as_float64(value, name).to(x.device)
    if value.shape == (x.shape[0], 1):
        value = value[:, 0]
    if value.shape != (x.shape[0],):
        raise ValueError(f"{name}: expected one value per point, shape ({x.shape[0]},), got {tuple(value.shape)}")
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name}: expected finite values, got {int((~torch.isfinite(value)).sum())} NaN or infinite")
    return value
