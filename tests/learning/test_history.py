"""The guidance error along a training: measured when it should be, on the networks of that moment, outside the clock."""

import time

import pytest
import torch
from checks import seeded, toy_named

from cepkit.diffusion.schedules import VPLinear
from cepkit.learning import History, Training, TrainingConfig
from cepkit.learning.run import state_of
from cepkit.truth.metrics import ErrorProbe


class SlowProbe(ErrorProbe):
    def __call__(self, field):
        time.sleep(0.2)
        return super().__call__(field)


def probe(kind=ErrorProbe):
    return kind(toy_named("moons").truth, 3.0, VPLinear(), times=(0.2, 0.6), n=300, generator=seeded(1))


def training(steps=25):
    data = toy_named("moons").sample(2000, generator=seeded())
    return Training(*data, TrainingConfig(steps=steps, groups=4, contrasts=16, width=16, parts=("energy",)))


def test_it_measures_every_so_many_steps_and_at_the_end():
    history = History(probe(), every=10).run(training())
    assert history.steps == [10, 20, 25]
    assert all(errors.shape == (2,) for errors in history.errors)
    assert history.means == pytest.approx([float(errors.mean()) for errors in history.errors])
    assert history.seconds == sorted(history.seconds) and history.seconds[0] > 0


def test_it_measures_the_guidance_of_that_moment():
    measured, history = training(), History(probe(), every=10)
    for step in history.follow(measured):
        if step.index in (10, 20, 25):
            assert torch.equal(history.errors[-1], probe()(measured.guidance))
    assert not torch.equal(history.errors[0], history.errors[-1])


def test_measuring_changes_nothing_and_is_not_counted():
    plain, watched = training(), training()
    for _ in plain:
        pass
    history, start = History(probe(SlowProbe), every=5), time.perf_counter()
    for step in history.follow(watched):
        if step.index <= 5:
            time.sleep(0.2)  # as a reader's drawing
    assert time.perf_counter() - start - history.seconds[-1] > 1.9  # ten naps of 0.2 s
    assert all(torch.equal(a, b) for a, b in zip(state_of(plain).values(), state_of(watched).values(), strict=True))


def test_a_history_can_follow_a_training_in_two_sittings():
    resting, history = training(), History(probe(), every=10)
    for step in history.follow(resting):
        if step.index == 12:
            break
    history.run(resting)
    assert history.steps == [10, 20, 25]


def test_an_untrained_history_is_empty_and_every_is_checked():
    assert History(probe()).means == []
    with pytest.raises(ValueError, match="every: expected an integer of at least 1"):
        History(probe(), every=0)
