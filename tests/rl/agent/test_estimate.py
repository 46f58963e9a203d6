"""The expected cost of a run: steps as the stages have them, and a step that takes a known time."""

from __future__ import annotations

import time

import pytest
from qgpo_problems import tiny

from cepkit.rl.agent.behaviour import BehaviourTraining
from cepkit.rl.agent.critic import CriticTraining
from cepkit.rl.agent.estimate import estimate


def by_name(config, n_states=100, sizes=(3, 2), **settings):
    return {stage.name: stage for stage in estimate(config, n_states, sizes, **settings).stages}


def slowed(monkeypatch, kind, seconds, when):
    """Let steps of a stage take at least so long where `when(stage)` holds."""
    before = kind.__iter__

    def steps(self):
        for step in before(self):
            time.sleep(seconds if when(self) else 0)
            yield step

    monkeypatch.setattr(kind, "__iter__", steps)


def test_every_stage_with_its_steps():
    config = tiny(warm_start_steps=5, critic_steps=7, energy_steps=3, cloning_steps=9, support_chunk=30)
    found = estimate(config, 100, (3, 2))
    assert [(s.name, s.steps) for s in found.stages] == [("behaviour", 12), ("support", 4), ("critic", 15), ("cloning", 9)]
    assert all(s.seconds > 0 and s.memory > 0 for s in found.stages)
    assert found.seconds == pytest.approx(sum(s.seconds for s in found.stages))
    assert str(found).splitlines()[-1].startswith("in all")
    assert "cloning" not in by_name(tiny(cloning_steps=0))
    together = tiny(warm_start_steps=5, critic_steps=7, energy_steps=20, together=True)
    assert by_name(together)["critic"].steps == 25


def test_time_is_that_of_a_step_times_the_steps(monkeypatch):
    slowed(monkeypatch, BehaviourTraining, 0.05, lambda stage: True)
    found = by_name(tiny(behaviour_steps=1000), limit=0.2)
    assert 50 <= found["behaviour"].seconds < 500 and found["cloning"].seconds < 10


def test_each_phase_of_the_critic_counts_for_itself(monkeypatch):
    slowed(monkeypatch, CriticTraining, 0.1, lambda stage: stage.index <= stage.first_backup)
    config = tiny(warm_start_steps=100, critic_steps=5000, energy_steps=5000)
    assert 10 <= by_name(config, limit=0.2)["critic"].seconds < 500, "and not 0.1 s for each of 10,100 steps"


def test_memory_counts_data_support_and_seeds():
    config, rows = tiny(support_actions=16, support_chunk=1000), 20_000
    one, three = (by_name(config, rows, (17, 6), seeds=seeds, limit=0.0) for seeds in (1, 3))
    support, states = 4 * 16 * 6 * rows, 4 * 17 * rows
    assert support + states < one["support"].memory < 2 * (support + states)
    assert three["support"].memory - one["support"].memory == pytest.approx(2 * support, rel=0.1)
