"""Time and memory foreseen, against what is known of a stage: steps, sizes, and a step that takes a known time."""

from __future__ import annotations

import time

import pytest
from qgpo_problems import tiny, walk

from cepkit.commands.estimate import duration, estimate
from cepkit.rl.agent.behaviour import BehaviourTraining
from cepkit.rl.agent.critic import CriticTraining
from cepkit.rl.agent.prepared import prepare
from cepkit.rl.agent.qgpo_config import PRESETS


def critic_steps(config):
    """The length of the stage itself."""
    data = prepare(walk(), config)
    return CriticTraining(data, data.states[:, None, :2].expand(-1, 4, -1), config).steps


def by_name(found):
    return {stage.name: stage for stage in found.stages}


def test_every_stage_with_its_steps():
    config = tiny(warm_start_steps=5, critic_steps=7, energy_steps=3, cloning_steps=9, support_chunk=30)
    found = estimate(config, 100, (3, 2), budget=0.0)
    assert [(s.name, s.steps) for s in found.stages] == [("behaviour", 12), ("support", 4), ("critic", 15), ("cloning", 9)]
    assert all(s.seconds > 0 and s.memory > 0 for s in found.stages)
    assert found.seconds == pytest.approx(sum(s.seconds for s in found.stages)) and str(found).splitlines()[-1].startswith(
        "in all"
    )
    assert "cloning" not in by_name(estimate(tiny(cloning_steps=0), 100, (3, 2), budget=0.0))
    together = tiny(warm_start_steps=5, critic_steps=7, energy_steps=20, together=True)
    assert by_name(estimate(together, 100, (3, 2), budget=0.0))["critic"].steps == critic_steps(together) == 25


def test_time_is_that_of_a_step_times_the_steps(monkeypatch):
    before = BehaviourTraining._losses

    def slow(self):
        time.sleep(0.05)
        return before(self)

    monkeypatch.setattr(BehaviourTraining, "_losses", slow)
    found = by_name(estimate(tiny(behaviour_steps=1000), 100, (3, 2), budget=0.2))
    assert 50 <= found["behaviour"].seconds < 500 and found["cloning"].seconds < 5


def test_each_phase_of_the_critic_counts_for_itself(monkeypatch):
    before = CriticTraining._losses

    def slow(self):
        if self.index < self.first_backup:
            time.sleep(0.1)  # only the warm start is slow
        return before(self)

    monkeypatch.setattr(CriticTraining, "_losses", slow)
    config = tiny(warm_start_steps=300, critic_steps=3, energy_steps=3)
    assert 30 <= by_name(estimate(config, 100, (3, 2), budget=0.2))["critic"].seconds < 120
    assert by_name(estimate(tiny(warm_start_steps=0), 100, (3, 2), budget=0.2))["critic"].seconds < 10


def test_the_final_q_is_found_once_and_not_at_every_step(monkeypatch):
    before = CriticTraining.final_q

    def slow(self):
        time.sleep(1.2)  # longer than a step may take before it counts as slow
        return before(self)

    monkeypatch.setattr(CriticTraining, "final_q", slow)
    config = tiny(warm_start_steps=0, critic_steps=0, energy_steps=1000)
    assert 1.2 <= by_name(estimate(config, 100, (3, 2), budget=0.2))["critic"].seconds < 120


def test_memory_counts_data_support_and_seeds():
    config, rows = tiny(support_actions=16, support_chunk=1000), 1_000_000
    found = by_name(estimate(config, rows, (17, 6), budget=0.0))
    support, states = 4 * 16 * 6 * rows, 4 * 17 * rows
    assert found["behaviour"].memory > 3 * states, "observations, next observations and the table"
    assert found["support"].memory - found["behaviour"].memory == pytest.approx(support, rel=0.1)
    assert found["support"].steps == 1000
    three = by_name(estimate(config, 20_000, (17, 6), seeds=3, budget=0.0))
    one = by_name(estimate(config, 20_000, (17, 6), budget=0.0))
    assert three["support"].memory - one["support"].memory > 1.8 * support * 20_000 / rows


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (119, "119 s"), (600, "10 min"), (12_000, "3 h 20 min"), (190_000, "2 d 4 h")]
)
def test_durations_as_people_read_them(seconds, text):
    assert duration(seconds) == text


def test_numbers_out_of_range_are_refused():
    for arguments, name in (((1, (3, 2)), "n_states"), ((100, (0, 2)), "dims")):
        with pytest.raises(ValueError, match=f"{name}: expected an integer"):
            estimate(PRESETS["maze"], *arguments)
    with pytest.raises(ValueError, match="seeds: expected an integer"):
        estimate(PRESETS["maze"], 100, (3, 2), seeds=0)
