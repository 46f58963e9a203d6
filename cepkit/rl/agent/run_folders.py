"""The folders of QGPO runs: where they are, and what they say of themselves."""

from dataclasses import dataclass
from pathlib import Path

from cepkit.learning.run import CONFIG, read_written
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.settings import Size, Steps


@dataclass(frozen=True)
class WrittenData:
    """What a run was trained on."""

    name: str
    sha256: str  # of the transitions


@dataclass(frozen=True)
class WrittenRun:
    """What config.json says, as `start_run` wrote it."""

    data: WrittenData
    state_dim: Size
    action_dim: Size
    save_every: Steps
    qgpo: QGPOConfig
    seeds: list[int] | None = None  # started together; runs of earlier versions do not say


def seed_folder(folder: Path, seed: int) -> Path:
    """The folder of the run of one seed."""
    return folder / f"seed-{seed}"


def run_folders(folder: str | Path) -> list[Path]:
    """The run folders in a folder, by rising seed, or the folder itself where it is one.

    Raises:
        ValueError: it is neither.
    """
    folder = Path(folder)
    if (folder / CONFIG).is_file():
        return [folder]
    found = [path.parent for path in folder.glob(f"seed-*/{CONFIG}") if path.parent.name.removeprefix("seed-").isdecimal()]
    if not found:
        raise ValueError(f"{folder}: expected a run folder, or a folder of runs seed-<n>, found none")
    return sorted(found, key=lambda path: int(path.name.removeprefix("seed-")))


def read_config(folder: Path) -> WrittenRun:
    """Read the config.json that `start_run` wrote.

    Raises:
        ValueError: no run there, or a file that does not read.
    """
    return read_written(folder, WrittenRun)
