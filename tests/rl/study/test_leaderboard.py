"""The board shows what was evaluated below a folder, in the right row, and says so where nothing was."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from cepkit.rl.data.scores import normalized_score
from cepkit.rl.study.leaderboard import found_groups, score_board
from cepkit.rl.study.paper import PAPER_SCORES
from cepkit.rl.study.results import Result

HOPPER = "hopper-medium-v2"


def keep(folder, policy, returns, *, run_seed=0, data=HOPPER, seed=0):
    """A run folder with one evaluation, as `evaluate_run` leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    score = normalized_score(data, sum(returns) / len(returns))
    versions = {"gymnasium": "1.4", "mujoco": "3.3.7"}
    result = Result(
        data, run_seed, policy, data, "d4rl-v2", "Hopper-v4", versions, [], seed, len(returns), "last", "0", returns,
        [1000] * len(returns), None, score,
    )  # fmt: skip
    (folder / f"eval-d4rl-v2-seed{seed}-episodes{len(returns)}-{policy}.json").write_text(json.dumps(asdict(result)))


def row(board, name):
    return [cell.strip() for line in board.splitlines() if line.startswith(f"| {name} ") for cell in line.strip("|").split("|")]


def test_nothing_run_is_said_plainly(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        board = score_board(folder)
        assert "have not been run here" in board and found_groups(folder) == []
        assert row(board, HOPPER)[1:5] == ["", "", "", ""] and row(board, HOPPER)[5] == "98.0 ± 2.6"
    assert len([line for line in board.splitlines() if line.startswith("| ")]) == 1 + len(PAPER_SCORES)


def test_a_run_that_was_not_evaluated_is_no_number(tmp_path):
    (tmp_path / "hopper" / "seed-0").mkdir(parents=True)
    (tmp_path / "hopper" / "seed-0" / "config.json").write_text("{}")
    assert found_groups(tmp_path) == []


@pytest.mark.parametrize("place", ["hopper", "deep/er"])
def test_runs_fill_their_row_with_all_that_they_stand_on(tmp_path, place):
    for run_seed in (0, 1):
        for policy, returns in (("scale-0", [500.0, 700.0]), ("scale-2", [1500.0, 1700.0])):
            keep(tmp_path / place / f"seed-{run_seed}", policy, returns, run_seed=run_seed)
    board = score_board(tmp_path)
    cells = row(board, HOPPER)
    assert cells[1].startswith(f"{normalized_score(HOPPER, 1600.0):.1f} (") and cells[2] == "2"
    assert cells[3].startswith(f"{normalized_score(HOPPER, 600.0):.1f} (")
    for said in ("2 training seeds x 2 episodes", "d4rl-v2", "mujoco 3.3.7", "selected on these episodes", "last weights"):
        assert said in cells[4]
    assert "have not been run here" not in board and row(board, "walker2d-medium-v2")[1:5] == ["", "", "", ""]


def test_a_run_without_a_folder_of_seeds_counts_too(tmp_path):
    keep(tmp_path / "one", "scale-1", [1000.0, 1200.0])
    assert row(score_board(tmp_path), HOPPER)[2] == "1"
    assert "1 training seed x 2 episodes" in row(score_board(tmp_path), HOPPER)[4]
