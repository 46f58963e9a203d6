"""The hand-written scripts, joined into one module: no build step, and the same text in a notebook and in a saved page."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent / "js"


def script(*names: str) -> str:
    """These files of `js/`, one after the other, as the text of one ES module."""
    return "\n".join((_HERE / f"{name}.js").read_text(encoding="utf-8") for name in names)


def style(*names: str) -> str:
    """These style sheets of `js/`, one after the other."""
    return "\n".join((_HERE / f"{name}.css").read_text(encoding="utf-8") for name in names)
