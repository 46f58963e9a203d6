"""The runs that ship: what is kept of a run, that returns are stored once and read back, and how the scale is chosen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from qgpo_problems import TINY, finish, walk

from cepkit.rl import PRESETS, load_run, maze_runs, start_run
from cepkit.rl.evaluate import Evaluation

SHIPPED = Path(__file__).parents[2] / "data" / "maze-runs"


@pytest.fixture
def folder(tmp_path):
    """Two tiny runs, kept."""
    for seed in (0, 1):
        run = start_run(tmp_path / "build" / f"seed-{seed}", replace(PRESETS["maze"], seed=seed, **TINY), walk(state_dim=4))
        maze_runs.keep_run(finish(run).folder, tmp_path / "kept")
    return tmp_path / "kept"


@pytest.fixture
def asked(monkeypatch):
    """What is evaluated, in place of driving: seed 2000 earns as many as its number of calls, seed 1000 the scale."""
    calls = []

    def stand_in(policy, name, *, seed, episodes):
        calls.append((policy, seed))
        scale = next((value for value in policy.args if isinstance(value, float)), 0.0)
        returns = torch.full((episodes,), scale if seed == 1000 else float(len(calls)), dtype=torch.float64)
        return Evaluation(None, seed, returns, returns.long(), None)

    monkeypatch.setattr(maze_runs, "evaluate", stand_in)
    return calls


def test_what_is_kept_loads_and_holds_no_support_and_no_log(folder):
    assert {path.name for path in (folder / "seed-0").iterdir()} == set(maze_runs._KEPT)
    assert load_run(folder / "seed-1").config.seed == 1


def test_every_policy_of_every_run_is_evaluated_once_and_read_back(folder, asked):
    maze_runs.evaluate_runs(folder, scales=(0.0, 2.0))
    assert len(asked) == 2 * (4 + 2)
    found = maze_runs.read_returns(folder)
    assert list(found) == ["cloning", "best of 4", "s = 0", "s = 2"]
    assert found["cloning"].shape == (2, 50) and found["cloning"][:, 0].tolist() == [1.0, 7.0]
    maze_runs.evaluate_runs(folder, scales=(0.0, 2.0))
    assert len(asked) == 12
    maze_runs.evaluate_runs(folder, scales=(0.0, 2.0, 5.0))
    assert len(asked) == 16 and maze_runs.read_returns(folder)["s = 5"].shape == (2, 50)


def test_the_scale_is_chosen_on_other_starts_than_reported(folder, asked):
    maze_runs.evaluate_runs(folder, scales=(0.0, 3.0, 1.0))
    assert maze_runs.best_scale(folder) == "s = 3"
    assert set(maze_runs.read_returns(folder, "choosing")) == {"s = 0", "s = 1", "s = 3"}
    assert maze_runs.CHOOSING["seed"] != maze_runs.REPORTING["seed"]


def test_policies_answer_and_replay_their_noise(folder):
    states = walk(state_dim=4).observations[:3]
    answers = [
        {name: policy(states) for name, policy in maze_runs.policies(load_run(folder / "seed-0"), (0.0, 2.0)).items()}
        for _ in range(2)
    ]
    for name, actions in answers[0].items():
        assert actions.shape == (3, 2) and torch.equal(actions, answers[1][name])
    assert not torch.equal(answers[0]["s = 0"], answers[0]["s = 2"])


@pytest.mark.parametrize("content", [None, "{", "[]", '{"choosing": {}}', '{"reporting": {"cloning": {"seed-0": ["x"]}}}'])
def test_returns_that_do_not_read_are_named(tmp_path, content):
    if content is not None:
        (tmp_path / "returns.json").write_text(content)
    with pytest.raises(ValueError, match=r"returns\.json: expected the returns"):
        maze_runs.read_returns(tmp_path)


def test_the_runs_that_ship_are_small_and_of_the_preset():
    runs = sorted(SHIPPED.glob("seed-*"))
    assert runs and sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 2_000_000
    for run in runs:
        assert load_run(run).config == PRESETS["maze"].with_seed(int(run.name.removeprefix("seed-")))
    for name, returns in maze_runs.read_returns(SHIPPED).items():
        assert returns.shape == (len(runs), 50), name
    assert json.loads((SHIPPED / "returns.json").read_text())["choosing starts"] == maze_runs.CHOOSING
