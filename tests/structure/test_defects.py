"""The planted defects of tests/mutations still fit the code, and planting one shows that it is noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from defects import DEFECTS, Defect

FOLDER = Path(__file__).parents[1] / "mutations"


def test_there_are_forty_over_all_rooms():
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= 40
    rooms = {Path(defect.file).parts[1] for defect in DEFECTS}
    assert rooms >= {"diffusion", "truth", "learning", "course", "canvas", "lab", "debugger", "rl", "commands"}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_fits_the_code(defect):
    assert defect.planted() != (FOLDER.parents[1] / defect.file).read_text(encoding="utf-8")


def test_one_that_no_longer_fits_says_so(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    with pytest.raises(ValueError, match=r"^d: this defect no longer fits the code, rewrite it: its text is 2 times in a\.py"):
        Defect("d", "a.py", "x = 1", "x = 2", "", ()).planted(tmp_path)
    with pytest.raises(ValueError, match=r"rewrite it: there is no b\.py"):
        Defect("d", "a.py", "x", "y", "", ("b.py",)).planted(tmp_path)


@pytest.mark.slow
def test_a_planted_defect_is_noticed_by_the_script():
    done = subprocess.run([sys.executable, FOLDER / "run.py", "csv-column"], capture_output=True, text=True)
    assert done.returncode == 0 and "1 of 1 planted defects noticed" in done.stdout, done.stdout + done.stderr
