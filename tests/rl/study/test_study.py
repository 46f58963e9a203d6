"""The HalfCheetah study: its numbers follow from the returns that it stores, and nothing was chosen on what it reports."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch

from cepkit.rl import PRESETS, QGPOConfig, load_dataset, load_run, mean_interval

DATA = Path(__file__).parents[3] / "data"
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


@pytest.mark.parametrize("report", ["report", "confirmation"])
def test_means_and_intervals_follow_from_the_returns(report):
    for found in FINAL[report]["policies"].values():
        returns = torch.tensor(found["returns"], dtype=torch.float64)
        assert returns.shape == (len(FINAL["training_seeds"]), FINAL[report]["episodes"])
        assert found["mean"] == pytest.approx(float(returns.mean()), abs=0.06)
        assert found["seed_means"] == pytest.approx(returns.mean(1).tolist(), abs=0.06)
        assert found["interval"] == pytest.approx(mean_interval(returns), abs=0.06)


def test_the_scale_is_the_best_of_those_tried_on_other_episodes():
    choice = FINAL["choice"]
    assert len({choice["seed"], FINAL["report"]["seed"], FINAL["confirmation"]["seed"]}) == 3
    assert FINAL["scale"] == float(max(choice["returns"], key=lambda scale: mean(choice["returns"][scale])))
    assert {float(scale) for scale in choice["returns"]} == {scale for scale in FINAL["config"]["scales"] if scale}


def test_no_try_looked_at_the_reported_episodes():
    reported = {FINAL[report]["seed"] for report in ("report", "confirmation")}
    looked_at = {one["evaluation_seed"] for one in STUDY["tries"]} | {STUDY["exploration"]["evaluation_seed"]}
    looked_at |= {STUDY["earlier"][part]["seed"] for part in ("choice", "report")}
    assert STUDY["tries"] and not reported & looked_at
    for one in STUDY["tries"]:
        assert {"tag", "settings", "training_seeds", "training_cpu_seconds", "returns"} <= one.keys()
        tried = dict(one["settings"])
        assert tried.pop("backup") == "expectile" and tried.pop("expectile") == 0.7, "which are no settings any more"
        QGPOConfig.from_dict(tried)
        for rows in one["returns"].values():
            assert len(rows) == len(one["training_seeds"]) and all(len(row) == one["episodes"] for row in rows)


@pytest.mark.parametrize("report", ["report", "confirmation"])
def test_guidance_is_said_to_pay_only_where_intervals_are_apart(report):
    policies = FINAL[report]["policies"]
    guided = policies[f"s = {FINAL['scale']:g}"]
    apart = all(guided["interval"][0] > policies[rival]["interval"][1] for rival in ("s = 0", "Gaussian clone"))
    assert FINAL[report]["apart"] is apart


def test_what_ran_is_the_preset():
    assert QGPOConfig.from_dict(FINAL["config"]) == PRESETS["halfcheetah-small"]


def test_training_fits_an_hour_of_two_cores():
    assert 0 < FINAL["training_cpu_seconds"] < 2 * 3600


def test_the_scripts_summary(script):
    rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    found = script.summary(rows)
    assert found["mean"] == 3.5 and found["seed_means"] == [1.5, 3.5, 5.5]
    assert found["interval"] == pytest.approx([3.5 - 4.302653 * 2 / math.sqrt(3), 3.5 + 4.302653 * 2 / math.sqrt(3)], abs=0.06)


def test_the_run_that_ships_is_of_the_preset_and_guides(generator):
    run, states = load_run(DATA / "halfcheetah-run"), load_dataset("halfcheetah-small-replay").observations[::11000]
    assert run.config == PRESETS["halfcheetah-small"]
    assert sum(path.stat().st_size for path in (DATA / "halfcheetah-run").iterdir()) < 10_000_000
    many = states[:, None].expand(-1, 200, -1)
    plain, guided = (run.q(many, run.draw(many, scale=s, generator=generator)).mean(1) for s in (0.0, FINAL["scale"]))
    assert bool((guided > plain).all())
