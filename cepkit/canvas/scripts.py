"""Join hand-written scripts or style sheets into one text, the same in a notebook and in a saved page."""

from pathlib import Path

_SHARED = Path(__file__).parent / "js"


def joined(folder: Path, *names: str) -> str:
    """These files of `folder`, or else of the shared scripts, one after the other: "draw.js", "lab.js" make one ES module."""
    paths = [folder / name if (folder / name).is_file() else _SHARED / name for name in names]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)
