"""Join hand-written scripts and style sheets into one text: the same text in a notebook and in a saved page."""

from __future__ import annotations

from pathlib import Path

_SHARED = Path(__file__).parent / "js"


def script(folder: Path, *names: str) -> str:
    """These files of `folder`, or else of the shared ones, one after the other, as the text of one ES module."""
    return _joined(folder, "js", names)


def style(folder: Path, *names: str) -> str:
    """These style sheets, likewise."""
    return _joined(folder, "css", names)


def _joined(folder: Path, kind: str, names: tuple[str, ...]) -> str:
    paths = [next(home / f"{name}.{kind}" for home in (folder, _SHARED) if (home / f"{name}.{kind}").is_file()) for name in names]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)
