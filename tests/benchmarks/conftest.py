"""Collects one row per measurement and prints them as one table, met or not; also written to build/bench.md."""

from pathlib import Path

import pytest

ROWS = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[ROWS] = []
    config.option.benchmark_quiet = True  # our table stands in for the plugin's


@pytest.fixture
def row(request):
    """row(what, bar, measured, met): adds a line to the table."""

    def add(what, bar, measured, met):
        request.config.stash[ROWS].append((what, bar, measured, "yes" if met else "**no**"))

    return add


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash[ROWS]
    if not rows:
        return
    lines = ["| what | bar | measured | met? |", "|---|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows)]
    table = "\n".join(lines)
    path = Path(__file__).parents[2] / "build" / "bench.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(table + "\n")
    terminalreporter.write_line("")
    terminalreporter.write_line(table)
    terminalreporter.write_line(f"\n{sum(row[3] == 'yes' for row in rows)} of {len(rows)} bars met; written to {path}")
