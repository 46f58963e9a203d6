"""The checks for a GPU are sound: on a CPU and at small sizes they pass."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_gpu_checks_pass_when_rehearsed_on_a_cpu():
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"CEPKIT_DEVICE": "cpu"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "steps a second" in done.stdout and "skipped" not in done.stdout
