"""`cepkit eval ...` on a tiny run in a real environment, and numbers over runs and episodes against those worked out by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
from cli_runs import hopper_file, keep, result, settings

from cepkit.commands.cli import main
from cepkit.commands.results_cli import choose_environment, read_scales, results_table
from cepkit.rl.data.scores import normalized_score
from cepkit.rl.study.evaluate import mean_interval
from cepkit.rl.study.results import pool, read_results, scale_name, scale_of


def run(capsys, *arguments, code=0):
    """Output and errors of a command that ends with `code`."""
    assert main([*map(str, arguments)]) == code
    return capsys.readouterr()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two tiny runs on a random set of Hopper's sizes, under D4RL's name and under a name of one's own."""
    folder = tmp_path_factory.mktemp("eval")
    for name in ("hopper-medium-v2", "mine"):
        data, seeds = hopper_file(folder, name), "0,1" if name != "mine" else "0"
        small = settings("support_chunk=60")
        assert (
            main(
                [
                    "train",
                    str(data),
                    "--preset",
                    "maze",
                    "--family",
                    "maze",
                    "--out",
                    str(folder / name),
                    "--seeds",
                    seeds,
                    *small,
                ]
            )
            == 0
        )
    return folder


def test_every_run_at_every_scale_and_the_baselines_with_all_that_made_them(capsys, runs):
    folder = runs / "hopper-medium-v2"
    told = run(capsys, "eval", folder, "--scales", "0,2", "--episodes", 2, "--baselines", "--seed", 5)
    assert told.err == "" and "Hopper-v4 on d4rl-v2; 2 episodes of each run, starts of seed 5" in told.out
    for seed in (0, 1):
        found = {r.policy: r for r in read_results(folder / f"seed-{seed}")}
        assert found.keys() == {"scale-0", "scale-2", "cloning", "best-of-16"}
        assert (folder / f"seed-{seed}" / "eval-d4rl-v2-seed5-episodes2-scale-2.json").is_file()
        one = found["scale-2"]
        assert (one.data, one.engine, one.gymnasium_id, one.run_seed, one.seed) == (folder.name, "d4rl-v2", "Hopper-v4", seed, 5)
        assert one.checkpoint == "last" and {"gymnasium", "mujoco", "cepkit", "torch", "python"} <= one.versions.keys()
        assert len(one.returns) == len(one.lengths) == 2 and one.success is None and one.notes == []
        mean = sum(one.returns) / 2
        assert one.score == pytest.approx(float(normalized_score(folder.name, mean)))
    lines = [line.split() for line in told.out.splitlines() if line.startswith("scale-2 ")]
    both = [v for seed in (0, 1) for r in read_results(folder / f"seed-{seed}") if r.policy == "scale-2" for v in r.returns]
    assert lines[-1][:4] == ["scale-2", "2", "4", f"{sum(both) / 4:.2f}"]

    again = run(capsys, "eval", folder, "--scales", "2", "--episodes", 2, "--seed", 5).out
    assert again.count("(evaluated before)") == 4, "scale 2 and cloning of both runs"
    path = folder / "seed-0" / "eval-d4rl-v2-seed5-episodes2-scale-2.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"weights": "of other weights", "returns": [1.0, 2.0]}))
    fresh = run(capsys, "eval", folder, "--scales", "2", "--episodes", 2, "--seed", 5).out
    assert fresh.count("(evaluated before)") == 3 and json.loads(path.read_text()) == kept, "the same episodes again"


