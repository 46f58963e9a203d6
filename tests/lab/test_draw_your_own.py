"""Drawing one's own toy without a browser: the canvas, refused drawings, and the lab below it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ipywidgets import Button

from cepkit.lab import DrawingLab, DrawYourOwn
from cepkit.lab.draw_your_own import TOOLS
from cepkit.lab.guidance_lab import DEFAULT
from cepkit.learning import Training, TrainingConfig
from cepkit.truth.toys import make_toy


@pytest.fixture
def canvas():
    widget = DrawYourOwn()
    yield widget
    widget.close()


@pytest.fixture
def lab(monkeypatch):
    """A drawing lab whose guidance lab is a stand-in that remembers what it was given."""

    class Shown(Button):
        def __init__(self, toy, estimators, **settings):
            if max(toy.truth.components().energy) == 1.5:
                raise ValueError("energies: a stand-in's complaint")
            super().__init__()
            self.toy, self.estimators, self.settings, self.closed = toy, tuple(estimators), settings, False

        def close(self):
            self.closed = True
            super().close()

    monkeypatch.setattr("cepkit.lab.draw_your_own.GuidanceLab", Shown)
    widget = DrawingLab(train_steps=12)
    yield widget
    widget.close()


def square():
    return torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]), torch.tensor([0.0, 0.2, 0.4, 1.0])


# -- the canvas --------------------------------------------------------------------------------------------------------


def test_a_drawing_travels_as_little_endian_float32_and_is_read_back(canvas):
    x, energy = square()
    canvas.set_points(x.double(), energy.tolist())
    assert canvas.points == x.numpy().astype("<f4").tobytes() and canvas.energies == energy.numpy().astype("<f4").tobytes()
    assert canvas.x.dtype == canvas.energy.dtype == torch.float32
    assert torch.equal(canvas.x, x) and torch.equal(canvas.energy, energy)


def test_what_the_browser_sends_is_read_as_it_is(canvas):
    x, energy = square()
    canvas.set_state({"points": memoryview(x.numpy().tobytes()), "energies": memoryview(energy.numpy().tobytes())})
    assert torch.equal(canvas.x, x) and torch.equal(canvas.energy, energy)
    canvas.set_state({"tool": "erase", "brush_radius": 1.5, "brush_energy": 0.25, "brush_density": 3})
    assert (canvas.tool, canvas.brush_radius, canvas.brush_energy, canvas.brush_density) == ("erase", 1.5, 0.25, 3)


def test_an_observer_never_sees_points_without_their_energies(canvas):
    seen = []
    canvas.observe(lambda _: seen.append((len(canvas.x), len(canvas.energy))), ["points", "energies"])
    canvas.set_points(*square())
    canvas.set_points(torch.zeros(3, 2), torch.zeros(3))
    assert seen and all(points == energies for points, energies in seen)


def test_the_view_grows_to_hold_what_is_drawn(canvas):
    canvas.set_points([[6.0, -8.0], [0.0, 0.0]], [0, 1])
    assert canvas.extent == pytest.approx(8.4)
    canvas.set_points([[0.0, 0.0]], [0])
    assert canvas.extent == pytest.approx(8.4)


@pytest.mark.parametrize(
    ("x", "energy", "complaint"),
    [
        (torch.zeros(3, 3), torch.zeros(3), r"^x: expected shape \(n, 2\), got \(3, 3\)"),
        (torch.zeros(4), torch.zeros(4), r"^x: expected shape \(n, 2\), got \(4,\)"),
        (torch.zeros(3, 2), torch.zeros(4), r"^energy: expected shape \(3,\), one per point, got \(4,\)"),
        (torch.zeros(3, 2), 0.5, r"^energy: expected shape \(3,\), one per point, got \(\)"),
        ([[0.0, float("nan")]], [0.0], "^x: expected finite values, got 1 NaN"),
        ([[0.0, 1e300]], [0.0], "^x: expected finite values"),
        ([[0.0, 0.0]], [float("inf")], "^energy: expected finite values"),
        ("points", [0.0], "^x: expected real numbers"),
        ([[0.0, 0.0], [0.0]], [0.0, 0.0], "^x: expected a rectangular array"),
        (np.zeros((4001, 2)), np.zeros(4001), "^x: expected at most 4000 points, got 4001"),
    ],
)
def test_what_is_no_drawing_is_named_and_changes_nothing(canvas, x, energy, complaint):
    canvas.set_points(*square())
    before = canvas.points, canvas.energies, canvas.extent
    with pytest.raises(ValueError, match=complaint):
        canvas.set_points(x, energy)
    assert (canvas.points, canvas.energies, canvas.extent) == before


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("points", b"12345"),
        ("points", np.zeros(3, "<f4").tobytes()),
        ("points", np.array([0, np.nan], "<f4").tobytes()),
        ("points", np.zeros((4001, 2), "<f4").tobytes()),
        ("energies", b"123"),
        ("energies", np.array([np.inf], "<f4").tobytes()),
        ("brush_radius", 9.0),
        ("tool", "axe"),
    ],
)
def test_bytes_that_are_no_drawing_leave_the_old_one(canvas, name, packed):
    canvas.set_points(*square())
    before = getattr(canvas, name)
    canvas.set_state({name: memoryview(packed) if isinstance(packed, bytes) else packed})
    assert getattr(canvas, name) == before and len(canvas.x) == len(canvas.energy) == 4


# -- toys to start from ------------------------------------------------------------------------------------------------


def test_a_button_in_the_browser_starts_from_a_toy_and_nonsense_does_not(canvas):
    canvas._handle_custom_msg({"start": "moons"}, [])
    x, energy = make_toy("moons").sample(600, generator=torch.Generator().manual_seed(0))
    assert torch.equal(canvas.x, x) and torch.equal(canvas.energy, energy)
    for nonsense in ({"start": "cat"}, {}, "start", {"start": ["rings"]}):
        canvas._handle_custom_msg(nonsense, [])
    assert torch.equal(canvas.x, x)
    canvas._handle_custom_msg({"start": "moons"}, [])
    assert not torch.equal(canvas.x, x)  # fresh samples at each click
    with pytest.raises(ValueError, match="^name: expected one of 8gaussians"):
        canvas.start("ring")


# -- a drawing as a toy ------------------------------------------------------------------------------------------------


def test_a_drawing_is_a_toy_whose_truth_is_the_blurred_points(canvas, schedule):
    x, energy = square()
    canvas.set_points(x, energy)
    toy = canvas.toy(std=0.1)
    assert toy.name == "drawing" and toy.dim == 2
    t = torch.tensor(0.1)
    variance = schedule.alpha(t) ** 2 * 0.1**2 + schedule.sigma_squared(t)
    apart = ((x[0] - schedule.alpha(t) * x) ** 2).sum(-1)
    expected = (torch.exp(-apart / (2 * variance)).mean() / (2 * math.pi * variance)).log()
    assert float(toy.truth.log_q(x[:1], 0.1, schedule)) == pytest.approx(float(expected), abs=1e-4)
    torch.testing.assert_close(toy.energy(x), energy, atol=1e-4, rtol=0)


def test_too_few_points_are_no_toy(canvas):
    with pytest.raises(ValueError, match="^points: expected at least 2, got 0"):
        canvas.toy()
    canvas.set_points([[0.0, 0.0]], [1.0])
    with pytest.raises(ValueError, match="^points: expected at least 2, got 1"):
        canvas.toy()
    canvas.set_state({"points": memoryview(np.zeros(6, "<f4").tobytes())})
    with pytest.raises(ValueError, match="^energy: expected"):  # three points, one energy
        canvas.toy()


def test_a_network_learns_a_drawing_like_any_toy(canvas):
    canvas.start("moons")
    config = TrainingConfig(beta=2.0, steps=3, parts=("energy",))
    training = Training(*canvas.toy().sample(500, generator=torch.Generator().manual_seed(0)), config)
    assert len(list(training)) == 3 and training.guidance(torch.zeros(5, 2), 0.3).shape == (5, 2)


# -- the lab -----------------------------------------------------------------------------------------------------------


def test_guide_it_shows_the_drawing_and_replaces_what_was_shown(lab):
    lab.drawing.set_points(*square())
    lab.beta.value, lab.std.value = 2.0, 0.3
    lab.guide.click()
    first = lab.lab
    assert (
        first.settings["beta"] == 2.0
        and first.estimators == DEFAULT
        and first.toy.name == "drawing"
        and lab.drawing.message == ""
    )
    assert first in lab.children[2].children
    lab.guide.click()
    assert first.closed and not lab.lab.closed and lab.children[2].children == (lab.lab,)


def test_learn_it_shows_learned_guidances_beside_the_exact(lab):
    lab.drawing.start("moons")
    lab.learn.click()
    assert lab.lab.estimators == ("exact", "CEP", "MSE", "exp-MSE")
    assert lab.lab.settings == {"beta": 3.0, "train_steps": 12}
    assert not lab.learn.disabled and not lab.guide.disabled


@pytest.mark.parametrize("button", ["guide", "learn"])
@pytest.mark.parametrize(
    ("x", "energy", "complaint"),
    [
        (torch.zeros(0, 2), torch.zeros(0), "points: expected at least 2, got 0"),
        (torch.zeros(1, 2), torch.zeros(1), "points: expected at least 2, got 1"),
        (torch.eye(2), torch.full((2,), 0.5), "energies: expected some difference, got all equal"),
        (1000 * torch.eye(2), torch.tensor([0.0, 1.0]), "x: expected points of about unit scale"),
    ],
)
def test_the_reason_why_a_drawing_cannot_be_guided_is_shown_below_it(lab, button, x, energy, complaint):
    lab.drawing.set_points(x, energy)
    getattr(lab, button).click()
    assert lab.drawing.message.startswith(complaint) and lab.lab is None
    assert not lab.guide.disabled and not lab.learn.disabled
    lab.drawing.set_points(*square())
    assert lab.drawing.message == ""


def test_a_lab_that_cannot_be_made_leaves_the_one_that_was_shown(lab):
    lab.drawing.set_points(*square())
    lab.guide.click()
    shown = lab.lab
    lab.drawing.set_points(square()[0], 1.5 * square()[1])
    lab.learn.click()
    assert "a stand-in's complaint" in lab.drawing.message and lab.lab is shown and not shown.closed


def test_the_drawing_reaches_the_real_lab():
    lab = DrawingLab()
    lab.drawing.set_points(*square())
    lab.guide.click()
    assert lab.drawing.message == "" and type(lab.lab).__name__ == "GuidanceLab"
    assert lab.lab.toy.name == "drawing" and lab.lab.beta == 3.0
    lab.close()


def test_closing_lets_go_of_everything(lab):
    canvas, called = lab.drawing, []
    canvas.set_points(*square())
    lab.guide.click()
    shown = lab.lab
    canvas.observe(called.append, "points")
    lab.close()
    assert shown.closed and all(widget.comm is None for widget in (lab, canvas, lab.std, lab.beta, lab.guide))
    canvas._handle_custom_msg({"start": "rings"}, [])
    canvas.set_points([[0.0, 0.0]], [0.0])
    assert called == [] and len(canvas.x) == 1
    lab.guide.click()
    assert lab.lab is shown


def test_the_script_knows_the_same_tools_and_traits():
    for name in (*TOOLS, "points", "energies", "extent", "setup", "message", "brush_radius", "brush_density", "brush_energy"):
        assert name in DrawYourOwn._esm
    assert all(DrawYourOwn.class_traits()[name].metadata["sync"] for name in ("points", "energies", "tool", "setup"))
