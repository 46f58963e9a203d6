"""Speed of the data part: D4RL's semantics on a million rows of HalfCheetah's size, one thread."""

from __future__ import annotations

import numpy as np
import pytest
from torch import get_num_threads

from cepkit.rl import load_dataset
from cepkit.rl.data.hdf5 import write_hdf5
from cepkit.rl.data.transitions import qlearning_transitions

N = 1_000_000


def million(*, timeouts):
    """Rows like hopper's: terminals now and then, otherwise time-outs after 1,000 steps; the size of halfcheetah's."""
    random = np.random.default_rng(0)
    raw = {
        "observations": random.standard_normal((N, 17), dtype=np.float32),
        "actions": random.uniform(-1, 1, (N, 6)).astype(np.float32),
        "rewards": random.standard_normal(N, dtype=np.float32),
        "terminals": random.random(N) < 0.002,
    }
    return raw | ({"timeouts": np.arange(N) % 1000 == 999} if timeouts else {})


@pytest.mark.parametrize("timeouts", [True, False], ids=["timeouts", "counted"])
def test_qlearning_transitions(benchmark, row, timeouts):
    raw = million(timeouts=timeouts)
    benchmark.pedantic(qlearning_transitions, (raw,), {"max_episode_steps": 1000}, rounds=5, warmup_rounds=1)
    median, slowest = (getattr(benchmark.stats.stats, name) for name in ("median", "max"))
    how = "timeouts in the file" if timeouts else "steps counted"
    what = f"qlearning_transitions, 1,000,000 rows, {how}, {get_num_threads()} thread"
    row(what, "3 s", f"{median:.2f} s (slowest {slowest:.2f} s)", slowest < 3)


def test_load_dataset(benchmark, row, tmp_path):
    """From a compressed file of random numbers, which compress worse than real ones."""
    path = tmp_path / "million.hdf5"
    write_hdf5(path, million(timeouts=True))
    benchmark.pedantic(load_dataset, (path,), rounds=3)
    median = benchmark.stats.stats.median
    what = f"load_dataset of a file with 1,000,000 rows, {path.stat().st_size / 1e6:.0f} MB, checks included"
    row(what, "reported", f"{median:.1f} s", True)
