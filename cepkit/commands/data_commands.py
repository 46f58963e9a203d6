"""`cepkit data list | info NAME | fetch NAME | make NAME`: datasets for offline reinforcement learning."""

import importlib
import os
import tempfile
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from cepkit.commands.options import optional
from cepkit.rl.data import datasets
from cepkit.rl.data.catalogue import CATALOGUE, MAKERS, Entry
from cepkit.rl.data.downloads import check_recorded, read_record, sha256_of, write_record
from cepkit.rl.data.hdf5 import read_hdf5
from cepkit.rl.data.rewards import REWARD_CONVENTIONS
from cepkit.rl.data.scores import REFERENCE_SCORES, family_of, normalized_score
from cepkit.rl.data.transitions import Transitions
from cepkit.validation import check_name

_QUANTILES = {"lowest": 0.0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "highest": 1.0}
Name = Annotated[Positional[str], arg(metavar="NAME", help="a name (`cepkit data list`)")]
Urls = Annotated[UseAppendAction[tuple[str, ...]], arg(name="from", metavar="URL", help="an address instead of the known ones")]
Source = Annotated[Positional[str], arg(metavar="NAME", help="a name (`cepkit data list`), an HDF5 file or minari:ID")]


def list_names() -> None:
    """List the datasets that have a name, and which of them are on this machine."""
    print(f"{'name':<30}  {'family':<10}  {'transitions':>11}  here")
    for entry in CATALOGUE.values():
        size = f"{entry.transitions:,}" if entry.transitions else ""
        here = "yes" if datasets.find_file(entry.name) else ""
        print(f"{entry.name:<30}  {entry.family:<10}  {size:>11}  {here}".rstrip())
    print(f"\nDownloads are kept in {datasets.dataset_folder()}")


def info(source: Source) -> None:
    """Describe a dataset, after comparing its checksum with the recorded one and checking every value; nothing is downloaded."""
    path = Path(source) if datasets.is_path(source) else None
    if source in CATALOGUE:
        path = datasets.find_file(source)
    if source in CATALOGUE and path is None:
        lines = _absent(CATALOGUE[source])
    else:
        lines = _description(datasets.load_dataset(source)) | (_origin(path) if path else {})
    for word, text in lines.items():
        print(f"{word:<18}" + text.replace("\n", "\n" + " " * 18))


def _absent(entry: Entry) -> dict[str, str]:
    how = f"no; get it with: cepkit data {'make' if entry.shipped else 'fetch'} {entry.name}"
    if entry.shipped and entry.name not in MAKERS:
        how = "no; it ships with the repository of the project"
    size = "not known before it is here" if entry.transitions is None else f"{entry.transitions:,} rows, as reported elsewhere"
    return {"name": entry.name, "family": entry.family, "transitions": size, "here": how}


def _description(transitions: Transitions) -> dict[str, str]:
    family = family_of(transitions.name, otherwise="")
    returns = transitions.episode_returns.double()
    lines = {
        "name": transitions.name,
        "family": family or "none known; training needs one",
        "transitions": f"{len(transitions):,}, of them {int(transitions.terminals.sum()):,} terminal",
        "observations": f"{transitions.observations.shape[1]} numbers",
        "actions": f"{transitions.actions.shape[1]} numbers",
        "episodes": f"{len(returns):,} finished",
        "training rewards": REWARD_CONVENTIONS.get(family, "by the family it is trained as"),
        "fingerprint": f"{transitions.fingerprint()} (SHA-256 of the transitions)",
    }
    if len(returns):
        marks = {word: float(returns.quantile(at)) for word, at in _QUANTILES.items()} | {"mean": float(returns.mean())}
        lines["returns"] = ", ".join(f"{word} {value:.4g}" for word, value in marks.items())
        if transitions.name in REFERENCE_SCORES:
            scores = {word: normalized_score(transitions.name, value) for word, value in marks.items()}
            lines["scores"] = ", ".join(f"{word} {value:.4g}" for word, value in scores.items())
    return lines


def _origin(path: Path) -> dict[str, str]:
    entry = datasets.manifest().get(path.name) if path.parent == datasets.SHIPPED_FOLDER else None
    known = entry or read_record(path)
    source = known.source if known else "a file of your own"
    lines = {"file": f"{path}, {path.stat().st_size / 1e6:.1f} MB", "source": source, "SHA-256": sha256_of(path)}
    return lines | ({"licence": entry.licence} if entry and entry.licence else {})


def fetch(name: Name, urls: Urls = ()) -> None:
    """Download one of D4RL's datasets, unless it is here."""
    path = datasets.fetch(name, urls=urls or None)
    record = check_recorded(path)
    print(f"{path}\n{record.bytes / 1e6:.1f} MB, SHA-256 {record.sha256}\nfrom {record.source}")


def make(name: Name, out: optional(Path, "FILE", "its place in the project, or the folder of downloads") = None) -> None:
    """Make a dataset that ships on this machine, and compare it with the one that ships.

    Args:
        out: file to write
    """
    module, function = MAKERS[check_name(name, MAKERS, name="name")].split(":")
    shipped = (datasets.SHIPPED_FOLDER / "manifest.json").is_file()
    target = out or (datasets.SHIPPED_FOLDER if shipped else datasets.dataset_folder()) / f"{name}.hdf5"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=target.parent) as work:
        made = Path(work) / target.name
        getattr(importlib.import_module(module), function)(made)
        read_hdf5(made)
        digest = sha256_of(made)
        if target.exists() and sha256_of(target) != digest:
            other = f"SHA-256 {digest} came out (physics differ between machines)"
            raise ValueError(f"{target}: expected to make the same file again, but {other}; choose another --out, or remove it")
        os.replace(made, target)
    if target.parent != datasets.SHIPPED_FOLDER:
        write_record(target, f"cepkit data make {name}")
    entry = datasets.manifest().get(f"{name}.hdf5")
    verdict = ("as" if entry.sha256 == digest else "not as") if entry else "not"
    print(f"{target}\n{target.stat().st_size / 1e6:.1f} MB, SHA-256 {digest}, {verdict} in data/manifest.json")
