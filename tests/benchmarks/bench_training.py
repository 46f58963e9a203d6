"""Training at default settings: guidance error against seconds, along t, by toy; what the samples are worth; sampling speed.

Writes the whole curves to build/error_against_seconds.csv: toy, beta, seed, step, seconds, one column for each t, mean.
"""

import csv
import statistics
import time
from functools import cache
from pathlib import Path

import pytest
from checks import seeded, toy_named

from cepkit.diffusion.guidance import Guided
from cepkit.diffusion.sampling import sample
from cepkit.diffusion.schedules import VPLinear
from cepkit.learning import DataSource, History, Training, TrainingConfig
from cepkit.truth.metrics import PROBE_TIMES, ErrorProbe, mmd2, mmd2_null_band, mode_masses, total_variation
from cepkit.truth.toys import TOYS

SEEDS = (0, 1, 2)
CURVES = Path(__file__).parents[2] / "build" / "error_against_seconds.csv"


@cache
def probe(name, beta=3.0):
    """Many points where they are cheap: at t = 0.05 the error of 8gaussians sits at a few of them."""
    n = 60_000 if name in ("8gaussians", "checkerboard") else 20_000
    return ErrorProbe(toy_named(name).truth, beta, VPLinear(), n=n, generator=seeded(100))


def trained(name, beta=3.0, seed=0, parts=("denoiser", "energy")):
    """(training, seconds, history), drawing the data included, measuring not; each trained once."""
    return _trained(name, beta, seed, parts)


@cache
def _trained(name, beta, seed, parts):
    history = History(probe(name, beta), every=250 if beta == 3.0 else 2500)
    start = time.perf_counter()
    training = Training(*DataSource(name).draw(), TrainingConfig(beta=beta, seed=seed, parts=parts))
    preparing = time.perf_counter() - start
    history.run(training)
    write_curve(name, beta, seed, history, preparing)
    return training, preparing + history.seconds[-1], history


def write_curve(name, beta, seed, history, preparing):
    CURVES.parent.mkdir(exist_ok=True)
    new = not CURVES.exists()
    with CURVES.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["toy", "beta", "seed", "step", "seconds", *(f"t={t:g}" for t in PROBE_TIMES), "mean"])
        for step, seconds, errors in zip(history.steps, history.seconds, history.errors, strict=True):
            values = [f"{error:.4f}" for error in (*errors.tolist(), float(errors.mean()))]
            writer.writerow([name, beta, seed, step, f"{preparing + seconds:.1f}", *values])
    print(f"\n{name}, beta = {beta:g}, seed {seed}: mean error after seconds  ", end="")
    print("  ".join(f"{e:.3f} ({preparing + s:.0f} s)" for s, e in zip(history.seconds, history.means, strict=True)), flush=True)


@pytest.fixture(scope="module", autouse=True)
def fresh_curves():
    CURVES.unlink(missing_ok=True)


@pytest.mark.parametrize("name", TOYS)
def test_seconds(row, name):
    seconds = [trained(name, seed=seed)[1] for seed in SEEDS]
    row(f"training both networks, {name}, beta = 3", "60 s", " ".join(f"{s:.0f}" for s in seconds) + " s", max(seconds) <= 60)


@pytest.mark.parametrize("name", TOYS)
def test_guidance_error(row, name):
    """Each t apart; 8gaussians and moons have bars of their own."""
    for seed in SEEDS:
        history = trained(name, seed=seed)[2]
        mean = history.means[-1]
        along = ", ".join(f"{error:.3f}" for error in history.errors[-1].tolist())
        what = f"guidance error, {name}, seed {seed}, t = {', '.join(f'{t:g}' for t in PROBE_TIMES)}"
        bar = 0.10 if name in ("8gaussians", "moons") else None
        row(what, "mean 0.10" if bar else "in the mean below", f"{along}; mean {mean:.3f}", bar is None or mean <= bar)


def test_guidance_error_over_the_toys(row):
    for seed in SEEDS:
        value = statistics.mean(trained(name, seed=seed)[2].means[-1] for name in TOYS)
        row(f"guidance error, mean over the six toys, seed {seed}", "0.12 (aim 0.05)", f"{value:.3f}", value <= 0.12)


@pytest.mark.parametrize("beta", [3.0, 10.0, 20.0])
@pytest.mark.parametrize("name", TOYS)
def test_samples(row, name, beta):
    """10,000 samples in 25 steps, denoiser and guidance both learned; the denoiser does not depend on beta."""
    denoiser = trained(name)[0].denoiser
    training = trained(name)[0] if beta == 3.0 else trained(name, beta, parts=("energy",))[0]
    target = toy_named(name).truth.tilt(beta)
    exact, other = (target.sample(10_000, generator=seeded(seed))[0] for seed in (1, 2))
    x = sample(Guided(denoiser, training.guidance), exact.shape, generator=seeded(3))
    barred = beta == 3.0 and name in ("8gaussians", "moons")
    samples = [x]
    for seed in SEEDS[1:] if barred else ():
        other_run = trained(name, seed=seed)[0]
        samples.append(sample(Guided(other_run.denoiser, other_run.guidance), exact.shape, generator=seeded(3)))
    off = [float(total_variation(mode_masses(points, target), target.mode_masses())) for points in samples]
    measured = " ".join(f"{value:.4f}" for value in off)
    what = f"mode masses, {name}, beta = {beta:g}, seeds {' '.join(map(str, SEEDS[: len(off)]))}"
    row(what, "0.02" if barred else "reported", measured, max(off) <= 0.02 or not barred)
    band = mmd2_null_band(exact, other, generator=seeded(4))
    value = float(mmd2(x, exact))
    row(f"MMD^2 of 10,000 samples, {name}, beta = {beta:g}", f"reported; null band to {band.high:.1e}", f"{value:.1e}", True)


def test_sampling_speed(benchmark, row):
    training = trained("8gaussians")[0]
    guided = Guided(training.denoiser, training.guidance)
    benchmark.pedantic(lambda: sample(guided, (2000, 2), generator=seeded()), rounds=10, warmup_rounds=1)
    stats = benchmark.stats.stats
    measured = f"{1e3 * stats.median:.0f} ms (from {1e3 * stats.min:.0f} to {1e3 * stats.max:.0f})"
    row("2,000 guided samples, 25 steps, both networks learned", "400 ms", measured, stats.median <= 0.4)
