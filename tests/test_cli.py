"""The command line as a user types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cepkit
from cepkit import doctor
from cepkit.cli import main

WINE = Path(__file__).parents[1] / "data" / "wine.csv"


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
        (["demo", "8gausians"], "name: expected one of 8gaussians"),
        (["demo", "--beta", "-1"], "beta: expected a finite number of at least 0"),
        (["demo", "nowhere.csv"], "x: expected a readable CSV file"),
        (["demo", "--samples", "0"], "n: expected an integer of at least 2"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, tmp_path, arguments, complaint):
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
