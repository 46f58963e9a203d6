"""Sampling: 10,000 samples in 25 steps of DPM-Solver++(2M) with exact guidance, their distance to the target, and orders."""

import statistics

import pytest
from checks import seeded
from gaussian_flow import measured_order

from cepkit.diffusion.guidance import Guided
from cepkit.diffusion.sampling import sample
from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.fields import ExactDenoiser, ExactGuidance
from cepkit.truth.metrics import mmd2, mmd2_null_band

N = 10_000


@pytest.mark.parametrize("beta", [3.0, 10.0])
def test_exactly_guided_samples(benchmark, row, toy, beta):
    """The median of three independent comparisons, since one alone falls outside the band one time in twenty by chance."""
    schedule, target = VPLinear(), toy.truth.tilt(beta)
    denoiser = Guided(ExactDenoiser(toy.truth, schedule), ExactGuidance(toy.truth, beta, schedule))
    exact = [target.sample(N, generator=seeded(seed))[0] for seed in range(3)]
    first = benchmark.pedantic(lambda: sample(denoiser, (N, 2), generator=seeded(10)), rounds=1)
    samples = [first, *(sample(denoiser, (N, 2), generator=seeded(seed)) for seed in (11, 12))]
    values = [float(mmd2(x, y)) for x, y in zip(samples, exact, strict=True)]
    band = mmd2_null_band(exact[0], exact[1], generator=seeded(3))
    value = statistics.median(values)
    measured = f"{value:.1e} (of {', '.join(f'{v:.1e}' for v in sorted(values))}; {benchmark.stats.stats.min:.1f} s each)"
    what = f"MMD^2 of {N:,} samples to p_0, {toy.name}, beta = {beta:g}"
    row(what, f"null band [{band.low:.1e}, {band.high:.1e}]", measured, value <= band.high)


@pytest.mark.parametrize(("method", "order"), [("ddim", 1), ("dpmpp2m", 2)])
def test_order(row, method, order):
    value = measured_order(VPLinear(), (8, 16, 32, 64, 128), method=method)
    row(f"order of {method} on a Gaussian", f"{order}", f"{value:.2f}", abs(value - order) < 0.3)
