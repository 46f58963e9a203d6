"""`cepkit train ...` as a user types it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from cli_runs import hopper_file, maze_excerpt, settings

from cepkit.commands import train_cli
from cepkit.commands.cli import main
from cepkit.commands.progress import Progress
from cepkit.commands.rl_settings import choose_config, read_pairs, read_seeds
from cepkit.learning.checkpoints import load_tensors
from cepkit.rl.agent.qgpo_config import PRESETS, QGPOConfig
from cepkit.rl.agent.qgpo_run import load_run, read_config
from cepkit.rl.agent.stage import StageStep


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

    class Pressing(Progress):
        def __call__(self, step):
            super().__call__(step)
            if (step.stage, step.index) == (stage, index):
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(train_cli, "Progress", Pressing)


def test_seeds_train_together_into_folders_that_say_how_they_were_made(capsys, tmp_path, maze):
    said = run(capsys, maze, "--out", tmp_path / "runs", "--seeds", "0,3", *settings("beta=2")).out
    assert "trained as maze with the preset maze on cpu" in said and f"cepkit eval {tmp_path / 'runs'}" in said
    stages = [line.split()[1] for line in said.splitlines() if "done in" in line]
    assert stages == ["behaviour", "support", "critic", "cloning"]
    for seed in (0, 3):
        folder = tmp_path / "runs" / f"seed-{seed}"
        assert load_run(folder).config.seed == seed and load_run(folder).config.beta == 2.0
        told = json.loads((folder / "origin.json").read_text())
        assert told["source"] == str(maze) and told["preset"] == "maze" and told["seeds"] == [0, 3]
        assert told["file"]["path"] == str(maze) and len(told["file"]["sha256"]) == 64
        (start,) = told["started"]
        assert start["command"].startswith(f"cepkit train {maze} --out") and start["device"] == "cpu"
        assert start["torch"] == torch.__version__ and {"python", "cepkit", "at"} <= start.keys()


@pytest.mark.parametrize(("seeds", "stage", "index"), [("0", "behaviour", 5), ("1", "critic", 9), ("0,1", "critic", 12)])
def test_ctrl_c_saves_a_whole_step_and_resume_ends_with_the_same_weights(
    capsys, tmp_path, maze, monkeypatch, seeds, stage, index
):
    run(capsys, maze, "--out", tmp_path / "whole", "--seeds", seeds, *settings())
    stop_at(monkeypatch, stage, index)
    said = run(capsys, maze, "--out", tmp_path / "cut", "--seeds", seeds, *settings(), code=130).err
    again = f"cepkit train --resume --out {tmp_path / 'cut'}"
    assert said == f"Stopped in the {stage} stage at step {index}; go on with: {again}\n"
    for seed in seeds.split(","):
        _, metadata = load_tensors(tmp_path / "cut" / f"seed-{seed}" / f"{stage}.state.safetensors")
        assert metadata["step"] == str(index)
    monkeypatch.undo()
    run(capsys, *again.split()[2:])
    for seed in seeds.split(","):
        whole, cut = (tmp_path / name / f"seed-{seed}" for name in ("whole", "cut"))
        assert weights(cut) == weights(whole) and len(weights(cut)) == 4
        assert len(json.loads((cut / "origin.json").read_text())["started"]) == 2


def test_a_folder_of_another_run_is_left_alone(capsys, tmp_path, maze):
    out = tmp_path / "runs"
    run(capsys, maze, "--out", out, *settings())
    before = weights(out / "seed-0")
    error = run(capsys, maze, "--out", out, *settings("beta=5"), code=2).err
    assert f"{out / 'seed-0'}: holds a run of another configuration: beta (1.0, not 5.0)" in error
    error = run(capsys, maze, "--out", out, "--seeds", "1", *settings("beta=5"), code=2).err
    assert "another configuration" in error
    error = run(capsys, maze, "--out", out, *settings(), code=2).err
    assert f"holds a run of these settings already; go on with: cepkit train --resume --out {out}" in error
    assert "is the folder of one run" in run(capsys, maze, "--out", out / "seed-0", *settings(), code=2).err
    assert "leave out --set, --preset" not in error and weights(out / "seed-0") == before
    error = run(capsys, "--resume", "--out", out, "--set", "beta=5", "--preset", "maze", code=2).err
    assert "the runs keep their own settings; leave out --preset, --set" in error
    assert "expected some of 0, which" in run(capsys, "--resume", "--out", out, "--seeds", "7", code=2).err
    other = hopper_file(tmp_path)
    assert "expected the data the run was started with" in run(capsys, other, "--resume", "--out", out, code=2).err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["hoper-medium-v2"], "dataset: expected a known name, got 'hoper-medium-v2'; nearest: hopper-medium-v2"),
        (["mine.hdf5"], "mine: expected --preset (locomotion, antmaze, maze, halfcheetah-small) or --family (locomotion, "),
        (["nowhere/mine.hdf5", "--preset", "maze"], "expected an HDF5 file in D4RL's schema, found none"),
        (["mine.hdf5", "--family", "kitchen"], "expected --preset, since the family kitchen has none of its own"),
        (["mine.hdf5", "--preset", "huge"], "preset: expected one of locomotion, antmaze, maze, halfcheetah-small, got 'huge'"),
        (["pointmaze-umaze", "--set", "betta=3"], "--set key: expected one of family, seed, beta"),
        (["pointmaze-umaze", "--set", "beta"], "--set: expected key=value, got 'beta'"),
        (["pointmaze-umaze", "--set", "tau=2"], "tau: expected a finite number in [1e-06, 1], got 2"),
        (["pointmaze-umaze", "--seeds", "0,0"], "--seeds: expected whole numbers of at least 0 between commas, each once"),
        (["pointmaze-umaze", "--device", "abacus"], "--device: expected auto or a device of this machine, such as cpu, got"),
        (["pointmaze-umaze", "--config", "no.json"], "--config: expected a JSON file, found none at no.json"),
        ([], "dataset: expected a name, an HDF5 file or minari:ID, or --resume"),
        (["--resume"], "expected a run folder, or a folder of runs seed-<n>, found none"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, tmp_path, arguments, complaint):
    error = run(capsys, *arguments, "--out", tmp_path / "runs", code=2).err
    assert error.startswith("cepkit: ") and complaint in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_settings_of_a_file_and_of_pairs_lie_over_the_preset(capsys, tmp_path, maze):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"beta": 7.0, "tau": 0.01, "seed": 4}))
    run(capsys, maze, "--out", tmp_path / "runs", "--config", file, *settings("tau=0.02", "pooled=False"))
    config = QGPOConfig.from_dict(read_config(tmp_path / "runs" / "seed-4")["qgpo"])
    assert (config.beta, config.tau, config.pooled, config.seed) == (7.0, 0.02, False, 4)
    file.write_text(json.dumps({"bta": 7.0}))
    assert "key: expected one of family, seed, beta" in run(capsys, maze, "--out", tmp_path, "--config", file, code=2).err
    file.write_text("{")
    assert "expected JSON, but it does not read" in run(capsys, maze, "--out", tmp_path, "--config", file, code=2).err


def test_the_preset_follows_from_the_data():
    for name, preset in (
        ("pointmaze-umaze", "maze"), ("halfcheetah-small-replay", "halfcheetah-small"),
        ("hopper-medium-v2", "locomotion"), ("antmaze-umaze-v2", "antmaze"),
    ):  # fmt: skip
        assert choose_config(name) == (preset, PRESETS[preset])
    assert choose_config("mine", family="antmaze")[1].family == "antmaze"
    assert choose_config("mine", preset="locomotion")[1].family == "locomotion"
    assert choose_config("maze2d-umaze-v1", preset="maze")[1].family == "maze2d", "rewards belong to the data"
    assert choose_config("mine", settings={"family": "antmaze"})[0] == "antmaze"


def test_pairs_are_read_as_json_words_or_sequences():
    read = read_pairs(["scales=0,1.5", "behaviour_widths=[8, 4]", "behaviour_steps=1e3", "compile=TRUE", "labels=unnormalized"])
    assert read == {
        "scales": [0, 1.5], "behaviour_widths": [8, 4], "behaviour_steps": 1000.0, "compile": True, "labels": "unnormalized",
    }  # fmt: skip
    assert read_pairs(["scales=2"]) == {"scales": [2]} and read_seeds("2,0") == (2, 0)


def test_progress_on_a_terminal_renews_one_line_and_elsewhere_writes_a_line_now_and_then():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    steps = [StageStep("critic", i, 4, {"critic": torch.tensor(0.5)}) for i in range(1, 5)]
    for out in (Terminal(), io.StringIO()):
        progress = Progress(("behaviour", "critic"), out, every=0.0)
        progress.every = 0.0
        for step in steps:
            progress(step)
        lines = out.getvalue().replace("\r\033[K", "\n").strip().splitlines()
        assert "2/2 critic    4 of 4  critic 0.5  done in 0 s" in lines[-1]
        assert "2 of 4  critic 0.5  0 s left" in lines[1]
        assert out.getvalue().count("\n") == (1 if out.isatty() else 4)
    line = Progress(("critic",), io.StringIO())
    line(StageStep("critic", 10, 100, {}))
    assert line.line(StageStep("critic", 20, 100, {}), 50.0).endswith("400 s left") is False
    assert line.line(StageStep("critic", 20, 100, {}), 50.0).endswith("7 min left"), "80 steps at 5 s each"


def test_dry_run_trains_nothing(capsys, tmp_path, maze):
    said = run(capsys, maze, "--out", tmp_path / "runs", "--dry-run", *settings()).out
    assert "in all" in said and not (tmp_path / "runs").exists()


def test_other_commands_stay_free_of_torch():
    code = (
        "import sys\nfrom cepkit.commands.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("False\n") and "train" in shown and "report" in shown
