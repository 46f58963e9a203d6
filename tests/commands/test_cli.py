"""The command line as a whole, `cepkit doctor` and `cepkit demo`."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from dataset_files import small_raw, write

import cepkit
from cepkit.commands import doctor
from cepkit.commands.cli import COMMANDS, main

WINE = Path(__file__).parents[2] / "data" / "wine.csv"


def test_help_and_version_answer_at_once_without_torch():
    code = (
        "import sys\nfrom cepkit.commands.cli import main\n"
        "print([main(words) for words in (['--help'], ['toy', '-h'], ['--version'])], 'torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert shown.endswith(f"cepkit {cepkit.__version__}\n[0, 0, 0] False\n")


def test_every_command_explains_itself(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            main([*name.split(), "--help"])
        shown = capsys.readouterr().out
        assert f"usage: cepkit {name}" in shown and "show this help" in shown
        assert shown.isascii() or not {"│", "─", "\x1b"} & set(shown), "plain text for a pipe"


@pytest.mark.parametrize(
    ("arguments", "near"), [(["trian"], "did you mean 'train'?"), (["toy", "trian", "moons"], "did you mean 'toy train'?")]
)
def test_an_unknown_command_is_named_with_the_nearest(capsys, arguments, near):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("cepkit: command: expected one of") and near in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["toy", "train", "moons"], "--out"),
        (["toy", "train", "moons", "--out", "x", "--step", "2"], "--steps"),
        (["toy", "train", "moons", "--out", "x", "--steps", "2.5"], "'2.5'"),
        (["eval"], "FOLDER"),
    ],
)
def test_options_that_do_not_parse_end_with_exit_code_2(capsys, arguments, complaint):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_without_a_command_the_commands_are_shown(capsys):
    assert main([]) == 2 and "usage: cepkit" in capsys.readouterr().err
    assert main(["data"]) == 2 and "data fetch" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m cepkit data list | head -1"
    shown = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("name") and shown.stderr == ""


def test_doctor_names_every_part_and_the_command_that_adds_what_is_absent(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "find_browser", lambda: None)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for part in ("python", "torch", "device", "jupyterlab", "mujoco", "pooch", "diffusers", "gym", "d4rl", "chromium"):
        assert any(part in line for line in lines)
    absent = [line for line in lines if line.startswith("absent")]
    assert any("chromium" in line for line in absent) and all("add it with: " in line for line in absent)


def test_doctor_exits_with_an_error_when_the_base_is_broken(capsys, monkeypatch):
    monkeypatch.setitem(doctor.PACKAGES, next(iter(doctor.PACKAGES)), ("torch", "no-such-package"))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BROKEN  no-such-package" in out and "The base is broken: no-such-package." in out


def test_doctor_reports_a_package_that_does_not_import(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert main(["doctor"]) == 1
    assert "BROKEN  safetensors        does not import: " in capsys.readouterr().out


def test_demo_prints_the_table_and_writes_one_self_contained_page(capsys, tmp_path):
    data, out = tmp_path / "<b>wine.csv", tmp_path / "new" / "page"
    data.write_bytes(WINE.read_bytes())
    assert main(["demo", str(data), "--beta", "2", "--samples", "60", "--out", str(out)]) == 0
    printed, page = capsys.readouterr().out, (out / "index.html").read_text(encoding="utf-8")
    assert "wine, beta = 2" in printed and printed.endswith(f"Pictures: {out / 'index.html'}\n")
    assert page.count("data:image/png;base64,") == 2 and "http" not in page and page.count("&lt;b&gt;wine") >= 2
    assert all(name in page for name in ("exact", "mean energy", "DPS", "LGD-MC", "no guidance", "two exact sets"))


def test_the_demo_replaces_no_file_of_the_users(capsys, tmp_path):
    for name in ("index.html", "samples.png"):
        (tmp_path / name).write_text("mine")
        assert main(["demo", "moons", "--samples", "50", "--out", str(tmp_path)]) == 2
        assert f"but {tmp_path / name} is none" in capsys.readouterr().err and (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


def test_missing_memory_is_one_line(capsys):
    assert main(["demo", "moons", "--samples", "1000000000000"]) == 2
    assert capsys.readouterr().err.startswith("cepkit: the memory of this machine is too small")


def test_a_note_of_the_library_is_one_line_too(capsys, tmp_path):
    raw = small_raw()
    path = write(tmp_path / "mine.hdf5", raw | {"next_observations": raw["observations"]})
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["data", "info", str(path)]) == 0
    assert capsys.readouterr().err.startswith(
        f"note: {path}: next_observations: 57 of 57 differ from the observation of the next"
    )


def test_doctor_says_when_fewer_threads_are_faster(capsys, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    main(["doctor"])
    assert "2 thread(s); OMP_NUM_THREADS=1, set before Python starts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["8gausians"], "toy: expected one of 8gaussians"),
        (["--beta", "-1"], "beta: expected a finite number of at least 0"),
        (["nowhere.csv"], "x: expected a readable CSV file"),
        (["--samples", "0"], "n: expected an integer of at least 2"),
    ],
)
def test_a_mistake_in_the_demo_is_one_line_and_exit_code_2(capsys, tmp_path, arguments, complaint):
    assert main(["demo", *arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
