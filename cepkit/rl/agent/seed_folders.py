"""Where runs are: a folder of folders seed-<n>, one for each seed, or the folder of a single run."""

from __future__ import annotations

from pathlib import Path

_CONFIG = "config.json"


def seed_folder(folder: Path, seed: int) -> Path:
    """The folder of the run of one seed."""
    return folder / f"seed-{seed}"


def run_folders(folder: str | Path) -> list[Path]:
    """The run folders in a folder, by rising seed, or the folder itself where it is one.

    Raises:
        ValueError: it is neither.
    """
    folder = Path(folder)
    if (folder / _CONFIG).is_file():
        return [folder]
    found = [path.parent for path in folder.glob(f"seed-*/{_CONFIG}") if path.parent.name.removeprefix("seed-").isdecimal()]
    if not found:
        raise ValueError(f"{folder}: expected a run folder, or a folder of runs seed-<n>, found none")
    return sorted(found, key=lambda path: int(path.name.removeprefix("seed-")))
