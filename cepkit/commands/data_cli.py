"""The command line's part on data: `cepkit data list | info NAME | fetch NAME | verify NAME | make NAME`."""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from cepkit.rl.data import datasets
from cepkit.rl.data.catalogue import CATALOGUE, MAKERS
from cepkit.rl.data.downloads import check_recorded, read_record, sha256_of, write_record
from cepkit.rl.data.hdf5 import read_hdf5
from cepkit.rl.data.rewards import REWARD_CONVENTIONS
from cepkit.rl.data.scores import FAMILIES, REFERENCE_SCORES, family_of, normalized_score
from cepkit.rl.data.transitions import Transitions
from cepkit.validation import check_name

_QUANTILES = {"lowest": 0.0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "highest": 1.0}


def add_data_commands(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `cepkit data` its commands."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, name, words in (
        (_list, "list", "the names there are, and which are on this machine"),
        (_info, "info", "sizes, returns, scores, where it came from"),
        (_fetch, "fetch", "download one of D4RL's sets"),
        (_verify, "verify", "compare checksums and check every value"),
        (_make, "make", "make a set that ships, or more of its kind, on this machine"),
    ):
        command = commands.add_parser(name, help=words)
        command.set_defaults(run=run)
        command.add_argument("--folder", type=Path, help="of downloads (default $CEPKIT_DATA or ~/.cepkit/datasets)")
        if name == "list":
            command.add_argument("family", nargs="?", help=f"only this one of {', '.join(FAMILIES)}")
            command.add_argument("--here", action="store_true", help="only what is on this machine")
            continue
        command.add_argument("name", help="a name" if name in ("fetch", "make") else "a name, an HDF5 file or minari:ID")
        if name == "fetch":
            command.add_argument(
                "--from", dest="urls", action="append", metavar="URL", help="an address instead of the known ones"
            )
        if name == "make":
            command.add_argument("--out", type=Path, help="file to write (default: its place in the project, or the folder)")
            command.add_argument("--force", action="store_true", help="replace a file whose content differs")
            command.add_argument("--episodes", type=int, help="another number of them than ships; needs --out")


