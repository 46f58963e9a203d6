"""Speed of the truth: log q_t, score, E_t and guidance on a 90 x 90 grid, float32, one thread."""

import pytest
from checks import square_grid
from torch import float32, get_num_threads

from cepkit.diffusion.schedules import VPLinear


@pytest.mark.parametrize("t", [0.002, 0.05])
def test_fields_on_a_grid(benchmark, row, toy, t):
    grid, schedule = square_grid(90, dtype=float32), VPLinear()
    benchmark.pedantic(toy.truth.fields, (grid, t, 3.0, schedule), rounds=9, warmup_rounds=2)
    bar = 250 if toy.name == "2spirals" else 100
    median, fastest = (1e3 * getattr(benchmark.stats.stats, name) for name in ("median", "min"))
    what = f"truth on 90 x 90, {toy.name}, t = {t}, {get_num_threads()} thread"
    row(what, f"{bar} ms", f"{median:.0f} ms (fastest {fastest:.0f})", median < bar)
