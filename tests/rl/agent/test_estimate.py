"""The expected time of a run: a step that takes a known time, times the steps of its stage."""

from __future__ import annotations

import time

import pytest
from qgpo_problems import tiny

from cepkit.rl.agent.behaviour import BehaviourTraining
from cepkit.rl.agent.critic import CriticTraining
from cepkit.rl.agent.estimate import estimate


def slowed(monkeypatch, kind, seconds, when):
    """Let steps of a stage take at least so long where `when(stage)` holds."""
    before = kind.__iter__

    def steps(self):
        for step in before(self):
            time.sleep(seconds if when(self) else 0)
            yield step

    monkeypatch.setattr(kind, "__iter__", steps)


@pytest.mark.parametrize("seeds", [1, 2])
def test_every_stage_and_their_sum(seeds):
    found = estimate(tiny(), 100, (3, 2), seeds=seeds)
    assert list(found.seconds) == ["behaviour", "support", "critic", "cloning"] and min(found.seconds.values()) > 0
    lines = str(found).splitlines()
    assert [line.split()[0] for line in lines] == [*found.seconds, "in"]
    assert "cloning" not in estimate(tiny(cloning_steps=0), 100, (3, 2)).seconds


def test_time_is_that_of_a_step_times_the_steps(monkeypatch):
    slowed(monkeypatch, BehaviourTraining, 0.05, lambda stage: True)
    found = estimate(tiny(behaviour_steps=1000), 100, (3, 2), limit=0.2).seconds
    assert 50 <= found["behaviour"] < 500 and found["cloning"] < 10


def test_support_is_sampled_for_every_state():
    few, many = (estimate(tiny(support_chunk=50), n, (3, 2)).seconds["support"] for n in (100, 10_000))
    assert many > 20 * few


@pytest.mark.parametrize("together", [False, True])
def test_each_phase_of_the_critic_counts_for_itself(monkeypatch, together):
    slowed(monkeypatch, CriticTraining, 0.1, lambda stage: stage.index <= stage.first_backup)
    config = tiny(warm_start_steps=100, critic_steps=5000, energy_steps=5000, together=together)
    assert 10 <= estimate(config, 100, (3, 2), limit=0.2).seconds["critic"] < 300, "and not 0.1 s for every step"
