"""The command line as a user types it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cepkit
from cepkit.commands import doctor
from cepkit.commands.cli import main
from cepkit.learning import Training, load_run, resume_run

WINE = Path(__file__).parents[2] / "data" / "wine.csv"


def test_python_dash_m_shows_the_commands():
    shown = subprocess.run([sys.executable, "-m", "cepkit", "--help"], capture_output=True, text=True, check=True).stdout
    assert "doctor" in shown and "demo" in shown


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"cepkit {cepkit.__version__}\n"


def test_doctor_names_every_part_and_the_command_that_adds_what_is_absent(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "find_browser", lambda: None)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for part in ("python", "torch", "device", "jupyterlab", "mujoco", "gym", "d4rl", "browser"):
        assert any(part in line for line in lines)
    absent = [line for line in lines if line.startswith("absent")]
    assert any("browser" in line for line in absent) and all("add it with: " in line for line in absent)


def test_doctor_exits_with_an_error_when_the_base_is_broken(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_BASE", ("torch", "no-such-package"))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BROKEN  no-such-package" in out and "The base is broken: no-such-package." in out


def test_doctor_reports_a_package_that_does_not_import(capsys, monkeypatch):
    def explode(name):
        raise OSError("cannot load shared library")

    monkeypatch.setattr(doctor.importlib, "import_module", explode)
    assert main(["doctor"]) == 1
    assert "does not import: cannot load shared library" in capsys.readouterr().out


def test_demo_prints_the_table_and_the_place_of_the_page(capsys, tmp_path):
    assert main(["demo", str(WINE), "--beta", "2", "--samples", "60", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "wine, beta = 2" in out and str(tmp_path / "index.html") in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["demo", "8gausians"], "toy: expected one of 8gaussians"),
        (["demo", "--beta", "-1"], "beta: expected a finite number of at least 0"),
        (["demo", "nowhere.csv"], "x: expected a readable CSV file"),
        (["demo", "--samples", "0"], "n: expected an integer of at least 2"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, tmp_path, arguments, complaint):
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1


# -- training ----------------------------------------------------------------------------------------------------------


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


def test_a_toy_is_trained_resumed_and_shown(capsys, tmp_path):
    folder = tmp_path / "run"
    given = ["--steps", "12", "--points", "500", "--contrasts", "8", "--beta", "2", "--seed", "3", "--labels", "normalized"]
    assert main(["toy", "train", "moons", "--out", str(folder), *given]) == 0
    out = capsys.readouterr().out
    assert "step 12 of 12  loss: denoising " in out and f"See it with: cepkit toy show {folder}" in out
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


def test_ctrl_c_saves_a_whole_step_says_how_to_go_on_and_ends_with_130(tmp_path):
    """What is resumed then ends with the weights of a run that nobody stopped."""
    command = [sys.executable, "-u", "-m", "cepkit", "toy", "train", "moons", "--points", "500", "--contrasts", "4"]
    process = subprocess.Popen(
        [*command, "--steps", "700", "--out", str(tmp_path / "stopped")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().startswith("step 250 of 700")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    run = resume_run(tmp_path / "stopped")
    step = run.training.index
    assert process.returncode == 130 and 250 <= step < 700 and load_run(tmp_path / "stopped").step == step, err
    assert err == f"Stopped at step {step}; go on with: cepkit toy train --resume --out {tmp_path / 'stopped'}\n"
    undisturbed = Training(*run.source.draw(), run.training.config)
    for training in (run, undisturbed):
        for done in training:
            if done.index == step + 20:
                break
    resumed, expected = run.training.tensors(), undisturbed.tensors()
    assert all(bool((resumed[name] == value).all()) for name, value in expected.items())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["train"], "toy: expected a toy's name or a CSV file, or --resume"),
        (["train", "moon"], "toy: expected one of"),
        (["train", "nowhere.csv"], "x: expected a readable CSV file"),
        (["train", "moons", "--beta", "-1"], "beta: expected a finite number of at least 0"),
        (["train", "moons", "--beta", "nan"], "beta: expected a finite number of at least 0"),
        (["train", "moons", "--steps", "0"], "steps: expected"),
        (["train", "moons", "--seed", "-1"], "seed: expected"),
        (["train", "moons", "--contrasts", "1"], "contrasts: expected"),
        (["train", "moons", "--objective", "cep"], "objective: expected one of CEP, MSE, exp-MSE, got 'cep'"),
        (["train", "moons", "--labels", "soft"], "labels: expected one of"),
        (["train", "moons", "--points", "1"], "n: expected"),
        (["train", "moons", "--std", "0.2"], "std: expected 0"),
        (["train", "--resume"], "expected a run folder with config.json, found none"),
        (["train", "--resume", "moons"], "--resume: the run keeps its own settings; leave out toy"),
        (["train", "--resume", "--steps", "5", "--standardize"], "leave out standardize, steps"),
    ],
)
def test_a_mistake_in_training_is_one_line_exit_code_2_and_no_folder(capsys, tmp_path, arguments, complaint):
    folder = tmp_path / "run"
    assert main(["toy", *arguments, "--out", str(folder)]) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1 and not folder.exists()


def test_a_folder_with_a_run_is_not_trained_over_and_one_without_is_not_shown(capsys, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert main(["toy", "train", "moons", "--out", str(tmp_path)]) == 2
    assert "holds a run already; resume it" in capsys.readouterr().err
    assert main(["toy", "show", str(tmp_path / "absent")]) == 2
    assert "expected a run folder" in capsys.readouterr().err
    assert main(["toy", "train", "moons", "--points", "50", "--out", str(tmp_path / "config.json" / "run")]) == 2
    assert "could not make the folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["toy"], ["toy", "train", "moons"], ["toy", "train", "moons", "--steps", "2.5", "--out", "x"]]
)
def test_what_does_not_parse_ends_with_exit_code_2(capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: cepkit" in capsys.readouterr().err
