"""Training that is watched: a bar and a picture, redrawn in place."""

from __future__ import annotations

import pytest
import torch

from cepkit.course import live, watch
from cepkit.diffusion.schedules import VPLinear
from cepkit.learning import Training, TrainingConfig
from cepkit.truth.metrics import ErrorProbe
from cepkit.truth.toys import make_toy


def test_watching_a_training_shows_a_bar_and_a_picture_that_are_redrawn(monkeypatch):
    shown = []

    class Handle:
        def __init__(self, first):
            self.seen = [first]

        def update(self, what):
            self.seen.append(what)

    def display(what, display_id):
        shown.append(Handle(what))
        return shown[-1]

    monkeypatch.setattr(live, "display", display)
    toy = make_toy("8gaussians")
    config = TrainingConfig(steps=30, groups=2, contrasts=8, width=8, parts=("energy",))
    training = Training(*toy.sample(500, generator=torch.Generator().manual_seed(0)), config)
    history = watch(training, ErrorProbe(toy.truth, 3.0, VPLinear(), n=50), every=10, floors={"mean energy": 0.6})
    assert history.steps == [10, 20, 30] and training.index == 30
    bar, picture = shown
    assert 'value="0"' in bar.seen[0].data and 'value="30" max="30"' in bar.seen[-1].data
    assert "mean guidance error" in bar.seen[-1].data
    assert "the learned guidance is worse than" in bar.seen[-1].data and "worse" not in bar.seen[-2].data
    left = picture.seen[-1].axes[0]
    assert [line.get_label() for line in left.lines] == ["CEP", "mean energy"]
    assert left.lines[0].get_ydata().tolist() == pytest.approx(history.means)
