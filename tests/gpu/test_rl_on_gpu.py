"""Stages of offline RL on the device: losses like those of the CPU, and steps a second at the paper's sizes."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from paper_sizes import PAPER, made_up_data, made_up_stage

pytest.importorskip("gymnasium", reason="needs the extra rl")

SMALL = replace(
    PAPER, behaviour_batch=64, behaviour_widths=(32, 16), support_chunk=64, critic_width=32, energy_batch=16, energy_width=32
)
COUNT = {"behaviour": 20, "support": 4, "critic": 60}


def losses(name, data, config, seeds=None, count=3):
    taken = [step.losses for step in islice(made_up_stage(name, data, config, seeds), count)]
    return [{part: float(value) for part, value in step.items()} for step in taken]


@pytest.mark.parametrize("seeds", [None, (0, 1)], ids=["one seed", "two seeds"])
@pytest.mark.parametrize("name", ["behaviour", "support", "critic"])
def test_a_stage_trains_as_on_the_cpu(device, name, seeds):
    """Random numbers differ between devices, so losses agree on average only."""
    here = losses(name, made_up_data(2000, SMALL), SMALL, seeds)
    there = losses(name, made_up_data(2000, SMALL, device), SMALL, seeds)
    for one, other in zip(here, there, strict=True):
        assert one.keys() == other.keys()
        for part, value in one.items():
            assert other[part] == pytest.approx(value, rel=0.5, abs=0.05), part


@pytest.mark.parametrize("seeds", [None, (0, 1, 2, 3)], ids=["1 seed", "4 seeds"])
@pytest.mark.parametrize("name", COUNT)
def test_speed_at_the_papers_sizes(device, full, row, seconds, name, seeds):
    config, count = (PAPER, COUNT[name]) if full else (SMALL, 2)
    if full and name == "support":
        config = replace(config, support_chunk=4096)
    data = made_up_data(200_000 if full else 2000, config, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    steps = iter(made_up_stage(name, data, config, seeds))
    next(steps), next(steps)  # warm up
    rate = count / seconds(lambda: [None for _ in islice(steps, count)])
    if name == "support":
        rate, unit = rate * config.support_chunk * config.support_actions * len(seeds or (0,)), "actions"
    else:
        unit = "steps"
    memory = f", {torch.cuda.max_memory_allocated() / 1e9:.2f} GB" if device.type == "cuda" else ""
    row(f"{name}, {len(seeds or (0,))} seed(s) together, eager float32", f"{rate:,.1f} {unit} a second{memory}")
