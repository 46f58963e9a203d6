"""Any dataset by one name: one that ships, one of D4RL's, a file, one of Minari's, or one read by the `d4rl` package.

"pointmaze-umaze"            ships in the project's folder data/
"hopper-medium-v2"           D4RL's; downloaded on first use into ~/.cepkit/datasets, or $CEPKIT_DATA
"some/folder/mine.hdf5"      a file in D4RL's schema (`cepkit.rl.data.hdf5`)
"minari:mujoco/hopper/medium-v0"     a dataset that Minari has on this machine
"d4rl:hopper-medium-v2"      through the `d4rl` package, where it works
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cepkit.learning.checkpoints import read_json
from cepkit.rl.data.catalogue import CATALOGUE, MAKERS, entry_of
from cepkit.rl.data.downloads import check_recorded, check_same, download, write_record
from cepkit.rl.data.hdf5 import read_hdf5
from cepkit.rl.data.minari_bridge import PREFIX as MINARI
from cepkit.rl.data.minari_bridge import load_minari
from cepkit.rl.data.scores import family_of
from cepkit.rl.data.transitions import Transitions, qlearning_transitions
from cepkit.validation import import_extra

D4RL = "d4rl:"
HOSTS = (
    "https://rail.eecs.berkeley.edu/datasets/offline_rl/{file}",
    "https://huggingface.co/datasets/imone/D4RL/resolve/main/{base}",
)
SHIPPED_FOLDER = Path(__file__).parents[3] / "data"  # of a checkout; an installed wheel has none
_SUFFIXES = (".hdf5", ".h5", ".hdf")


def load_dataset(source: str | Path, *, folder: Path | None = None) -> Transitions:
    """The transitions of a dataset, with D4RL's `qlearning_dataset` semantics.

    Args:
        source: a name, a path or a prefixed name, see the module's text.
        folder: where downloads are kept; by default $CEPKIT_DATA or ~/.cepkit/datasets. A download is announced on stderr.

    Returns:
        The transitions; their name is the catalogue's, or else the file's stem or the Minari id with its prefix.

    Raises:
        ValueError: an unknown name (with the nearest), content outside the schema, no finished episode, a changed checksum, a
            package that is not installed.
        OSError: no host gave the file, the folder cannot be written, or the disk is full.
    """
    where = str(source)
    if where.startswith(MINARI):
        transitions = load_minari(where.removeprefix(MINARI))
    elif where.startswith(D4RL):
        transitions = _from_d4rl(where.removeprefix(D4RL))
    else:
        path = checked_file(source, folder=folder)
        transitions = qlearning_transitions(read_hdf5(path), name=name_of(source))
    # maze2d is one long walk from goal to goal, so an excerpt may lack an end; nothing about it needs one.
    if not len(transitions.episode_returns) and family_of(transitions.name, otherwise="") != "maze2d":
        raise ValueError(f"{where}: terminals, timeouts: expected at least one finished episode, got none")
    if not len(transitions):
        raise ValueError(f"{where}: observations: expected at least one transition, got none (every step was dropped)")
    return transitions


def is_path(source: str | Path) -> bool:
    """Whether `source` is meant as a file: a Path, or text with a separator or the suffix of HDF5, or the name of a file here."""
    if isinstance(source, Path):
        return True
    if source in CATALOGUE or source.startswith((MINARI, D4RL)):
        return False
    return source.lower().endswith(_SUFFIXES) or "/" in source or os.sep in source or os.path.isfile(source)


def name_of(source: str | Path) -> str:
    """The catalogue's name of a source; for a file that is not in it, its stem."""
    if not is_path(source):
        return str(source).removeprefix(D4RL)
    stem = Path(source).stem
    official = {Path(entry.file).stem: entry.name for entry in CATALOGUE.values() if entry.file}
    return stem if stem in CATALOGUE else official.get(stem.replace("-v1-sparse", "-sparse-v1"), stem)  # both are in use


def dataset_folder(folder: str | Path | None = None) -> Path:
    """The folder of downloads: `folder`, else $CEPKIT_DATA, else ~/.cepkit/datasets."""
    return Path(folder or os.environ.get("CEPKIT_DATA") or "~/.cepkit/datasets").expanduser()


