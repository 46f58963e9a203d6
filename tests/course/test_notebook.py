"""Set-up and the self-checks of exercises."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import torch

from cepkit.course.notebook import check, setup


@pytest.mark.parametrize("blank", [None, ...])
def test_an_unanswered_exercise_is_neither_right_nor_wrong(blank):
    verdict = check(blank, 1.0)
    assert verdict.passed is None and "Your turn" in repr(verdict)


def test_the_truth_passes_and_a_wrong_number_says_how_far_off_it_is():
    assert check(0.5, torch.tensor(0.5)).passed
    verdict = check(0.6, 0.5)
    assert verdict.passed is False and "20 %" in verdict.message


@pytest.mark.parametrize("truth", [torch.tensor([1.0, -2.0]), torch.tensor(0.37), torch.tensor(-1e-6)])
def test_a_flipped_sign_is_recognised(truth):
    assert "sign" in check(-truth, truth).message


@pytest.mark.parametrize("rounded", [0.0, 1e-17])
def test_beside_a_truth_of_zero_the_error_is_absolute(rounded):
    """Nothing is a percentage of nothing."""
    assert check(1e-9, rounded).passed
    verdict = check(0.25, rounded)
    assert verdict.passed is False and "0.25" in verdict.message and "%" not in verdict.message
    assert "%" not in check(torch.tensor([0.0, 0.5]), torch.zeros(2)).message


@pytest.mark.parametrize(("answer", "word"), [("two", "str"), ([1.0, 2.0], "shape"), (float("nan"), "NaN")])
def test_an_answer_of_the_wrong_kind_is_explained(answer, word):
    verdict = check(answer, 1.0)
    assert verdict.passed is False and word in verdict.message


@pytest.mark.parametrize("tiny", [1e-6, 1e-3])
def test_small_truths_are_compared_relatively(tiny):
    assert check(tiny * 1.0005, tiny).passed
    assert not check(tiny * 1.01, tiny).passed


def test_a_truth_of_zeros_accepts_what_is_zero_to_the_tolerance():
    assert check(torch.zeros(2), torch.zeros(2)).passed
    assert not check(torch.tensor([0.0, 2e-3]), torch.zeros(2)).passed


def test_setup_is_reproducible_and_keeps_figures_readable_on_a_dark_page(monkeypatch):
    with plt.rc_context():
        first, second = (torch.randn(3, generator=setup(seed=7).generator) for _ in range(2))
        assert torch.equal(first, second)
        assert plt.rcParams["figure.facecolor"] == "white"
        monkeypatch.setenv("CEPKIT_QUICK", "1")
        assert setup().budget(100, 10) == 10
        monkeypatch.delenv("CEPKIT_QUICK")
        assert setup().budget(100, 10) == 100


def test_setup_asks_colab_to_show_widgets(monkeypatch):
    asked = []
    for name in ("google.colab", "google.colab.output"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(enable_custom_widget_manager=lambda: asked.append(True)))
    with plt.rc_context():
        setup()
    assert asked == [True]


def test_setup_refuses_a_seed_that_is_none():
    with pytest.raises(ValueError, match="^seed: expected an integer"):
        setup(seed=-1)
