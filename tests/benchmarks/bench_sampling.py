"""Sampling: 10,000 samples in 25 steps of DPM-Solver++(2M) with exact guidance, their distance to the target, and orders."""

import pytest
from checks import seeded
from test_sampling import measured_order

from cepkit.denoisers import ExactDenoiser
from cepkit.guidance import ExactGuidance, Guided
from cepkit.metrics import mmd2, mmd2_null_band
from cepkit.sampling import sample
from cepkit.schedules import VPLinear

N = 10_000


@pytest.mark.parametrize("beta", [3.0, 10.0])
def test_exactly_guided_samples(benchmark, row, toy, beta):
    schedule, target = VPLinear(), toy.truth.tilt(beta)
    denoiser = Guided(ExactDenoiser(toy.truth, schedule), ExactGuidance(toy.truth, beta, schedule))
    x = benchmark.pedantic(lambda: sample(denoiser, (N, 2), generator=seeded(0)), rounds=1)
    exact, more = (target.sample(N, generator=seeded(seed))[0] for seed in (1, 2))
    value, band = float(mmd2(x, exact)), mmd2_null_band(exact, more, permutations=100, generator=seeded(3))
    measured = f"{value:.1e} ({benchmark.stats.stats.min:.1f} s)"
    what = f"MMD^2 of {N:,} samples to p_0, {toy.name}, beta = {beta:g}"
    row(what, f"null band [{band.low:.1e}, {band.high:.1e}]", measured, value <= band.high)


@pytest.mark.parametrize(("method", "order"), [("ddim", 1), ("dpmpp2m", 2)])
def test_order(row, method, order):
    value = measured_order(VPLinear(), (8, 16, 32, 64, 128), method=method)
    row(f"order of {method} on a Gaussian", f"{order}", f"{value:.2f}", abs(value - order) < 0.3)
