"""`cepkit toy ...` as a user types it."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cepkit.commands.cli import main
from cepkit.learning import Training, load_run, resume_run
from cepkit.learning.log import read_log
from cepkit.learning.run import state_of

# trainings of a few steps, which say that they do not suffice
pytestmark = pytest.mark.filterwarnings("ignore:at t .* the learned guidance is worse")
WINE = Path(__file__).parents[2] / "data" / "wine.csv"


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


def test_a_toy_is_trained_resumed_and_shown(capsys, tmp_path):
    folder = tmp_path / "new" / "run"
    given = ["--steps", "12", "--points", "500", "--contrasts", "8", "--beta", "2", "--seed", "3", "--labels", "normalized"]
    assert main(["toy", "train", "moons", "--out", str(folder), *given]) == 0
    said = capsys.readouterr()
    assert f"See what it learned with: cepkit toy show {folder}" in said.out and "training: 12 of 12 steps" in said.err
    assert "denoiser=" in said.err and "energy=" in said.err
    config = load_run(folder).config
    assert (config.steps, config.contrasts, config.beta, config.seed, config.labels) == (12, 8, 2.0, 3, "normalized")
    assert json.loads((folder / "config.json").read_text())["data"]["n"] == 500
    before = weights(folder)
    assert main(["toy", "train", "--resume", "--out", str(folder)]) == 0 and weights(folder) == before
    capsys.readouterr()
    assert main(["toy", "show", str(folder), "--samples", "60"]) == 0
    out = capsys.readouterr().out
    assert "moons, beta = 2, CEP, step 12 of 12; mean field error" in out and "learned (CEP)" in out
    assert f"Picture: {folder / 'figure.png'}" in out and (folder / "figure.png").stat().st_size > 10_000


def test_a_csv_file_is_trained_on_and_shown(capsys, tmp_path):
    given = ["--std", "0.2", "--points", "500", "--steps", "3", "--contrasts", "8", "--objective", "exp-MSE"]
    assert main(["toy", "train", str(WINE), "--out", str(tmp_path), *given]) == 0
    assert main(["toy", "show", str(tmp_path), "--samples", "50"]) == 0
    assert "wine, beta = 3, exp-MSE, step 3 of 3" in capsys.readouterr().out
    assert load_run(tmp_path).source.std == 0.2


def test_kilometres_and_euros_are_trained_on_shown_and_explained(capsys, tmp_path):
    """One row of 400 carries all the weight at this beta; nothing becomes inf or NaN, and all is said."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 2)) * [20, 80_000] + [80, 300_000]
    table = pd.DataFrame({"km": x[:, 0], "people": x[:, 1], "euros": 1500 + 200 * generator.normal(size=400)})
    path, folder = tmp_path / "mine.csv", tmp_path / "run"
    table.to_csv(path)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        small = ["--points", "2000", "--steps", "25", "--contrasts", "16", "--width", "8"]
        assert main(["toy", "train", str(path), "--out", str(folder), *small]) == 0
    out, err = capsys.readouterr()
    assert "400 points, columns separated by commas, header on line 1 (, km, people, euros)" in out and "left out" in out
    assert "each column centred by its mean and divided by its standard deviation: " in out
    assert err.count("leaves weight to about 1 of 400 points") == 1 and "NaN" not in err
    logged = read_log(folder)
    assert any(name.startswith("guidance_error") for name in logged)
    assert all(math.isfinite(value) for series in logged.values() for value in series.values)
    assert main(["toy", "show", str(folder), "--samples", "60"]) == 0
    out = capsys.readouterr().out
    assert "inf" not in out.split("estimator")[1] and "nan" not in out.split("estimator")[1]
    assert "left out" in out and "leaves weight to about 1 of 400 points" in out
    assert main(["demo", str(path), "--samples", "60", "--out", str(tmp_path / "demo")]) == 0
    assert "leaves weight to about 1 of 400 points" in capsys.readouterr().out
    path.write_text(path.read_text().replace("80", "81"))
    assert main(["toy", "show", str(folder)]) == 2
    assert "expected the data the run was started with" in capsys.readouterr().err


def test_a_training_that_does_not_suffice_says_so_in_a_line(capsys, tmp_path):
    small = ["--points", "500", "--contrasts", "8", "--steps", "5"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["toy", "train", "moons", "--out", str(tmp_path), *small]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "worse than the exact mean energy" in line]
    assert len(lines) == 1 and lines[0].startswith("note: at t ") and "UserWarning" not in lines[0]


def test_ctrl_c_saves_a_whole_step_says_how_to_go_on_and_ends_with_130(tmp_path):
    """What is resumed then ends with the weights of a run that nobody stopped."""
    folder = tmp_path / "stopped"
    command = [sys.executable, "-m", "cepkit", "toy", "train", "moons", "--points", "500", "--contrasts", "4", "--steps", "2000"]
    command += ["--groups", "2", "--denoiser-groups", "2", "--width", "8"]
    with subprocess.Popen([*command, "--out", str(folder)], stderr=subprocess.PIPE, text=True) as process:
        for _ in range(600):
            if (folder / "config.json").exists() and load_run(folder).step:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    run = resume_run(folder)
    step = run.training.index
    assert process.returncode == 130 and 250 <= step < 2000 and load_run(folder).step == step, err
    assert (
        err.splitlines()[-1]
        == f"Stopped in the training stage at step {step}; go on with: cepkit toy train --resume --out {folder}"
    )
    undisturbed = Training(*run.source.draw(), run.training.config)
    for training in (run, undisturbed):
        for done in training:
            if done.index == step + 20:
                break
    resumed, expected = state_of(run.training), state_of(undisturbed)
    assert all(bool((resumed[name] == value).all()) for name, value in expected.items())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "toy: expected a toy's name or a CSV file, or --resume"),
        (["moon"], "toy: expected one of"),
        (["nowhere.csv"], "x: expected a readable CSV file"),
        (["moons", "--beta", "-1"], "beta: expected a finite number of at least 0"),
        (["moons", "--objective", "cep"], "objective: expected one of CEP, MSE, exp-MSE, got 'cep'"),
        (["moons", "--points", "1"], "n: expected"),
        (["moons", "--std", "0.2"], "std: expected 0"),
        (["--resume"], "expected a run folder with config.json, found none"),
        (["--resume", "moons"], "--resume: the run keeps its own settings; leave out toy"),
        (["--resume", "--beta", "3", "--standardize"], "leave out standardize, beta"),
    ],
)
def test_a_mistake_is_one_line_exit_code_2_and_no_folder(capsys, tmp_path, arguments, complaint):
    folder = tmp_path / "run"
    assert main(["toy", "train", *arguments, "--out", str(folder)]) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1 and not folder.exists()


def test_a_folder_with_a_run_is_not_trained_over_and_one_without_is_not_shown(capsys, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert main(["toy", "train", "moons", "--points", "50", "--out", str(tmp_path)]) == 2
    assert "holds a run already; resume it" in capsys.readouterr().err
    assert main(["toy", "show", str(tmp_path / "absent")]) == 2
    assert "expected a run folder" in capsys.readouterr().err
    assert main(["toy", "train", "moons", "--points", "50", "--out", str(tmp_path / "config.json" / "run")]) == 2
    assert "could not make the folder" in capsys.readouterr().err
