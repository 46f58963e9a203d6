"""Any data by one name: a set that ships, one of D4RL's, a file, a Minari set, or what the `d4rl` package reads.

"pointmaze-umaze"            ships in the project's folder data/, or is made by `cepkit data make`
"hopper-medium-v2"           D4RL's; downloaded on first use into ~/.cepkit/datasets, or $CEPKIT_DATA
"some/folder/mine.hdf5"      a file in D4RL's schema (`cepkit.rl.data.schema`)
"minari:mujoco/hopper/medium-v0"     a set that Minari has on this machine
"d4rl:hopper-medium-v2"      through the `d4rl` package, where it works
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cepkit.rl.data.catalogue import CATALOGUE, MAKERS, Entry, unknown_name
from cepkit.rl.data.checksums import check_recorded, check_same, write_record
from cepkit.rl.data.downloads import Progress, download, make_folder, one_at_a_time, progress_line
from cepkit.rl.data.hdf5 import read_hdf5
from cepkit.rl.data.minari_bridge import PREFIX as MINARI
from cepkit.rl.data.minari_bridge import load_minari
from cepkit.rl.data.scores import family_of
from cepkit.rl.data.transitions import Transitions, qlearning_transitions
from cepkit.validation import import_extra

D4RL = "d4rl:"
HOSTS = (
    "http://rail.eecs.berkeley.edu/datasets/offline_rl/{file}",
    "https://huggingface.co/datasets/imone/D4RL/resolve/main/{base}",
)
SHIPPED_FOLDER = Path(__file__).parents[3] / "data"  # of a checkout; an installed wheel has none
_SUFFIXES = (".hdf5", ".h5")


def load_dataset(source: str | Path, *, folder: Path | None = None) -> Transitions:
    """The transitions of a data set, with D4RL's `qlearning_dataset` semantics.

    Args:
        source: a name, a path or a prefixed name, see the module's text.
        folder: where downloads are kept; by default $CEPKIT_DATA or ~/.cepkit/datasets. A download is announced on stderr.

    Returns:
        The transitions; their name is the catalogue's where the data set has one, otherwise the file's stem or the Minari id
        with its prefix.

    Raises:
        ValueError: an unknown name (with the nearest), content outside the schema, no finished episode, a changed checksum, a
            package that is not installed.
        OSError: no host gave the file, the folder cannot be written, or the disk is full.
    """
    if isinstance(source, str) and source.startswith(MINARI):
        transitions = load_minari(source.removeprefix(MINARI))
    elif isinstance(source, str) and source.startswith(D4RL):
        transitions = _from_d4rl(source.removeprefix(D4RL))
    else:
        path = checked_file(source, folder=folder)
        transitions = qlearning_transitions(read_hdf5(path), name=name_of(source))
    where = str(source)
    # maze2d is one long walk from goal to goal, so an excerpt may lack an end; nothing about it needs one.
    if not len(transitions.episode_returns) and family_of(transitions.name, otherwise="") != "maze2d":
        raise ValueError(f"{where}: terminals, timeouts: expected at least one finished episode, got none")
    if not len(transitions):
        raise ValueError(f"{where}: observations: expected at least one transition, got none (every step was dropped)")
    return transitions


def is_path(source: str | Path) -> bool:
    """Whether `source` is meant as a file: a Path, or text with a separator or the suffix of HDF5."""
    if isinstance(source, Path):
        return True
    return not source.startswith((MINARI, D4RL)) and (source.endswith(_SUFFIXES) or "/" in source or os.sep in source)


def name_of(source: str | Path) -> str:
    """The catalogue's name of a source; for a file that is not in it, its stem."""
    if not is_path(source):
        return str(source).removeprefix(D4RL)
    stem = Path(source).stem
    officially = {Path(entry.file).stem: entry.name for entry in CATALOGUE.values() if entry.file}
    return stem if stem in CATALOGUE else officially.get(stem, stem)


def entry_of(name: str) -> Entry:
    """What the catalogue knows of a name.

    Raises:
        ValueError: an unknown name, with the nearest.
    """
    if name not in CATALOGUE:
        raise unknown_name(name)
    return CATALOGUE[name]


def dataset_folder(folder: str | Path | None = None) -> Path:
    """Where downloads are kept: `folder`, else $CEPKIT_DATA, else ~/.cepkit/datasets."""
    if folder is not None:
        return Path(folder)
    told = os.environ.get("CEPKIT_DATA")
    return Path(told).expanduser() if told else Path.home() / ".cepkit" / "datasets"