def find_file(name: str, *, folder: str | Path | None = None) -> Path | None:
    """The file of a named dataset on this machine, or None. A file put there by hand may keep the official name."""
    entry, kept = entry_of(name), dataset_folder(folder)
    places = [kept / f"{name}.hdf5", kept / Path(entry.file).name]
    shipped = [SHIPPED_FOLDER / f"{name}.hdf5"] if entry.shipped else []
    return next((path for path in shipped + places if path.is_file()), None)


@dataclass(frozen=True)
class ShippedFile:
    """What data/manifest.json says of a file."""

    sha256: str  # in hex
    source: str = ""  # where it comes from, in words
    licence: str = ""


def manifest() -> dict[str, ShippedFile]:
    """The entries of data/manifest.json by file name; empty without a checkout, a ValueError if it does not read."""
    path = SHIPPED_FOLDER / "manifest.json"
    return read_json(path, dict[str, ShippedFile]) if path.is_file() else {}


def checked_file(source: str | Path, *, folder: str | Path | None = None) -> Path:
    """The file of a dataset, its checksum compared; downloaded if it is D4RL's and not here.

    A file given by its path has no record and is not compared. Errors are those of `load_dataset`.
    """
    if is_path(source):
        path = Path(source)
        if not path.exists() and family_of(f"{MINARI}{source}", otherwise=""):
            raise ValueError(f"{source}: expected a file or a name, got an id that looks like Minari's; write {MINARI}{source}")
        return path
    path = find_file(source, folder=folder)
    if path is None:
        if not entry_of(source).shipped:
            return fetch(source, folder=folder)
        how = f"make it with: cepkit data make {source}" if source in MAKERS else "take it from the project's repository"
        wanted = f"{SHIPPED_FOLDER / source}.hdf5, which ships with the project's repository"
        raise ValueError(f"{source}: expected its file {wanted}, found none; {how}")
    if path.parent != SHIPPED_FOLDER:
        check_recorded(path)
    elif known := manifest().get(path.name):
        check_same(path, known.sha256, "in data/manifest.json")
    return path


def mirrors(name: str) -> tuple[str, ...]:
    """The addresses of one of D4RL's files: the official host, then the copy on Hugging Face.

    Raises:
        ValueError: an unknown name, or a dataset that ships and has no address.
    """
    entry = entry_of(name)
    if entry.shipped:
        raise ValueError(f"{name}: expected one of D4RL's names; this dataset ships with the project and is not downloaded")
    return tuple(host.format(file=entry.file, base=Path(entry.file).name) for host in HOSTS)


def fetch(name: str, *, folder: str | Path | None = None, urls: Sequence[str] | None = None) -> Path:
    """Download one of D4RL's files, unless it is here; announce it on stderr, check it, record its SHA-256, return its path.

    It is kept in `dataset_folder(folder)`; `urls` are addresses instead of `mirrors(name)`. Errors are those of `load_dataset`.
    """
    urls = mirrors(name) if urls is None else urls
    path = find_file(name, folder=folder)
    if path is not None:
        check_recorded(path)
        return path
    import_extra("h5py")  # before the download rather than after it
    path = dataset_folder(folder) / f"{name}.hdf5"
    print(f"Downloading {name} into {path.parent}", file=sys.stderr)
    write_record(path, download(urls, path, check=read_hdf5))
    return path


def _from_d4rl(name: str) -> Transitions:
    """Through the `d4rl` package, which keeps its own downloads."""
    try:
        import d4rl  # noqa: F401, registers the environments
        import gym

        env = gym.make(name)
        raw, limit = env.get_dataset(), getattr(env, "_max_episode_steps", None)
    except Exception as error:  # it is not installed, or whatever mujoco-py, gym and the old downloads raise
        reason = f"but {type(error).__name__}: {error}; the plain name {name} needs none of them"
        raise ValueError(f"{D4RL}{name}: expected to read it by the packages gym, d4rl and mujoco-py, {reason}") from error
    return qlearning_transitions(raw, name=name, max_episode_steps=limit)