def _list(arguments: argparse.Namespace) -> int:
    if arguments.family is not None:
        check_name(arguments.family, FAMILIES, name="family")
    rows = [("name", "family", "transitions", "here")]
    for entry in CATALOGUE.values():
        path = datasets.find_file(entry.name, folder=arguments.folder)
        if (arguments.family in (None, entry.family)) and (path or not arguments.here):
            rows.append((entry.name, entry.family, f"{entry.transitions:,}" if entry.transitions else "", "yes" if path else ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, family, transitions, here in rows:
        print(f"{name:<{widths[0]}}  {family:<{widths[1]}}  {transitions:>{widths[2]}}  {here}".rstrip())
    print(f"\nDownloads are kept in {datasets.dataset_folder(arguments.folder)}")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    source = arguments.name
    named = source in CATALOGUE
    if named and datasets.find_file(source, folder=arguments.folder) is None:
        _print_absent(source)
        return 0
    transitions = datasets.load_dataset(source, folder=arguments.folder)
    lines = _describe(transitions)
    if named or datasets.is_path(source):
        lines |= _origin(datasets.find_file(source, folder=arguments.folder) if named else Path(source))
    _print_lines({"name": transitions.name} | lines)
    return 0


def _print_absent(name: str) -> None:
    entry = CATALOGUE[name]
    lines = {"name": name, "family": entry.family, "training rewards": REWARD_CONVENTIONS[entry.family]}
    if entry.transitions:
        lines["transitions"] = f"{entry.transitions:,} rows in the file, as told"
    if entry.shipped:
        make = f"make it with: cepkit data make {name}"
        lines["here"] = f"no; {make if name in MAKERS else 'it ships with the repository of the project'}"
    else:
        lines |= {"here": f"no; get it with: cepkit data fetch {name}", "source": "\n".join(datasets.mirrors(name))}
    _print_lines(lines)


def _describe(transitions: Transitions) -> dict[str, str]:
    family = family_of(transitions.name, otherwise="")
    returns = transitions.episode_returns.double()
    lines = {
        "family": family or "none known; training needs one",
        "transitions": f"{len(transitions):,}, of them {int(transitions.terminals.sum()):,} terminal",
        "observations": f"{transitions.observations.shape[1]} numbers",
        "actions": f"{transitions.actions.shape[1]} numbers",
        "episodes": f"{len(returns):,} finished",
    }
    if len(returns):
        marks = {word: float(returns.quantile(at)) for word, at in _QUANTILES.items()} | {"mean": float(returns.mean())}
        lines["returns"] = _marks(marks)
        if transitions.name in REFERENCE_SCORES:
            lines["scores"] = _marks({word: normalized_score(transitions.name, value) for word, value in marks.items()})
    lines["training rewards"] = REWARD_CONVENTIONS.get(family, "by the family it is trained as")
    lines["fingerprint"] = f"{transitions.fingerprint()} (SHA-256 of the transitions)"
    return lines


def _marks(values: dict[str, float]) -> str:
    return ", ".join(f"{word} {value:.4g}" for word, value in values.items())


def _origin(path: Path) -> dict[str, str]:
    entry = datasets.manifest().get(path.name, {}) if path.parent == datasets.SHIPPED_FOLDER else {}
    record = None if entry else read_record(path)
    source = str(entry.get("source", record.source if record else "a file of your own"))
    lines = {"file": f"{path}, {path.stat().st_size / 1e6:.1f} MB", "source": source, "SHA-256": sha256_of(path)}
    return lines | ({"licence": str(entry["licence"])} if "licence" in entry else {})


def _print_lines(lines: dict[str, str]) -> None:
    width = max(map(len, lines))
    for word, text in lines.items():
        first, *rest = text.splitlines()
        print(f"{word:<{width}}  {first}", *(f"{'':<{width}}  {line}" for line in rest), sep="\n")


def _fetch(arguments: argparse.Namespace) -> int:
    path = datasets.fetch(arguments.name, folder=arguments.folder, urls=arguments.urls)
    record = check_recorded(path)
    print(f"{path}\n{record.bytes / 1e6:.1f} MB, SHA-256 {record.sha256}\nfrom {record.source}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    source = arguments.name
    if not datasets.is_path(source) and source in CATALOGUE and datasets.find_file(source, folder=arguments.folder) is None:
        raise ValueError(
            f"{source}: expected its file on this machine, found none (cepkit data info {source} says how to get it)"
        )
    transitions = datasets.load_dataset(source, folder=arguments.folder)
    print(f"{source}: as recorded, {len(transitions):,} transitions, {len(transitions.episode_returns):,} finished episodes")
    return 0


def _make(arguments: argparse.Namespace) -> int:
    name, size = arguments.name, {}
    make, command = maker_of(name), f"cepkit data make {name}"
    if arguments.episodes is not None:
        if arguments.out is None:
            raise ValueError("--episodes: expected --out FILE with it, since a set of another size is not the one that ships")
        size, command = {"episodes": arguments.episodes}, f"{command} --episodes {arguments.episodes}"
    shipped = (datasets.SHIPPED_FOLDER / "manifest.json").is_file()
    target = arguments.out or (datasets.SHIPPED_FOLDER if shipped else datasets.dataset_folder(arguments.folder)) / f"{name}.hdf5"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=target.parent) as work:
        made = Path(work) / target.name
        make(made, **size)
        read_hdf5(made)
        digest = sha256_of(made)
        differs = target.exists() and sha256_of(target) != digest
        if differs and not arguments.force:
            came = f"SHA-256 {digest} came out (physics differ between machines)"
            ways = "write it elsewhere with --out, or replace the file with --force"
            raise ValueError(f"{target}: expected to make the same file again, but {came}; {ways}")
        os.replace(made, target)
    if target.parent != datasets.SHIPPED_FOLDER:
        write_record(target, command)
    said = datasets.manifest().get(f"{name}.hdf5", {}).get("sha256")
    verdict = (
        "not in data/manifest.json" if said is None else "as in data/manifest.json" if said == digest else "not the shipped one"
    )
    print(f"{target}\n{target.stat().st_size / 1e6:.1f} MB, SHA-256 {digest}, {verdict}")
    return 0


def maker_of(name: str) -> Callable[..., object]:
    """The function that makes a set, from `MAKERS`: it takes a path, and `episodes`.

    Raises:
        ValueError: no such set, or its maker is not part of this installation.
    """
    module, function = MAKERS[check_name(name, MAKERS, name="name")].split(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{name}: expected its maker {module}.{function}, which cannot be had here ({error})") from error
