"""From what a user types to a configuration, and what is written down so that a run can be made again.

The settings of a run are those of a preset, then of a JSON file, then of single `key=value` pairs, each over the one before.
The preset follows from the family of the data. `origin.json` in a run folder keeps what the configuration does not say:

    source       the data set as it was asked for, so that a resumed run finds it again
    file         where it was found, and its SHA-256 as a file
    preset       the settings it started from
    seeds        of the runs that were started together
    started      one entry for the start and for each time the run was taken up: command line, UTC time, versions, device
"""

from __future__ import annotations

import dataclasses
import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from cepkit import __version__
from cepkit.learning.checkpoints import read_json, write_atomically
from cepkit.rl.agent.qgpo_config import PRESETS, QGPOConfig
from cepkit.rl.data import datasets
from cepkit.rl.data.downloads import sha256_of
from cepkit.rl.data.minari_bridge import PREFIX as MINARI
from cepkit.rl.data.scores import FAMILIES, family_of
from cepkit.validation import check_keys, check_name

ORIGIN = "origin.json"
_PRESET_OF_NAME = {"halfcheetah-small-replay": "halfcheetah-small"}
_PRESET_OF_FAMILY = {"maze": "maze", "locomotion": "locomotion", "antmaze": "antmaze"}
_WORDS = {"true": True, "false": False}


def source_name(source: str) -> str:
    """The name a data set will have, without loading it.

    Raises:
        ValueError: neither a path, a Minari id nor a known name; the nearest names are suggested.
    """
    if source.startswith(MINARI):
        return source
    name = datasets.name_of(source)
    if not datasets.is_path(source):
        datasets.entry_of(name)
    return name


def choose_config(
    name: str, *, preset: str | None = None, family: str | None = None, settings: Mapping[str, object] | None = None
) -> tuple[str, QGPOConfig]:
    """The preset and the configuration for a data set.

    Args:
        name: of the data set, see `source_name`.
        preset: one of `PRESETS`; by default that of the name or of its family.
        family: how rewards are rescaled; by default that of the name, and for a file of one's own that of the preset.
        settings: what differs from the preset, by the keys of `QGPOConfig`.

    Raises:
        ValueError: neither name, preset nor family decides; an unknown key (by name) or a value out of range.
    """
    settings = dict(settings or {})
    check_keys(settings, QGPOConfig, name="config")
    known = family_of(name, otherwise="") or None
    family = family or settings.get("family") or known
    if family is not None:
        check_name(family, FAMILIES, name="family")
    if preset is None:
        if family is None:
            raise ValueError(
                f"{name}: expected --preset ({', '.join(PRESETS)}) or --family ({', '.join(FAMILIES)}) for a data set that is "
                "not in the catalogue, got neither"
            )
        preset = _PRESET_OF_NAME.get(name) or _PRESET_OF_FAMILY.get(family)
        if preset is None:
            raise ValueError(f"{name}: expected --preset, since the family {family} has none of its own: {', '.join(PRESETS)}")
    base = QGPOConfig.preset(preset)
    settings["family"] = family or base.family
    return preset, QGPOConfig.from_dict(base.to_dict() | settings)


def read_settings(path: Path) -> dict[str, object]:
    """The settings in a JSON file: an object with keys of `QGPOConfig`, or the config.json of a run folder.

    Raises:
        ValueError: no such file, one that is no JSON object, or an unknown key.
    """
    if not path.is_file():
        raise ValueError(f"--config: expected a JSON file, found none at {path}")
    found = read_json(path)
    if isinstance(found, dict) and "qgpo" in found:
        found = found["qgpo"]
    check_keys(found, QGPOConfig, name=str(path))
    return dict(found)


def read_pairs(pairs: Sequence[str]) -> dict[str, object]:
    """`key=value` pairs as settings. Values are JSON (3e-4, true, [512, 256]), plain words, or numbers between commas.

    Raises:
        ValueError: a pair without "=", or an unknown key.
    """
    settings: dict[str, object] = {}
    sequences = {entry.name for entry in dataclasses.fields(QGPOConfig) if isinstance(entry.default, tuple)}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"--set: expected key=value, got {pair!r}")
        check_keys({key: text}, QGPOConfig, name="--set")
        value = _value(text)
        if key in sequences and not isinstance(value, list):
            value = [_value(part) for part in text.split(",")]
        settings[key] = value
    return settings


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return _WORDS.get(text.lower(), text)


def read_seeds(text: str) -> tuple[int, ...]:
    """Whole numbers between commas, each once.

    Raises:
        ValueError: anything else.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise ValueError(f"--seeds: expected whole numbers of at least 0 between commas, each once, got {text!r}")
    return seeds


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" is a CUDA GPU where there is one.

    Raises:
        ValueError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's words for a device it was not built for, or has not
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device: expected auto or a device of this machine, such as cpu, got {name!r} ({reason})") from error
    return device


def write_origin(folder: Path, *, source: str, preset: str, seeds: Sequence[int], command: Sequence[str], device: str) -> None:
    """Write `origin.json` of a new run."""
    path = None if source.startswith((MINARI, datasets.D4RL)) else datasets.checked_file(source)
    found = None if path is None else {"path": str(path.absolute()), "sha256": sha256_of(path)}
    told = {"source": source, "file": found, "preset": preset, "seeds": list(seeds), "started": [_start(command, device)]}
    _write(folder, told)


def note_resumed(folder: Path, *, command: Sequence[str], device: str) -> None:
    """Add to `origin.json` that the run is taken up again."""
    told = read_origin(folder)
    if told:
        _write(folder, told | {"started": [*told["started"], _start(command, device)]})


def read_origin(folder: Path) -> dict:
    """What `origin.json` of a run folder says; empty where there is none, as for runs that Python code started.

    Raises:
        ValueError: a file that does not read.
    """
    path = folder / ORIGIN
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(told["source"], str) or not isinstance(told["started"], list) or not isinstance(told["seeds"], list):
            raise TypeError("source, seeds or started is of another kind")
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected what `cepkit train` writes, but it does not read ({error})") from error
    return told


def _start(command: Sequence[str], device: str) -> dict[str, str]:
    return {
        "command": shlex.join(command),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cepkit": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device,
    }


def _write(folder: Path, told: Mapping[str, object]) -> None:
    write_atomically(folder / ORIGIN, (json.dumps(told, indent=2) + "\n").encode())
