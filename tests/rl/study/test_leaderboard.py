"""The leaderboard on results written by hand: which scale is chosen, the caveats, papers' scores, hostile names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cli_runs import keep, result
from scipy import stats

from cepkit.rl.data.scores import normalized_score
from cepkit.rl.study.leaderboard import PAPER_SCORES, find_experiments, leaderboard, scale_figure

HOPPER = "hopper-medium-v2"
RETURNS = {"scale-0": 10.0, "scale-1": 30.0, "scale-3": 50.0}


def evaluated(folder, *, seeds=(0,), runs=(0, 1), returns=RETURNS, **about):
    """Every policy for every run on every evaluation seed; episodes one below and one above the return."""
    every = {**returns, "cloning": 20.0, "best-of-16": 40.0}
    found = [
        result(policy, [value - 1 + seed + run, value + 1 + seed - run], run_seed=run, seed=seed, **about)
        for policy, value in every.items() for run in runs for seed in seeds
    ]  # fmt: skip
    return keep(folder, *found)


def rows(text, policy):
    """The rows of a policy, each as cells by the head of the table."""
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(table[0], row, strict=True)) for row in table if row[1] == policy]


def test_with_one_evaluation_seed_the_row_says_that_the_scale_was_selected_on_these_episodes(tmp_path):
    text = leaderboard(find_experiments(evaluated(tmp_path, score=1.0)))
    (row,) = rows(text, "QGPO")
    assert row["scale s"] == "3" and row["how the scale was chosen"] == "selected on these episodes"
    assert row["return (95 % interval)"] == "50.0" and row["return of each training seed"] == "0: 50.0, 1: 50.0"
    assert row["episodes per training seed"] == "2 (starts of seed 0)" and row["success"] == ""
    assert row["engine"] == "d4rl-v2 (Hopper-v4; mujoco 3.3.7; gymnasium 1.4.0)"
    score = f"{normalized_score(HOPPER, 50.0):.1f}"
    assert row["score (95 % interval)"] == score
    assert row["QGPO, paper"] == "98.0 ± 2.6" and row["BC, paper"] == "52.9"
    (cloning,) = rows(text, "behaviour cloning")
    assert cloning["BC, paper"] == cloning["scale s"] == cloning["how the scale was chosen"] == ""
    assert [rows(text, p)[0]["return (95 % interval)"][:4] for p in ("behaviour model", "best of 16 by Q")] == ["10.0", "40.0"]
    for caveat in ("evaluate with another --seed", "final weights", "student's t", "arxiv 2304.12824", "not measured here"):
        assert caveat in text.lower()


def test_with_two_evaluation_seeds_the_scale_is_chosen_on_the_first_and_reported_on_the_second(tmp_path):
    folder = evaluated(tmp_path, seeds=(0,))
    other = RETURNS | {"scale-1": 90.0, "scale-3": 5.0}  # on the second seed scale 1 is best; it must not be chosen
    keep(folder, *(result(p, [v, v], run_seed=run, seed=7) for p, v in other.items() for run in (0, 1)))
    (experiment,) = find_experiments(folder)
    assert experiment.choose_scale() == (3.0, (7,), "chosen on evaluation seed 0, reported on 7")
    text = leaderboard([experiment])
    assert rows(text, "QGPO")[0]["return (95 % interval)"] == "5.0" and "flatters" not in text
    assert rows(text, "behaviour model")[0]["episodes per training seed"] == "2 (starts of seed 7)", "all on the same episodes"


def test_three_training_seeds_have_an_interval_and_every_one_is_shown(tmp_path):
    found = [result("scale-1", [value - 1, value + 1], run_seed=run, score=1.0) for run, value in enumerate((10.0, 40.0, 31.0))]
    experiments = find_experiments(keep(tmp_path, *found))
    (row,) = rows(leaderboard(experiments), "QGPO")
    low, high = stats.ttest_1samp([10.0, 40.0, 31.0], 0.0).confidence_interval()
    assert row["return (95 % interval)"] == f"27.0 ({low:.1f} to {high:.1f})"
    assert row["score (95 % interval)"] == "{:.1f} ({:.1f} to {:.1f})".format(*normalized_score(HOPPER, [27.0, low, high]))
    assert row["return of each training seed"] == "0: 10.0, 1: 40.0, 2: 31.0"
    (panel,) = scale_figure(experiments).axes
    band = panel.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx(normalized_score(HOPPER, [low, high]))


def test_only_policies_that_every_run_has_are_compared(tmp_path):
    folder = keep(evaluated(tmp_path / "all"), result("scale-9", [999, 999], run_seed=0))
    (experiment,) = find_experiments(folder)
    assert experiment.policies[:3] == ("scale-0", "scale-1", "scale-3") and set(experiment.policies[3:]) == {
        "cloning",
        "best-of-16",
    }
    assert experiment.scales == (0.0, 1.0, 3.0) and experiment.choose_scale().scale == 3.0
    (only,) = find_experiments(keep(tmp_path / "one", result("scale-2", [1, 2])))
    assert only.choose_scale().how == "the only one evaluated"
    (none,) = find_experiments(keep(tmp_path / "none", result("cloning", [1, 2])))
    assert none.choose_scale() is None and rows(leaderboard([none]), "behaviour cloning")


def test_evaluations_of_other_weights_are_left_out_and_the_leaderboard_says_so(tmp_path):
    folder = evaluated(tmp_path)
    keep(folder, *(result("scale-5", [999, 999], run_seed=run, weights="of half the training") for run in (0, 1)))
    (experiment,) = find_experiments(folder)
    assert 5.0 not in experiment.scales and experiment.outdated == 2
    assert f"{folder}: 2 evaluations of other weights than the present ones are left out" in leaderboard([experiment])
    (folder / "seed-0" / "behaviour.safetensors").write_bytes(b"trained further")
    assert {r.run_seed for r in find_experiments(folder)[0].results} == {1}


def test_engines_and_numbers_of_episodes_are_not_mixed_and_differences_are_said(tmp_path):
    folder = evaluated(tmp_path / "runs", runs=(0,))
    evaluated(folder, runs=(0,), engine="gymnasium-v5", notes=["scores differ from D4RL's"])
    keep(folder, result("scale-1", [1.0]))
    other = result("scale-1", [7.0, 9.0], seed=1)
    keep(folder, replace(other, versions=other.versions | {"gymnasium-robotics": "1.4.2"}))
    assert len(find_experiments(folder)) == 4
    text = leaderboard(find_experiments(folder))
    assert len(rows(text, "QGPO")) == 4 and text.count("- scores differ from D4RL's") == 1
    assert "one training seed, so nothing is known about another training" in text


@pytest.mark.parametrize("place", ["hopper", "deep/er"])
def test_runs_are_found_anywhere_below_a_folder(tmp_path, place):
    evaluated(tmp_path / place)
    keep(tmp_path / "other", result("scale-1", [1.0, 2.0], data="mine"))
    (tmp_path / "bare" / "seed-0").mkdir(parents=True)
    (tmp_path / "bare" / "seed-0" / "config.json").write_text("{}")
    found = find_experiments(tmp_path)
    assert {(e.folder, e.runs) for e in found} == {(tmp_path / place, (0, 1)), (tmp_path / "other", (0,))}
    (single,) = find_experiments(tmp_path / "other" / "seed-0")
    assert single.runs == (0,)


def test_datasets_that_were_not_run_have_the_papers_scores_alone(tmp_path):
    text = leaderboard(find_experiments(tmp_path / "absent"), datasets=PAPER_SCORES)
    assert "have not been run here" in text and len(rows(text, "not run here")) == len(PAPER_SCORES) == 15
    row = next(row for row in rows(text, "not run here") if row["dataset"] == HOPPER)
    assert row["return (95 % interval)"] == row["engine"] == "" and row["QGPO, paper"] == "98.0 ± 2.6"
    text = leaderboard(find_experiments(evaluated(tmp_path)), datasets=PAPER_SCORES)
    assert "have not been run here" not in text and len(rows(text, "not run here")) == 14
    assert "paper" not in leaderboard(find_experiments(keep(tmp_path / "mine", result("scale-1", [1], data="mine")))).lower()


def test_a_hostile_name_stays_in_its_cell_and_is_no_html(tmp_path):
    name = "<script>alert(1)</script> | $x^ \n## a"
    text = leaderboard(find_experiments(keep(tmp_path, result("scale-1", [1.0, 2.0], data=name, notes=["<b> & a"]))))
    assert "<script" not in text and "<b>" not in text and "&lt;script>alert(1)&lt;/script> \\| $x^  ## a |" in text
    assert "\n## a" not in text
    assert scale_figure(find_experiments(tmp_path)).axes[0].get_title().startswith("<script>")
    scale_figure(find_experiments(tmp_path)).savefig(tmp_path / "report.png")  # a title that would be broken mathematics


def test_the_figure_has_a_panel_for_each_experiment_with_scores_or_returns(tmp_path):
    evaluated(tmp_path / "a", score=1.0)
    keep(tmp_path / "b", *(result("scale-2", [1.0, 3.0], run_seed=run) for run in (0, 1)))
    first, second = scale_figure(find_experiments(tmp_path)).axes
    line, *runs, cloning, best = first.lines
    assert list(line.get_xdata()) == [0.0, 1.0, 3.0] and line.get_ydata()[2] == pytest.approx(normalized_score(HOPPER, 50.0))
    assert [one.get_ydata()[0] for one in (cloning, best)] == pytest.approx([normalized_score(HOPPER, r) for r in (20.0, 40.0)])
    assert first.get_ylabel().startswith("normalised score") and second.get_ylabel().startswith("return")
    assert len(second.lines) == 3 and list(second.lines[0].get_ydata()) == [2.0], "a line, and a dot for each training seed"
    assert [len(run.get_ydata()) for run in runs] == [3, 3]


@pytest.mark.parametrize(
    ("part", "method", "average"),
    [("v2", "QGPO", 86.6), ("v2", "SfBC", 75.6), ("v2", "SRPO", 87.1), ("antmaze", "QGPO", 78.3), ("antmaze", "IDQL", 79.1)],
)
def test_the_papers_numbers_average_to_the_reported_averages(part, method, average):
    scores = [s[method].split(" ")[0] for name, s in PAPER_SCORES.items() if name.startswith("antmaze") == (part == "antmaze")]
    assert sum(map(float, scores)) / len(scores) == pytest.approx(average, abs=0.06)