def find_file(name: str, *, folder: str | Path | None = None) -> Path | None:
    """The file of a named data set on this machine, or None. A file put there by hand may keep the official name."""
    entry, kept = entry_of(name), dataset_folder(folder)
    places = [kept / f"{name}.hdf5"]
    places.insert(0, SHIPPED_FOLDER / f"{name}.hdf5") if entry.shipped else places.append(kept / Path(entry.file).name)
    return next((path for path in places if path.is_file()), None)


def manifest() -> dict[str, dict[str, object]]:
    """The entries of data/manifest.json by file name; empty without a checkout."""
    path = SHIPPED_FOLDER / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def checked_file(source: str | Path, *, folder: str | Path | None = None) -> Path:
    """The file of a data set, checksum compared, downloaded if it is D4RL's and not here.

    A file of one's own outside the folder has no record and is not compared.

    Raises:
        ValueError, OSError: as `load_dataset`.
    """
    if is_path(source):
        return Path(source)
    path = find_file(source, folder=folder)
    if path is None:
        if not entry_of(source).shipped:
            return fetch(source, folder=folder)
        wanted = SHIPPED_FOLDER / f"{source}.hdf5"
        how = f"make it with: cepkit data make {source}" if source in MAKERS else "take it from the project's repository"
        raise ValueError(f"{source}: expected its file {wanted}, which ships with the project's repository, found none; {how}")
    if path.parent == SHIPPED_FOLDER:
        said = manifest().get(path.name, {}).get("sha256")
        if said:
            check_same(path, str(said), "in data/manifest.json")
    else:
        check_recorded(path)
    return path


def mirrors(name: str) -> tuple[str, ...]:
    """The addresses of one of D4RL's files: the official host, then the copy on Hugging Face.

    Raises:
        ValueError: an unknown name, or a set that ships and has no address.
    """
    entry = entry_of(name)
    if entry.shipped:
        raise ValueError(f"{name}: expected one of D4RL's names; this set ships with the project and is not downloaded")
    return tuple(host.format(file=entry.file, base=Path(entry.file).name) for host in HOSTS)


def fetch(
    name: str,
    *,
    folder: str | Path | None = None,
    urls: Sequence[str] | None = None,
    progress: Progress | None = None,
    timeout: float = 30.0,
) -> Path:
    """Download one of D4RL's files, unless it is here; announce it on stderr, check it and record its SHA-256.

    Args:
        name: one of D4RL's.
        folder: where to keep it, see `dataset_folder`.
        urls: addresses instead of `mirrors(name)`.
        progress: called with bytes so far and bytes in all; by default a line on a terminal.
        timeout: seconds without an answer after which a host counts as down.

    Returns:
        The path of the file.

    Raises:
        ValueError, OSError: as `load_dataset`.
    """
    addresses = tuple(urls) if urls is not None else mirrors(name)
    here = find_file(name, folder=folder)
    if here is not None:
        check_recorded(here)
        return here
    import_extra("h5py")  # before the download rather than after it
    path = dataset_folder(folder) / f"{name}.hdf5"
    make_folder(path)
    with one_at_a_time(path.parent):
        if (here := find_file(name, folder=folder)) is not None:  # another run has fetched it meanwhile
            check_recorded(here)
            return here
        print(f"Downloading {name} into {path.parent}", file=sys.stderr)
        told = progress or progress_line()
        source = download(addresses, path, check=lambda part: read_hdf5(part, content=False), progress=told, timeout=timeout)
        write_record(path, source)
    return path


def _from_d4rl(name: str) -> Transitions:
    """Through the `d4rl` package, which keeps its own downloads."""
    try:
        import d4rl  # noqa: F401, registers the environments
        import gym
    except ImportError as error:
        hint = "it needs mujoco-py; the plain name needs neither"
        raise ValueError(f"d4rl: expected the packages gym and d4rl for {D4RL}{name}, but {error} ({hint}: {name})") from error
    try:
        env = gym.make(name)
        raw, limit = env.get_dataset(), getattr(env, "_max_episode_steps", None)
    except Exception as error:  # whatever mujoco-py, gym or the old downloads raise
        raise ValueError(
            f"{D4RL}{name}: the d4rl package could not read it ({type(error).__name__}: {error}); try {name}"
        ) from error
    return qlearning_transitions(raw, name=name, max_episode_steps=limit)
