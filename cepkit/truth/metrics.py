"""Errors of guidance fields against the truth, and distances between sets of samples.

Points have shape (n, D); results are 0-dim tensors unless said otherwise.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from cepkit.calling import call_field
from cepkit.diffusion.process import perturb
from cepkit.diffusion.schedules import Schedule
from cepkit.truth.exact import Mixture
from cepkit.validation import check_number, check_points

Field = Callable[[Tensor, Tensor | float], Tensor]
_ROWS = 64  # of a kernel matrix at a time: what stays in a cache
PROBE_TIMES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
NEGLIGIBLE = 1e-3  # a guidance of this size beside the score changes no sample: an error relative to it says nothing


def reference_size(exact: Tensor, score: Tensor, weight: Tensor | None = None) -> Tensor:
    """What an error of the guidance is measured by: the root mean square length of the exact field, where that is `NEGLIGIBLE`
    beside the score that of the score. Fields (..., D); `weight` (...) sums to one, by default equal weights."""

    def mean_square(field: Tensor) -> Tensor:
        square = field.square().sum(-1)
        return square.mean() if weight is None else (weight * square).sum()

    size, whole = mean_square(exact), mean_square(score)
    return torch.where(size > NEGLIGIBLE**2 * whole, size, whole).sqrt()


def relative_error(estimate: Tensor, exact: Tensor, score: Tensor) -> Tensor:
    """The root mean square length of estimate - exact, relative to the exact field's: 0 is perfect, 1 is as bad as no guidance.

    Where the exact field is negligible beside `score`, relative to the score's; see `reference_size`. Shapes (..., D).
    """
    if estimate.shape != exact.shape:
        raise ValueError(f"estimate: expected the shape of the exact field {tuple(exact.shape)}, got {tuple(estimate.shape)}")
    return (estimate - exact).square().sum(-1).mean().sqrt() / reference_size(exact, score)


class ErrorProbe:
    """Relative errors of guidance fields along t, always at the same points x_t drawn from the exact p_t.

    The exact guidance is computed once, so that a network can be measured again and again while it trains.

    Args:
        times: where to measure, in (0, 1].
        n: points for each time. At small t the error sits at few points: differences between probes of a few thousand points
            are partly chance there, differences on one probe are not.

    Attributes:
        points, exact, score: for each time, x_t (n, D), and there the exact guidance and the score of q_t.
    """

    def __init__(
        self,
        truth: Mixture,
        beta: float,
        schedule: Schedule,
        *,
        times: Iterable[float] = PROBE_TIMES,
        n: int = 4096,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.truth, self.beta, self.schedule = truth, beta, schedule
        self.times = tuple(check_number(t, name="times", low=1e-6, high=1.0) for t in times)
        n, target = check_number(n, name="n", low=1, integer=True), truth.tilt(beta)
        self.points = []
        for t in self.times:
            x0, _ = target.sample(n, generator=generator, dtype=dtype)
            self.points.append(perturb(x0, t, schedule, generator=generator).x_t)
        fields = [truth.fields(x_t, t, beta, schedule) for x_t, t in zip(self.points, self.times, strict=True)]
        self.exact, self.score = [found.guidance for found in fields], [found.score for found in fields]

    def __call__(self, field: Field) -> Tensor:
        """The error of a field (x_t, t) -> guidance at each time, shape (number of times,)."""
        places = zip(self.points, self.times, self.exact, self.score, strict=True)
        return torch.stack(
            [relative_error(call_field(field, "field", x_t, t).detach(), exact, score) for x_t, t, exact, score in places]
        )

    @cached_property
    def mean_energy(self) -> Tensor:
        """The error of the exact mean energy's guidance at each time: what a learned guidance is to stay below."""
        return self(lambda x_t, t: self.truth.mean_energy_guidance(x_t, t, self.beta, self.schedule))


