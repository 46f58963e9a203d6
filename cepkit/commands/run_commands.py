"""`cepkit train DATASET --out DIR` and `cepkit train --resume --out DIR`: QGPO on a dataset for offline reinforcement learning.

`origin.json` in a run folder keeps what its configuration does not say: where the data came from, so that a resumed run finds
them again, the preset, and by which command, when and with which versions the run was started.
"""

from __future__ import annotations

import json
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from tyro.conf import Positional

from cepkit import __version__
from cepkit.commands.cli import STOPPED
from cepkit.commands.options import choose_device, optional, options_of, read_numbers
from cepkit.commands.progress import follow
from cepkit.learning.checkpoints import read_json, read_settings, write_atomically
from cepkit.rl.agent.estimate import estimate
from cepkit.rl.agent.qgpo_config import PRESETS, QGPOConfig
from cepkit.rl.agent.qgpo_run import QGPORun, read_config, resume_run, run_folders, seed_folder, start_run
from cepkit.rl.data.datasets import entry_of, is_path, load_dataset, name_of
from cepkit.rl.data.minari_bridge import PREFIX as MINARI
from cepkit.rl.data.scores import FAMILIES, family_of
from cepkit.validation import check_name

_ORIGIN = "origin.json"
_PRESET_OF_NAME = {"halfcheetah-small-replay": "halfcheetah-small"}


