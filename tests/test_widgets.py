"""The canvas sends what it should and the explorer's pictures follow its controls, without a browser."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cepkit import plots
from cepkit.guidance import toy_estimators
from cepkit.metrics import ErrorProbe
from cepkit.schedules import VPLinear
from cepkit.toys import from_points, make_toy
from cepkit.training import Training, TrainingConfig
from cepkit.widgets import FieldCanvas, GuidanceExplorer, Panel, live, watch


@pytest.fixture(scope="module")
def explorer():
    return GuidanceExplorer("8gaussians", particles=100, steps=10)


def panel(explorer, index):
    return explorer.canvas.frame["panels"][index]


def particles(explorer, index):
    return np.frombuffer(panel(explorer, index)["points"], dtype="<f4").reshape(-1, 2)


def arrows(explorer, index):
    return torch.from_numpy(np.frombuffer(panel(explorer, index)["arrows"], dtype="<f4").reshape(-1, 4).copy())


def test_a_panel_travels_as_binary_with_the_top_row_first():
    heat = torch.tensor([[0.0, 0.0], [1.0, float("nan")]])
    payload = Panel("a", heat=heat, points=torch.tensor([[1.0, 2.0]]), cmap="cividis").payload()
    rgba = np.frombuffer(payload["heat"], dtype=np.uint8).reshape(2, 2, 4)
    assert rgba[0, 0].tolist()[:2] > rgba[1, 0].tolist()[:2] and rgba[0, 1, 3] == 0 and rgba[1, 1, 3] == 255
    assert np.frombuffer(payload["points"], dtype="<f4").tolist() == [1.0, 2.0]


def test_showing_panels_is_one_message():
    canvas, messages = FieldCanvas(), []
    canvas.observe(messages.append, "frame")
    canvas.show([Panel("a"), Panel("b")])
    assert len(messages) == 1 and [p["title"] for p in canvas.frame["panels"]] == ["a", "b"]


def test_the_arrows_are_the_guidance_of_each_panels_estimator(explorer):
    explorer.estimator.value, explorer.beta.value, explorer.scale.value = "mean energy", 3.0, 1.0
    t = explorer._times[5]
    explorer.step.value = 5
    estimators = toy_estimators(explorer.toy, 3.0, VPLinear())
    drawn = [arrows(explorer, i) for i in (0, 1)]
    fields = [estimators[name](drawn[0][:, :2], t) for name in ("exact", "mean energy")]
    longest = max(float(field.norm(dim=-1).max()) for field in fields)
    cell = 2 * explorer.toy.extent / 13
    for shown, field in zip(drawn, fields, strict=True):
        torch.testing.assert_close(shown[:, 2:], field * cell / longest, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("control", "value"), [("scale", 2.0), ("beta", 1.0), ("estimator", "DPS"), ("step", 3)])
def test_every_control_changes_the_picture(explorer, control, value):
    before = dict(panel(explorer, 1))
    getattr(explorer, control).value = value
    after = panel(explorer, 1)
    assert any(before[key] != after[key] for key in ("heat", "points", "arrows", "title"))


def test_time_replays_one_path_from_the_same_noise_in_both_panels(explorer):
    explorer.step.value = 0
    assert np.array_equal(particles(explorer, 0), particles(explorer, 1))
    first = particles(explorer, 0)
    explorer.step.value = 10
    explorer.step.value = 0
    assert np.array_equal(first, particles(explorer, 0))


def test_scale_zero_samples_the_data_and_scale_one_the_target(explorer):
    explorer.beta.value, explorer.step.value = 10.0, 10
    energies = []
    for scale in (0.0, 1.0):
        explorer.scale.value = scale
        energies.append(float(explorer.toy.energy(torch.from_numpy(particles(explorer, 0).copy())).mean()))
    assert energies[0] == pytest.approx(0.5, abs=0.12)
    target = float(explorer.toy.truth.tilt(10.0).mode_masses() @ (1 - torch.arange(8, dtype=torch.float64) / 7))
    assert energies[1] == pytest.approx(target, abs=0.06)


def test_the_caption_gives_the_error_of_the_field(explorer):
    explorer.estimator.value, explorer.beta.value = "no guidance", 3.0
    assert "0 %" in panel(explorer, 0)["note"] and "100 %" in panel(explorer, 1)["note"]
    explorer.beta.value = 0.0
    assert "nothing to guide" in panel(explorer, 0)["note"]


def test_own_points_are_one_of_the_toys():
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    explorer = GuidanceExplorer(from_points(x, x[:, 0], std=0.1, name="mine"), particles=50, steps=5)
    explorer.toy_choice.value = "moons"
    explorer.toy_choice.value = "mine"
    assert explorer.toy.name == "mine" and explorer.status.value == "" and panel(explorer, 0)["side"] > 0


def test_what_cannot_be_drawn_is_said_and_the_sliders_go_on(monkeypatch):
    explorer = GuidanceExplorer("moons", particles=20, steps=3)

    def refuse(*_):
        raise ValueError("beta: expected less than 2 < 3")

    with monkeypatch.context() as broken:
        broken.setattr("cepkit.widgets.explorer.toy_estimators", refuse)
        explorer.scale.value = 2.0
    assert "beta: expected less than 2 &lt; 3" in explorer.status.value
    explorer.scale.value = 3.0
    assert explorer.status.value == ""


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="^name: expected one of 8gaussians"):
        GuidanceExplorer("8gausians")
    with pytest.raises(ValueError, match="^toy: expected a two-dimensional toy"):
        GuidanceExplorer(from_points(torch.zeros(3, 3), torch.zeros(3)))


def test_the_heat_map_is_the_exact_target():
    explorer = GuidanceExplorer("moons", particles=20, steps=5)
    log_p = explorer.toy.truth.tilt(3.0).log_q(plots.picture_points(explorer.toy, 72), explorer._times[-1], VPLinear())
    expected = Panel("", heat=(log_p - log_p.max()).exp().sqrt()).payload()["heat"]
    assert panel(explorer, 0)["heat"] == expected


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
    left = picture.seen[-1].axes[0]
    assert [line.get_label() for line in left.lines] == ["CEP", "mean energy"]
    assert left.lines[0].get_ydata().tolist() == pytest.approx(history.means)
