"""`cepkit report DIR...` on results written by hand: which scale is chosen, what is said about it, what is written."""

from __future__ import annotations

import pytest
from cli_runs import keep, result

from cepkit.commands.cli import main
from cepkit.rl.study.paper import PAPER_SCORES, QGPO_SPREAD, paper_text
from cepkit.rl.study.returns_report import choose_scale, read_groups, rows_of

RETURNS = {"scale-0": 10.0, "scale-1": 30.0, "scale-3": 50.0}


def evaluated(folder, *, seeds=(0,), runs=(0, 1), returns=RETURNS, **about):
    """Every policy for every run on every evaluation seed; episodes one below and one above the return."""
    every = {**returns, "cloning": 20.0, "best-of-16": 40.0}
    found = [
        result(policy, [value - 1 + seed, value + 1 + seed], run_seed=run, seed=seed, **about)
        for policy, value in every.items() for run in runs for seed in seeds
    ]  # fmt: skip
    return keep(folder, *found)


def cells(text, policy):
    """The cells of a policy's rows by the head of the table."""
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(table[0], row, strict=True)) for row in table if row[1] == policy]


def test_with_one_evaluation_seed_the_row_says_that_the_scale_was_selected_on_these_episodes(capsys, tmp_path):
    evaluated(tmp_path / "runs", score=1.0)
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out" / "mine")]) == 0
    out = capsys.readouterr().out
    (row,) = cells(out, "QGPO")
    assert row["scale"] == "3" and row["how the scale was chosen"] == "selected on these episodes"
    assert row["return (95 % interval)"].startswith("50.0 (49.") and row["training seeds"] == "0, 1"
    assert row["episodes per seed"] == "2 (starts of seed 0)" and row["checkpoint"] == "last"
    assert row["engine"] == "d4rl-v2 (Hopper-v4; mujoco 3.3.7, gymnasium 1.4.0)"
    assert row["paper's score"] == "98.0 ± 2.6" and row["score"].startswith("2.2 (")
    (cloning,) = cells(out, "behaviour cloning")
    assert cloning["paper's score"] == "52.9" and cloning["scale"] == "" and cloning["how the scale was chosen"] == ""
    assert [cells(out, p)[0]["return (95 % interval)"][:4] for p in ("behaviour model", "best of 16 by Q")] == ["10.0", "40.0"]
    assert "evaluate with another --seed" in out and "arXiv 2304.12824" in out and "not measured here" in out
    assert (tmp_path / "out" / "mine.md").read_text().strip() == out.split("\n\nWritten")[0].strip()
    assert (tmp_path / "out" / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_with_two_evaluation_seeds_the_scale_is_chosen_on_the_first_and_reported_on_the_second(tmp_path):
    folder = evaluated(tmp_path, seeds=(0,))
    other = RETURNS | {"scale-1": 90.0, "scale-3": 5.0}  # on the second seed scale 1 is best; it must not be chosen
    keep(folder, *(result(p, [v, v], run_seed=run, seed=7) for p, v in other.items() for run in (0, 1)))
    (group,) = read_groups([folder])
    assert choose_scale(group) == (3.0, (7,), "chosen on evaluation seed 0, reported on 7")
    qgpo, behaviour = rows_of(group)
    assert (qgpo.numbers.mean, qgpo.numbers.seeds) == (5.0, (7,)) and behaviour.numbers.mean == 10.0, "all on the same episodes"


def test_only_scales_that_every_run_has_are_compared(tmp_path):
    folder = keep(evaluated(tmp_path), result("scale-9", [999, 999], run_seed=0))
    (group,) = read_groups([folder])
    assert group.scales == (0.0, 1.0, 3.0) and choose_scale(group)[0] == 3.0
    assert choose_scale(read_groups([keep(tmp_path / "one", result("scale-2", [1, 2]))])[0])[2] == "the only one evaluated"
    assert rows_of(read_groups([keep(tmp_path / "none", result("cloning", [1, 2]))])[0])[0].policy == "behaviour cloning"


def test_engines_and_numbers_of_episodes_are_not_mixed_and_differences_are_said(capsys, tmp_path):
    folder = evaluated(tmp_path / "runs", runs=(0,))
    evaluated(folder, runs=(0,), engine="gymnasium-v5", notes=["scores differ from D4RL's"])
    keep(folder, result("scale-1", [1.0]))
    assert len(read_groups([folder, folder])) == 3
    assert main(["report", str(folder), str(folder / "seed-0"), "--out", str(tmp_path / "report.md")]) == 0
    out = capsys.readouterr().out
    assert len(cells(out, "QGPO")) == 6 and out.count("- scores differ from D4RL's") == 1
    assert "one training seed, so its interval says nothing about another training" in out
    assert (tmp_path / "report.md").is_file() and (tmp_path / "report.png").is_file()


def test_a_mistake_is_one_line_and_exit_code_2(capsys, tmp_path):
    for folder, complaint in ((tmp_path, "expected a run folder"), (tmp_path / "bare", "expected runs that have been evaluated")):
        (tmp_path / "bare" / "seed-0").mkdir(parents=True, exist_ok=True)
        (tmp_path / "bare" / "seed-0" / "config.json").write_text("{}")
        assert main(["report", str(folder), "--out", str(tmp_path / "report")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("cepkit: ") and complaint in error and error.count("\n") == 1
    assert not (tmp_path / "report.md").exists()
    evaluated(tmp_path / "runs")
    (tmp_path / "file").write_text("")
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "file" / "report")]) == 2
    assert "could not make the folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "method", "average"),
    [("v2", "QGPO", 86.6), ("v2", "SfBC", 75.6), ("v2", "SRPO", 87.1), ("antmaze", "QGPO", 78.3), ("antmaze", "IDQL", 79.1)],
)
def test_the_papers_numbers_average_to_the_reported_averages(part, method, average):
    scores = [s[method] for name, s in PAPER_SCORES.items() if name.startswith("antmaze") == (part == "antmaze")]
    assert sum(scores) / len(scores) == pytest.approx(average, abs=0.06)


def test_the_papers_numbers_as_text():
    assert paper_text("halfcheetah-medium-expert-v2", "QGPO") == "93.5 ± 0.3" and paper_text("hopper-medium-v2", "BC") == "52.9"
    assert (
        paper_text("antmaze-umaze-v2", "QGPO") == "96.4"
        and paper_text("antmaze-umaze-v2", "BC") == paper_text("mine", "QGPO") == ""
    )
    assert len(PAPER_SCORES) == 15 and QGPO_SPREAD.keys() < PAPER_SCORES.keys()