def test_a_set_of_ones_own_needs_to_know_its_task(capsys, runs):
    folder = runs / "mine"
    error = run(capsys, "eval", folder, code=2).err
    assert error == (
        "cepkit: --env: expected the task that mine is for, such as hopper-medium-v2, since the name itself is no task's\n"
    )
    told = run(capsys, "eval", folder, "--scales", "1", "--episodes", 1, "--env", "hopper-random-v2", "--engine", "gymnasium-v4")
    assert told.err.startswith("note: hopper-random-v2 on gymnasium-v4: masses and inertias are not those of D4RL's")
    assert "One training seed: its spread over trainings is not known." in told.out
    (one,) = (r for r in read_results(folder / "seed-0") if r.policy == "scale-1")
    assert one.environment == "hopper-random-v2" and one.data == "mine" and len(one.notes) == 1
    assert (folder / "seed-0" / "eval-gymnasium-v4-hopper-random-v2-seed0-episodes1-scale-1.json").is_file()
    error = run(capsys, "eval", folder, "--env", "walker2d-medium-v2", code=2).err
    assert "raised ValueError on 10 observations: states: expected shape (..., 11), got (10, 17)" in error


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--scales", "1,x"], "--scales: expected numbers of at least 0 between commas, each once, got '1,x'"),
        (["--scales", "1,1"], "--scales: expected numbers"),
        (["--episodes", "0"], "--episodes: expected an integer in [1, 1e+06], got 0"),
        (["--seed", "-1"], "--seed: expected an integer"),
        (["--engine", "mujoco"], "--engine: expected one of d4rl-v2"),
        (["--env", "hoper-medium-v2"], "did you mean 'hopper-medium-v2'?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, runs, arguments, complaint):
    error = run(capsys, "eval", runs / "hopper-medium-v2", *arguments, code=2).err
    assert error.startswith("cepkit: ") and complaint in error and error.count("\n") == 1


def test_what_is_no_run_or_not_finished_is_refused(capsys, runs, tmp_path):
    assert "expected a run folder, or a folder of runs seed-<n>, found none" in run(capsys, "eval", tmp_path, code=2).err
    unfinished = tmp_path / "seed-0"
    unfinished.mkdir()
    (unfinished / "config.json").write_text((runs / "mine" / "seed-0" / "config.json").read_text())
    assert "expected a finished run, but its behaviour stage is not; resume it" in run(capsys, "eval", tmp_path, code=2).err


def test_a_damaged_result_is_named(tmp_path):
    folder = keep(tmp_path, result("scale-1", [1, 2])) / "seed-0"
    (path,) = folder.glob("eval-*.json")
    whole = path.read_text()
    wrong = [("2.0", "NaN"), ('"episodes": 2', '"episodes": 3'), ('"seed": 0', '"seed": null'), ("[]", "{}")]
    wrong += [('"scale-1"', policy) for policy in ("3", '"scale-x"')]
    for text in (whole[:40], "{}", "null", "[" * 100_000, "3", *(whole.replace(*pair) for pair in wrong)):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"scale-1\.json: expected a file that `cepkit eval` wrote"):
            read_results(folder)


def test_pooled_numbers_are_those_worked_out_by_hand():
    found = pool([result("scale-1", [0, 2], run_seed=0, score=0.0), result("scale-1", [4, 10], run_seed=3, score=0.0)])
    assert found.mean == 4.0 and found.runs == (0, 3) and found.returns.tolist() == [[0, 2], [4, 10]]
    assert found.interval == mean_interval(torch.tensor([1.0, 7.0])), "run means 1 and 7"
    assert found.score == pytest.approx([float(normalized_score("hopper-medium-v2", x)) for x in (4.0, *found.interval)])
    assert pool([result("scale-1", [0, 2])]).score is None and math.isnan(pool([result("scale-1", [3])]).interval[0])
    two = pool([result("scale-1", [0, 2]), result("scale-1", [4, 4], seed=1)])
    assert two.seeds == (0, 1) and two.returns.tolist() == [[0, 2, 4, 4]] and two.interval == mean_interval(two.returns[0])
    with pytest.raises(ValueError, match="expected as many episodes of every run"):
        pool([result("scale-1", [0, 2]), result("scale-1", [1], run_seed=1)])
    with pytest.raises(ValueError, match="expected those of one policy"):
        pool([result("scale-1", [0, 2]), result("cloning", [1, 1], run_seed=1)])


def test_names_of_scales_go_both_ways():
    assert [scale_name(s) for s in (0.0, 1.5, 10.0)] == ["scale-0", "scale-1.5", "scale-10"]
    assert scale_of("scale-1.5") == 1.5 and scale_of("cloning") is None and read_scales("0,1.5") == (0.0, 1.5)


def test_the_table_leaves_out_what_there_is_not():
    text = results_table([result("scale-1", [1.0])])
    assert "score" not in text and "success" not in text
    assert text.splitlines()[1].split()[:4] == ["scale-1", "1", "1", "1.00"]
    assert choose_environment("pointmaze-umaze", None, None).engine == "gymnasium-robotics"
    assert "returns" not in result("cloning", [1]).settings