def guidance_error(
    field: Field,
    truth: Mixture,
    t: float,
    beta: float,
    schedule: Schedule,
    *,
    n: int = 4096,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Relative error of a guidance field at time t, averaged over x_t drawn from the exact p_t; see `ErrorProbe`."""
    return ErrorProbe(truth, beta, schedule, times=(t,), n=n, generator=generator, dtype=dtype)(field)[0]


def _two_sets(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The two sets about the mean of the second: distances keep their digits wherever the origin lies."""
    check_points(x, None, name="x")
    check_points(y, x.shape[-1], name="y")
    for name, points in (("x", x), ("y", y)):
        if points.ndim != 2 or points.shape[0] < 2:
            raise ValueError(f"{name}: expected at least two points, shape (n, D), got {tuple(points.shape)}")
    if x.dtype != y.dtype or x.device != y.device:
        raise ValueError(f"y: expected the dtype and device of x, {x.dtype} on {x.device}, got {y.dtype} on {y.device}")
    return x - y.mean(0), y - y.mean(0)


def kernel_bandwidths(reference: Tensor) -> Tensor:
    """Bandwidths (4,) for the MMD: the root mean square spread of `reference` times 1/2, 1/4, 1/8 and 1/16."""
    spread = (reference - reference.mean(0)).square().mean().sqrt().clamp_min(1e-6)
    return spread * 0.5 ** torch.arange(1, 5, dtype=reference.dtype, device=reference.device)


def _kernel_rows(a: Tensor, b: Tensor, bandwidths: Tensor) -> Tensor:
    """Mean of Gaussian kernels, (len(a), len(b))."""
    square = torch.cdist(a, b).square_()
    # exp(-80) is nothing beside 1, while the denormal numbers below it would make this seven times slower
    return sum((square * (-0.5 / h**2)).clamp_(min=-80).exp_() for h in bandwidths).div_(len(bandwidths))


def mmd2(x: Tensor, y: Tensor, *, bandwidths: Tensor | None = None) -> Tensor:
    """Unbiased squared maximum mean discrepancy between two sets of samples (Gretton et al. 2012, eq. 3).

    The kernel is the mean of Gaussians at `bandwidths` (by default those of `y`, see `kernel_bandwidths`). The estimate is
    unbiased, so it scatters round 0, below it too, when both sets come from the same distribution.
    """
    x, y = _two_sets(x, y)
    bandwidths = kernel_bandwidths(y) if bandwidths is None else bandwidths

    def total(a: Tensor, b: Tensor) -> Tensor:
        return sum(_kernel_rows(rows, b, bandwidths).sum(dtype=torch.float64) for rows in a.split(_ROWS))

    n, m = len(x), len(y)
    within = (total(x, x) - n) / (n * (n - 1)) + (total(y, y) - m) / (m * (m - 1))
    return within - 2 * total(x, y) / (n * m)


class NullBand(NamedTuple):
    """Where an MMD^2 of two sets from one distribution falls: its 2.5 %, 50 % and 97.5 % points and the largest seen."""

    low: float
    median: float
    high: float
    largest: float


def mmd2_null_band(x: Tensor, y: Tensor, *, permutations: int = 200, generator: torch.Generator | None = None) -> NullBand:
    """The scatter of the unbiased MMD^2 over random re-divisions of two pooled sets (a permutation test's null).

    With two sets of exact samples, an approximate sampler's MMD^2 inside the band cannot be told from exact.
    """
    x, y = _two_sets(x, y)
    permutations = check_number(permutations, name="permutations", low=1, integer=True)
    bandwidths, pool, n, m = kernel_bandwidths(y), torch.cat([x, y]), len(x), len(y)
    member = torch.zeros(n + m, permutations, dtype=pool.dtype, device=pool.device)
    for column in member.T:
        column[torch.randperm(n + m, generator=generator, device=pool.device)[:n]] = 1
    grand = inside = crossing = 0.0
    for rows, chosen in zip(pool.split(_ROWS), member.split(_ROWS), strict=True):
        kernel = _kernel_rows(rows, pool, bandwidths)
        grand = grand + kernel.sum(dtype=torch.float64)
        touched = (kernel @ member).double()
        inside = inside + (chosen * touched).sum(0)
        crossing = crossing + ((1 - chosen) * touched).sum(0)
    outside = grand - inside - 2 * crossing
    values = (inside - n) / (n * (n - 1)) + (outside - m) / (m * (m - 1)) - 2 * crossing / (n * m)
    points = torch.quantile(values, torch.tensor([0.025, 0.5, 0.975], dtype=values.dtype, device=values.device))
    return NullBand(*points.tolist(), float(values.max()))


def sliced_wasserstein(x: Tensor, y: Tensor) -> Tensor:
    """Mean Wasserstein-1 distance of the one-dimensional projections of two sets on 128 random directions.

    The directions are always the same, so that figures can be compared. Sets of different sizes are compared by their
    quantile functions.
    """
    x, y = _two_sets(x, y)
    directions = torch.randn(x.shape[-1], 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions = (directions / directions.norm(dim=0)).to(x)
    a, b = (x @ directions).sort(0).values, (y @ directions).sort(0).values
    if len(a) != len(b):
        count = max(len(a), len(b))
        levels = (torch.arange(count, device=x.device) + 0.5) / count
        a, b = (p[(levels * len(p)).long().clamp_(max=len(p) - 1)] for p in (a, b))
    return (a - b).abs().mean()


def mode_masses(x: Tensor, mixture: Mixture) -> Tensor:
    """Share of the samples in each mode, shape (number of modes,): the mean of P(mode | x_0 = x) under `mixture`.

    Samples of `mixture` itself give `mixture.mode_masses()` on average, however the modes overlap.
    """
    check_points(x, mixture.dim, name="x")
    return mixture.mode_probability(x).mean(0)


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    """Half the summed absolute difference of two probability vectors."""
    if p.shape != q.shape:
        raise ValueError(f"p: expected the shape of q {tuple(q.shape)}, got {tuple(p.shape)}")
    return 0.5 * (p.double() - q.double().to(p.device)).abs().sum()
