"""A run of tests ends with one line on what it left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"
SUITE = """
import pytest

absent = pytest.importorskip("no_such_package", reason="no_such_package (pip install no_such_package)")
"""
OTHERS = """
import pytest

def test_passes():
    pass

@pytest.mark.parametrize("number", range(3))
def test_needs_a_browser(number):
    pytest.skip("the browser (apt-get install chromium)")

@pytest.mark.slow
def test_takes_long():
    pass
"""


@pytest.fixture
def last_line(tmp_path, monkeypatch):
    """last_line(*arguments): how pytest with these arguments ends in a small suite of its own."""
    (tmp_path / "conftest.py").write_text("from closing_line import pytest_unconfigure\n")
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nmarkers = slow\npythonpath = {HELPERS}\n")
    (tmp_path / "test_absent.py").write_text(SUITE)
    (tmp_path / "test_others.py").write_text(OTHERS)

    def run(*arguments):
        done = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        return done.stdout.splitlines()[-1]

    return run


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_it_names_what_was_skipped_and_left_out_with_the_command_that_adds_it(last_line, workers):
    absent = "no_such_package (pip install no_such_package), the browser (apt-get install chromium)"
    assert last_line("-m", "not slow", *workers) == f"Not tested here: {absent}, slow tests (make test-all)"


def test_slow_tests_are_named_only_where_they_were_left_out(last_line):
    assert last_line("test_others.py") == "Not tested here: the browser (apt-get install chromium)"


def test_a_run_that_tested_all_says_nothing(last_line):
    assert "1 passed" in last_line("test_others.py", "-k", "passes")
