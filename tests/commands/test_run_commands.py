"""`cepkit train ...` as a user types it."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
from cli_runs import hopper_file, maze_excerpt, settings

from cepkit.commands.cli import main
from cepkit.commands.run_commands import choose_config
from cepkit.learning.checkpoints import load_tensors
from cepkit.rl.agent.qgpo_config import PRESETS
from cepkit.rl.agent.qgpo_run import QGPORun, load_run
from cepkit.rl.agent.run_folders import read_config


def run(capsys, *arguments, code=0):
    """Output and errors of a command that ends with `code`."""
    assert main(["train", *map(str, arguments)]) == code
    return capsys.readouterr()


@pytest.fixture
def maze(tmp_path):
    return maze_excerpt(tmp_path)


def weights(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def stop_at(monkeypatch, stage, index):
    """Press Ctrl-C at a step of a stage."""

    def pressing(steps):
        def press(self):
            for step in steps(self):
                if (step.stage, step.index) == (stage, index):
                    os.kill(os.getpid(), signal.SIGINT)
                yield step

        return press

    monkeypatch.setattr(QGPORun, "__iter__", pressing(QGPORun.__iter__))


def test_seeds_train_together_into_folders_that_say_how_they_were_made(capsys, tmp_path, maze):
    said = run(capsys, maze, "--out", tmp_path / "new" / "runs", "--seeds", "0,3", *settings("beta=2"))
    assert "trained as maze with the preset maze on cpu" in said.out and f"cepkit eval {tmp_path / 'new' / 'runs'}" in said.out
    lines = [line.split(":")[0] for line in said.err.splitlines() if "of" in line]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "as before the training"
    assert list(dict.fromkeys(lines)) == ["behaviour", "support", "critic", "cloning"] and "\r" not in said.err
    for seed in (0, 3):
        folder = tmp_path / "new" / "runs" / f"seed-{seed}"
        assert load_run(folder).config.seed == seed and load_run(folder).config.beta == 2.0
        origin = json.loads((folder / "origin.json").read_text())
        assert origin["source"] == str(maze) and origin["preset"] == "maze" and {"command", "started"} <= origin.keys()
        assert origin["torch"] == f"{torch.__version__} on cpu"


@pytest.mark.parametrize(("seeds", "stage", "index"), [("0", "behaviour", 5), ("1", "critic", 9), ("0,1", "critic", 12)])
def test_ctrl_c_saves_a_whole_step_and_resume_ends_with_the_same_weights(
    capsys, tmp_path, maze, monkeypatch, seeds, stage, index
):
    run(capsys, maze, "--out", tmp_path / "whole", "--seeds", seeds, *settings())
    stop_at(monkeypatch, stage, index)
    monkeypatch.chdir(maze.parent)  # resumed from another folder, the data must be found nevertheless
    said = run(capsys, maze.name, "--out", tmp_path / "cut", "--seeds", seeds, *settings(), code=130).err
    again = f"cepkit train --resume --out {tmp_path / 'cut'}"
    assert said.splitlines()[-1] == f"Stopped in the {stage} stage at step {index}; go on with: {again}"
    state = f"{stage}.seed-0.state" if "," in seeds else f"seed-{seeds}/{stage}.state"
    assert load_tensors(tmp_path / "cut" / f"{state}.safetensors")[1]["step"] == str(index)
    monkeypatch.undo()
    run(capsys, *again.split()[2:])
    for seed in seeds.split(","):
        whole, cut = (tmp_path / name / f"seed-{seed}" for name in ("whole", "cut"))
        assert weights(cut) == weights(whole) and len(weights(cut)) == 4


def test_a_folder_of_another_run_is_left_alone(capsys, tmp_path, maze):
    out = tmp_path / "runs"
    run(capsys, maze, "--out", out, *settings())
    before = weights(out / "seed-0")
    error = run(capsys, maze, "--out", out, *settings("beta=5"), code=2).err
    assert f"{out / 'seed-0'}: holds a run of another configuration: beta (1.0, not 5.0)" in error
    error = run(capsys, maze, "--out", out, "--seeds", "1", *settings("beta=5"), code=2).err
    assert "another configuration" in error
    error = run(capsys, maze, "--out", out, *settings(), code=2).err
    assert "holds a run already; resume it" in error
    assert "is the folder of one run" in run(capsys, maze, "--out", out / "seed-0", *settings(), code=2).err
    assert weights(out / "seed-0") == before
    error = run(capsys, "--resume", "--out", out, "--tau", "0.5", "--preset", "maze", code=2).err
    assert "the runs keep their own settings; leave out --preset, --tau" in error
    assert "seed-7: expected a run folder" in run(capsys, "--resume", "--out", out, "--seeds", "7", code=2).err
    other = hopper_file(tmp_path)
    assert "expected the data the run was started with" in run(capsys, other, "--resume", "--out", out, code=2).err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["hoper-medium-v2"], "dataset: expected a known name, got 'hoper-medium-v2'; nearest: hopper-medium-v2"),
        (["mine.hdf5"], "mine: expected --preset (locomotion, antmaze, maze, halfcheetah-small) or --family (locomotion, "),
        (["nowhere/mine.hdf5", "--preset", "maze"], "expected an HDF5 file in D4RL's schema, found none"),
        (["mine.hdf5", "--family", "kitchen"], "since the family kitchen has no preset"),
        (["mine.hdf5", "--preset", "huge"], "preset: expected one of locomotion, antmaze, maze, halfcheetah-small, got 'huge'"),
        (["pointmaze-umaze", "--tau", "2"], "tau: expected a finite number in [1e-06, 1], got 2.0"),
        (["pointmaze-umaze", "--seeds", "0,0"], "seeds: expected at least one whole number, each once"),
        (["pointmaze-umaze", "--device", "abacus"], "--device: expected auto or a device of this machine, such as cpu, got"),
        ([], "dataset: expected a name, an HDF5 file or minari:ID, or --resume"),
        (["--resume"], "expected a run folder, or a folder of runs seed-<n>, found none"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, tmp_path, arguments, complaint):
    error = run(capsys, *arguments, "--out", tmp_path / "runs", code=2).err
    assert error.startswith("cepkit: ") and complaint in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_options_lie_over_the_preset(capsys, tmp_path, maze):
    run(capsys, maze, "--out", tmp_path / "runs", "--beta", 7.0, "--seed", 4, *settings("tau=0.02", "pooled=False"))
    config = read_config(tmp_path / "runs" / "seed-4").qgpo
    assert (config.beta, config.tau, config.pooled, config.seed) == (7.0, 0.02, False, 4)


def test_the_preset_follows_from_the_data():
    for name, preset in (
        ("pointmaze-umaze", "maze"), ("halfcheetah-small-replay", "halfcheetah-small"),
        ("hopper-medium-v2", "locomotion"), ("antmaze-umaze-v2", "antmaze"),
    ):  # fmt: skip
        assert choose_config(name, None, {}) == (preset, PRESETS[preset])
    assert choose_config("mine", None, {"family": "antmaze"}) == ("antmaze", PRESETS["antmaze"])
    assert choose_config("mine", "locomotion", {})[1].family == "locomotion"
    assert choose_config("maze2d-umaze-v1", "maze", {})[1].family == "maze2d", "rewards belong to the data"


def test_dry_run_trains_nothing(capsys, tmp_path, maze):
    said = run(capsys, maze, "--out", tmp_path / "runs", "--dry-run", *settings()).out
    assert [line.split()[0] for line in said.splitlines()[-5:]] == ["behaviour", "support", "critic", "cloning", "in"]
    assert not (tmp_path / "runs").exists()
