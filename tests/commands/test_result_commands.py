"""`cepkit eval ...` on tiny runs in a real environment, and `cepkit report ...`."""

from __future__ import annotations

import json

import pytest
from cli_runs import hopper_file, keep, result, settings

from cepkit.commands.cli import main
from cepkit.rl.data.scores import normalized_score
from cepkit.rl.study.results import read_results


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
        given = ["--preset", "maze", "--family", "maze", "--out", str(folder / name), "--seeds", seeds]
        assert main(["train", str(data), *given, *small]) == 0
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
    assert "Too few training seeds for an interval over trainings." in told.out
    (one,) = (r for r in read_results(folder / "seed-0") if r.policy == "scale-1")
    assert one.environment == "hopper-random-v2" and one.data == "mine" and len(one.notes) == 1
    assert (folder / "seed-0" / "eval-gymnasium-v4-hopper-random-v2-seed0-episodes1-scale-1.json").is_file()
    error = run(capsys, "eval", folder, "--env", "walker2d-medium-v2", code=2).err
    assert "raised ValueError on 10 observations: states: expected shape (..., 11), got (10, 17)" in error


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--scales", "1,x"], "--scales: expected numbers between commas, such as 0,1,2, got '1,x'"),
        (["--scales", "-1"], "scales: expected a finite number of at least 0"),
        (["--episodes", "0"], "episodes: expected an integer in [1, 1e+06], got 0"),
        (["--seed", "-1"], "seed: expected an integer"),
        (["--engine", "mujoco"], "engine: expected one of d4rl-v2"),
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


# -- report --------------------------------------------------------------------------------------------------------------


def test_a_report_goes_where_it_is_asked_for_and_may_be_written_again(capsys, tmp_path):
    folder, out = keep(tmp_path / "runs", result("scale-1", [1.0, 3.0])), tmp_path / "new" / "mine"
    for name in (out, out.with_suffix(".md")):
        said = run(capsys, "report", folder, "--out", name).out
        assert "| hopper-medium-v2 |" in said and f"Written: {out}.md, {out}.png" in said
        assert out.with_suffix(".md").read_text().strip() == said.split("\n\nWritten")[0].strip()
        assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_report_replaces_no_file_that_is_none(capsys, tmp_path, monkeypatch):
    folder = keep(tmp_path / "runs", result("scale-1", [1.0, 3.0]))
    monkeypatch.chdir(tmp_path)
    for name, asked in (("README.md", "README"), ("README.md", "README.md"), ("photo.png", "photo")):
        (tmp_path / name).write_text("mine")
        error = run(capsys, "report", folder, "--out", asked, code=2).err
        assert f"--out: expected a new name or one that this command wrote, but {name} is none" in error
        assert (tmp_path / name).read_text() == "mine"
    for asked in (".", "/"):
        assert "expected the name of a file" in run(capsys, "report", folder, "--out", asked, code=2).err
    assert "folders: expected at least one" in run(capsys, "report", code=2).err
    (tmp_path / "bare").mkdir()
    assert "expected runs that have been evaluated" in run(capsys, "report", tmp_path / "bare", code=2).err
