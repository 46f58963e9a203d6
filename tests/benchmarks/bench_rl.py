"""QGPO at the paper's sizes on one thread: steps per second, what they spend their time on, and an ensemble against its members.

The reference code does, on the same kind of core, 0.76 to 1.3 behaviour steps, 2.8 to 5.7 Q and energy steps, and 590 to 940
support actions a second, depending on how busy the machine is. We ask for 1.3, 2 and 2 times the middle of these, in float32 as
the reference computes, and with `mixed_precision`, whose bfloat16 products a processor does faster if it has them.
"""

import time
from dataclasses import replace

import pytest
from paper_sizes import PAPER, made_up_data, made_up_stage
from torch.profiler import ProfilerActivity, profile

from cepkit.rl.agent.qgpo_config import PRESETS

PRECISIONS = {"float32": PAPER, "bfloat16": replace(PAPER, mixed_precision=True)}
GROUPS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul"),
    "activations": ("silu", "relu", "threshold", "softmax", "layer_norm"),
    "gathering and random numbers": ("index", "normal_", "random_", "uniform_", "gather"),
    "optimiser": ("_fused_adam_", "lerp", "_foreach_lerp_"),
}


@pytest.fixture(scope="module")
def data():
    return made_up_data(20_000)


def seconds_per_step(stage, count):
    """CPU seconds a step, the first two left out: the machine may be busy with other things."""
    steps = iter(stage)
    next(steps), next(steps)
    start = time.process_time()
    for _ in range(count):
        next(steps)
    return (time.process_time() - start) / count


def shares(stage, count):
    """Where the CPU time of some steps goes, in words."""
    steps = iter(stage)
    next(steps)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(count):
            next(steps)
    spent = dict.fromkeys([*GROUPS, "the rest"], 0.0)
    for event in profiler.key_averages():
        name = event.key.removeprefix("aten::").removesuffix("_backward").removesuffix("_out")
        group = next((group for group, names in GROUPS.items() if name in names), "the rest")
        spent[group] += event.self_cpu_time_total
    total = sum(spent.values())
    return ", ".join(f"{group} {value / total:.0%}" for group, value in sorted(spent.items(), key=lambda item: -item[1]))


def write(row, what, bar, rate, least, form=".2f"):
    """One row for each precision, and the ratio between the two, which does not depend on how busy the machine is."""
    for precision, value in rate.items():
        row(f"{what}, {precision}", bar, f"{value:{form}}", value >= least)
    row(f"{what}, bfloat16 over float32", "reported", f"{rate['bfloat16'] / rate['float32']:.2f} x", True)


def test_behaviour_step(row, data):
    rate = {name: 1 / seconds_per_step(made_up_stage("behaviour", data, config), 5) for name, config in PRECISIONS.items()}
    write(row, "behaviour steps a second, batch 4096", "1.34 (1.3 x 0.76 to 1.3)", rate, 1.34)
    row("behaviour step: time goes to", "reported", shares(made_up_stage("behaviour", data), 2), True)


def test_critic_step(row, data):
    rate = {name: 1 / seconds_per_step(made_up_stage("critic", data, config), 10) for name, config in PRECISIONS.items()}
    write(row, "Q and energy steps a second, batch 256, K = 16", "8.5 (2 x 2.8 to 5.7)", rate, 8.5)
    row("Q and energy step: time goes to", "reported", shares(made_up_stage("critic", data), 3), True)


def test_support_actions(row, data):
    count = PAPER.support_chunk * PAPER.support_actions
    rate = {name: count / seconds_per_step(made_up_stage("support", data, config), 3) for name, config in PRECISIONS.items()}
    write(row, "support actions a second, 15 steps", "1530 (2 x 590 to 940)", rate, 1530, ".0f")
    row("support actions: time goes to", "reported", shares(made_up_stage("support", data), 1), True)


def test_ensemble(row, data):
    """Four seeds of the maze preset's networks in one batched step against four steps, one after another."""
    config, seeds = PRESETS["maze"], (0, 1, 2, 3)
    for name, alone_steps, together_steps in (("behaviour", 30, 15), ("critic", 30, 15)):
        alone = seconds_per_step(made_up_stage(name, data, config), alone_steps)
        together = seconds_per_step(made_up_stage(name, data, config, seeds), together_steps)
        row(f"four seeds together, {name} stage, throughput", "reported", f"{4 * alone / together:.2f} x sequential", True)
