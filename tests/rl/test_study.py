"""The HalfCheetah study: its numbers follow from the returns that it stores, and nothing was chosen on what it reports."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch

from cepkit.rl import PRESETS, QGPOConfig
from cepkit.rl.evaluate import bootstrap_interval

DATA = Path(__file__).parents[2] / "data"
STUDY = json.loads((DATA / "halfcheetah-study.json").read_text(encoding="utf-8"))
FINAL = STUDY["final"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("study_halfcheetah", DATA / "study_halfcheetah.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mean(rows):
    return sum(map(sum, rows)) / sum(map(len, rows))


@pytest.mark.parametrize("name", FINAL["report"]["policies"])
def test_means_and_intervals_follow_from_the_returns(name):
    found = FINAL["report"]["policies"][name]
    returns = torch.tensor(found["returns"], dtype=torch.float64)
    assert returns.shape == (len(FINAL["training_seeds"]), FINAL["report"]["episodes"])
    assert found["mean"] == pytest.approx(float(returns.mean()), abs=0.06)
    assert found["seed_means"] == pytest.approx(returns.mean(1).tolist(), abs=0.06)
    assert found["interval_episodes"] == pytest.approx(bootstrap_interval(returns.flatten()), abs=0.06)
    half = 4.302653 * float(returns.mean(1).std()) / math.sqrt(3)  # Student's t, 97.5 %, two degrees of freedom
    assert found["interval_seeds"] == pytest.approx([found["mean"] - half, found["mean"] + half], abs=0.2)


def test_the_scale_is_the_best_of_those_tried_on_other_episodes():
    choice = FINAL["choice"]
    assert choice["seed"] != FINAL["report"]["seed"]
    assert FINAL["scale"] == float(max(choice["returns"], key=lambda scale: mean(choice["returns"][scale])))
    assert {float(scale) for scale in choice["returns"]} == {scale for scale in FINAL["config"]["scales"] if scale}


def test_no_try_looked_at_the_reported_episodes():
    assert STUDY["tries"] and all(one["evaluation_seed"] != FINAL["report"]["seed"] for one in STUDY["tries"])
    for one in STUDY["tries"]:
        assert {"tag", "settings", "training_seeds", "training_cpu_seconds", "returns"} <= one.keys()
        QGPOConfig.from_dict(one["settings"])
        for rows in one["returns"].values():
            assert len(rows) == len(one["training_seeds"]) and all(len(row) == one["episodes"] for row in rows)


def test_the_bar_is_met_only_where_intervals_are_apart():
    policies = FINAL["report"]["policies"]
    guided = policies[f"s = {FINAL['scale']:g}"]
    others = [policies[name] for name in policies if name in ("s = 0", "sampling clone")]
    for kind in ("interval_episodes", "interval_seeds"):
        apart = all(guided[kind][0] > other[kind][1] for other in others)
        assert FINAL["apart"][kind] is apart


def test_what_ran_is_the_preset():
    assert QGPOConfig.from_dict(FINAL["config"]) == PRESETS["halfcheetah-small"]


def test_training_fits_an_hour_of_two_cores():
    assert 0 < FINAL["training_cpu_seconds"] < 2 * 3600


def test_the_scripts_summary(script):
    rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    found = script.summary(rows)
    assert found["mean"] == 3.5 and found["seed_means"] == [1.5, 3.5, 5.5]
    assert found["interval_seeds"] == pytest.approx(
        [3.5 - 4.302653 * 2 / math.sqrt(3), 3.5 + 4.302653 * 2 / math.sqrt(3)], abs=0.06
    )
