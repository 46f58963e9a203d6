"""The last line of a test run: what it did not test, each with the command that adds it.

A skipped test says so itself: its reason has the form ``what (command)``, such as "diffusers (pip install -e '.[images]')".
"""

from __future__ import annotations

from collections.abc import Iterable


def closing_line(reasons: Iterable[str], markers: str) -> str:
    """Join the distinct reasons of skipped tests and, where `markers` (pytest's -m) leaves them out, the slow tests."""
    parts = sorted({reason.removeprefix("Skipped: ") for reason in reasons})
    if "not slow" in markers:
        parts.append("slow tests (make test-all)")
    return f"Not tested here: {', '.join(parts)}" if parts else ""


def pytest_unconfigure(config) -> None:
    """Print the line below everything else."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(config, "workerinput") or config.option.collectonly or reporter is None:
        return
    skipped = reporter.stats.get("skipped", [])
    line = closing_line((report.longrepr[2] for report in skipped), config.option.markexpr)
    if line:
        reporter.write_line(line)
