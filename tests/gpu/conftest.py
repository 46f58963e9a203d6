"""The checks that need a GPU; without CUDA they are skipped by name. `CEPKIT_DEVICE=cpu` rehearses them at small sizes."""

import os
import time
from pathlib import Path

import pytest
import torch

ROWS = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[ROWS] = []


@pytest.fixture(scope="session")
def device():
    name = os.environ.get("CEPKIT_DEVICE", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("the GPU (make gpu, on a machine with CUDA)")
    return torch.device(name)


@pytest.fixture(scope="session")
def full(device):
    """Whether to measure at full size."""
    return device.type == "cuda"


@pytest.fixture
def row(request):
    """row(what, measured): adds a line to the table in build/gpu.md."""
    return lambda what, measured: request.config.stash[ROWS].append((what, measured))


@pytest.fixture
def seconds(device):
    """seconds(action): how long it takes, the device's queue emptied before and after."""

    def synchronize():
        if device.type == "cuda":
            torch.cuda.synchronize()

    def measure(action):
        synchronize()
        start = time.perf_counter()
        action()
        synchronize()
        return time.perf_counter() - start

    return measure


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash[ROWS]
    if not rows:
        return
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU, a rehearsal"
    lines = [f"{card}, torch {torch.__version__}", "", "| what | measured |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    path = Path(__file__).parents[2] / "build" / "gpu.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    terminalreporter.write_line("\n" + "\n".join(lines))