def train(
    dataset: Positional[optional(str, "[DATASET]", "")] = None,
    /,
    *,
    out: optional(Path, "FOLDER", "") = None,
    resume: bool = False,
    dry_run: bool = False,
    device: str = "auto",
    seeds: optional(str, "N,N...", "0; with --resume all there are") = None,
    save_every: optional(int, "N", "1000") = None,
    preset: optional(str, "NAME", "by the dataset's family") = None,
    config: optional(Path, "FILE", "") = None,
    settings: options_of(QGPOConfig, "that of the preset"),
) -> int:
    """Train QGPO in three stages, into a folder.

    Args:
        dataset: a name (`cepkit data list`), an HDF5 file, minari:ID or d4rl:NAME
        out: folder of the runs; gets one folder seed-<n> for each seed
        resume: go on with the runs in that folder; their settings stay
        dry_run: print how long it will take and how much memory; train nothing
        device: auto (a CUDA GPU where there is one), cpu, cuda, cuda:1 ...
        seeds: such as 0,1,2: several are trained together
        save_every: steps between two saves
        preset: settings to start from: locomotion, antmaze, maze or halfcheetah-small
        config: JSON with settings by name, or a run's config.json
        settings: of a new run, over those of the preset and of --config
    """
    chosen = choose_device(device)
    if resume:
        changed = {"--dry-run": dry_run, "--save-every": save_every, "--preset": preset, "--config": config}
        given = [name for name, value in changed.items() if value] + [f"--{name.replace('_', '-')}" for name in settings]
        if given:
            raise ValueError(f"--resume: the runs keep their own settings; leave out {', '.join(given)}")
        return _resume(dataset, out, seeds, chosen)
    if dataset is None:
        raise ValueError("dataset: expected a name, an HDF5 file or minari:ID, or --resume")
    if out is None and not dry_run:
        raise ValueError("--out: expected the folder of the runs")
    name = dataset if dataset.startswith(MINARI) else name_of(dataset)
    if not is_path(dataset) and not dataset.startswith(MINARI):
        entry_of(name)  # an unknown name ends here, with the nearest
    settings = (read_config_file(config) if config else {}) | settings
    preset, full = choose_config(name, preset, settings)
    numbers = (full.seed,) if seeds is None else read_numbers(seeds, int, "--seeds")
    if out is not None:
        _check_free(out, full, numbers)
    transitions = load_dataset(dataset)
    print(f"{transitions.name}: {len(transitions):,} transitions, trained as {full.family} with the preset {preset} on {chosen}")
    if dry_run:
        sizes = (transitions.observations.shape[1], transitions.actions.shape[1])
        print(f"{_named(numbers)}; a few steps of each stage, measured on random data of these sizes:\n")
        print(estimate(full, len(transitions), sizes, chosen, seeds=len(numbers)))
        return 0
    transitions, every = transitions.to(chosen), 1000 if save_every is None else save_every
    run = start_run(out, full, transitions, seeds=numbers, save_every=every)
    origin = {
        "source": str(Path(dataset).absolute()) if is_path(dataset) else dataset,
        "preset": preset,
        "command": shlex.join(["cepkit", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "cepkit": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{chosen} ({torch.cuda.get_device_name(chosen)})" if chosen.type == "cuda" else str(chosen),
    }
    for number in numbers:
        write_atomically(seed_folder(out, number) / _ORIGIN, (json.dumps(origin, indent=2) + "\n").encode())
    return _follow(run, out, numbers)


def choose_config(name: str, preset: str | None, settings: Mapping[str, object]) -> tuple[str, QGPOConfig]:
    """The preset and the configuration for a dataset.

    Args:
        name: of the dataset.
        preset: one of `PRESETS`; None for that of the name or of its family.
        settings: what differs from the preset, by the keys of `QGPOConfig`.

    Raises:
        ValueError: neither name, preset nor family decides; an unknown key (by name) or a value out of range.
    """
    family = settings.get("family") or family_of(name, otherwise="")
    if preset is None:
        preset = _PRESET_OF_NAME.get(name) or family
        if preset not in PRESETS:
            known = f"the family {check_name(family, FAMILIES, name='family')} has no preset" if family else "no family is known"
            raise ValueError(
                f"{name}: expected --preset ({', '.join(PRESETS)}) or --family ({', '.join(FAMILIES)}), since {known}"
            )
    base = QGPOConfig.preset(preset).to_dict()
    return preset, QGPOConfig.from_dict(base | settings | {"family": family or base["family"]})


def read_config_file(path: Path) -> dict[str, object]:
    """The settings in a JSON file: an object with keys of `QGPOConfig`, or the config.json of a run folder.

    Raises:
        ValueError: no such file, one that is no JSON object, or an unknown key.
    """
    if not path.is_file():
        raise ValueError(f"--config: expected a JSON file, found none at {path}")
    found = read_json(path)
    found = found["qgpo"] if isinstance(found, dict) and "qgpo" in found else found
    return QGPOConfig.known(found, name=str(path))


def _named(seeds: Sequence[int]) -> str:
    words = ", ".join(map(str, seeds))
    return f"Seed {words}" if len(seeds) == 1 else f"Seeds {words} together"


def _check_free(out: Path, config: QGPOConfig, seeds: Sequence[int]) -> None:
    """Refuse a folder that is a run itself, that has a run of one of these seeds, or runs of another configuration."""
    if (out / "config.json").exists():
        raise ValueError(f"{out}: is the folder of one run, not of runs by seed; choose another folder")
    for folder in run_folders(out) if any(out.glob("seed-*/config.json")) else ():
        found = QGPOConfig.from_dict(read_config(folder)["qgpo"])
        mine, other = config.with_seed(found.seed).to_dict(), found.to_dict()
        changed = ", ".join(f"{key} ({other[key]!r}, not {mine[key]!r})" for key in mine if mine[key] != other[key])
        if changed:
            raise ValueError(f"{folder}: holds a run of another configuration: {changed}; choose another folder")
        if found.seed in seeds:
            raise ValueError(f"{folder}: holds a run of these settings already; go on with: {_resume_command(out)}")


def _resume_command(out: Path) -> str:
    return shlex.join(["cepkit", "train", "--resume", "--out", str(out)])


def _resume(dataset: str | None, out: Path | None, seeds: str | None, device: torch.device) -> int:
    if out is None:
        raise ValueError("--out: expected the folder of the runs to go on with")
    configs = {folder: QGPOConfig.from_dict(read_config(folder)["qgpo"]) for folder in run_folders(out)}
    folders = {config.seed: folder for folder, config in configs.items()}
    numbers = tuple(folders) if seeds is None else read_numbers(seeds, int, "--seeds")
    absent = [number for number in numbers if number not in folders]
    if absent:
        raise ValueError(f"--seeds: expected some of {', '.join(map(str, folders))}, which {out} holds, got {absent[0]}")
    first = folders[numbers[0]]
    if dataset is None and not (first / _ORIGIN).is_file():
        raise ValueError(f"{first}: does not say where its data were found; name the dataset before --resume")
    transitions = load_dataset(dataset or read_settings(first / _ORIGIN, ("source",))["source"]).to(device)
    run = resume_run(first, transitions) if len(numbers) == 1 else resume_run(out, transitions, seeds=numbers)
    print(f"{out}: {_named(numbers)}, {transitions.name} on {device}")
    return _follow(run, out, numbers)


def _follow(run: QGPORun, out: Path, seeds: Sequence[int]) -> int:
    """Train under a progress bar; Ctrl-C saves."""
    begun = time.perf_counter()
    stopped = follow(run, lambda step: (step.stage, step.index, step.steps, step.losses))
    if stopped is not None:
        only = "" if len(seeds) == len(run_folders(out)) else f" --seeds {','.join(map(str, seeds))}"
        resume = f"go on with: {_resume_command(out)}{only}"
        print(f"Stopped in the {stopped.stage} stage at step {stopped.index:,}; {resume}", file=sys.stderr)
        return STOPPED
    print(f"Done in {time.perf_counter() - begun:.0f} s. See what it earns with: {shlex.join(['cepkit', 'eval', str(out)])}")
    return 0
