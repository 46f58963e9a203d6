"""`cepkit train DATASET --out FOLDER` and `cepkit train --resume --out FOLDER`: QGPO for offline reinforcement learning.

`origin.json` in a run folder keeps what its configuration does not say: where the data came from, so that a resumed run finds
them again, the preset, and by which command, when and on which device the run was started.
"""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from tyro.conf import Positional

from cepkit.commands.options import choose_device, optional, options_of, read_numbers
from cepkit.commands.progress import follow
from cepkit.learning.checkpoints import read_json, write_json
from cepkit.rl.agent.estimate import estimate
from cepkit.rl.agent.qgpo_config import PRESETS, QGPOConfig
from cepkit.rl.agent.qgpo_run import QGPORun, resume_run, start_run
from cepkit.rl.agent.run_folders import read_config, run_folders, seed_folder
from cepkit.rl.data.catalogue import entry_of
from cepkit.rl.data.datasets import is_path, load_dataset, name_of
from cepkit.rl.data.minari_bridge import PREFIX as MINARI
from cepkit.rl.data.scores import FAMILIES, family_of
from cepkit.validation import check_name

_ORIGIN = "origin.json"
_PRESET_OF_NAME = {"halfcheetah-small-replay": "halfcheetah-small"}


@dataclass(frozen=True)
class _Origin:
    """What is read back of `origin.json`."""

    source: str


def train(
    settings: options_of(QGPOConfig, "that of the preset"),
    dataset: Positional[optional(str, "[DATASET]", "")] = None,
    out: optional(Path, "FOLDER", "") = None,
    resume: bool = False,
    dry_run: bool = False,
    device: str = "auto",
    seeds: optional(str, "N,N...", "0; with --resume all there are") = None,
    preset: optional(str, "NAME", "by the dataset's family") = None,
) -> int:
    """Train QGPO in three stages, into a folder.

    Args:
        settings: of a new run, over those of the preset
        dataset: a name (`cepkit data list`), an HDF5 file, minari:ID or d4rl:NAME
        out: folder of the runs; gets one folder seed-<n> for each seed
        resume: go on with the runs in that folder; their settings stay
        dry_run: print how long it will take, and on a GPU how much memory; train nothing
        device: auto (a CUDA GPU where there is one), cpu, cuda, cuda:1 ...
        seeds: such as 0,1,2: several are trained together
        preset: settings to start from: locomotion, antmaze, maze or halfcheetah-small
    """
    if out is None and not dry_run:
        raise ValueError("--out: expected the folder of the runs")
    chosen = choose_device(device)
    if resume:
        new = {"dry_run": dry_run, "preset": preset} | settings
        given = [f"--{name.replace('_', '-')}" for name, value in new.items() if value or name in settings]
        if given:
            raise ValueError(f"--resume: the runs keep their own settings; leave out {', '.join(given)}")
        return _resume(dataset, out, seeds, chosen)
    if dataset is None:
        raise ValueError("dataset: expected a name, an HDF5 file or minari:ID, or --resume")
    if not is_path(dataset) and not dataset.startswith(MINARI):
        entry_of(name_of(dataset))  # an unknown name ends here, with the nearest
    preset, full = choose_config(name_of(dataset), preset, settings)
    numbers = (full.seed,) if seeds is None else read_numbers(seeds, int, "--seeds")
    if out is not None:
        _check_same_settings(out, full)
    transitions = load_dataset(dataset)
    print(f"{transitions.name}: {len(transitions):,} transitions, trained as {full.family} with the preset {preset} on {chosen}")
    if dry_run:
        sizes = (transitions.observations.shape[1], transitions.actions.shape[1])
        print(f"Seeds {seeds or numbers[0]}; a few steps of each stage, measured on random data of these sizes:\n")
        print(estimate(full, len(transitions), sizes, chosen, seeds=len(numbers)))
        return 0
    run = start_run(out, full, transitions.to(chosen), seeds=numbers)
    origin = {
        "source": str(Path(dataset).absolute()) if is_path(dataset) else dataset,
        "preset": preset,
        "command": shlex.join(["cepkit", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": f"{torch.__version__} on {torch.cuda.get_device_name(chosen) if chosen.type == 'cuda' else chosen}",
    }
    for folder in run.folders:
        write_json(folder / _ORIGIN, origin)
    return _follow(run, out)


def choose_config(name: str, preset: str | None, settings: Mapping[str, object]) -> tuple[str, QGPOConfig]:
    """The preset (None for that of the name or of its family) and the configuration for a dataset; `settings` differ from it.

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
    base = PRESETS[check_name(preset, PRESETS, name="preset")].to_dict()
    return preset, QGPOConfig.from_dict(base | settings | {"family": family or base["family"]})


def _check_same_settings(out: Path, config: QGPOConfig) -> None:
    """Refuse a folder that is a run itself, or that holds runs of another configuration."""
    if (out / "config.json").exists():
        raise ValueError(f"{out}: is the folder of one run, not of runs by seed; choose another folder")
    for folder in run_folders(out) if any(out.glob("seed-*/config.json")) else ():
        found = read_config(folder).qgpo
        mine, other = config.with_seed(found.seed).to_dict(), found.to_dict()
        changed = ", ".join(f"{key} ({other[key]!r}, not {mine[key]!r})" for key in mine if mine[key] != other[key])
        if changed:
            raise ValueError(f"{folder}: holds a run of another configuration: {changed}; choose another folder")


def _resume(dataset: str | None, out: Path, seeds: str | None, device: torch.device) -> int:
    numbers = None if seeds is None else read_numbers(seeds, int, "--seeds")
    first = run_folders(out if numbers is None else seed_folder(out, numbers[0]))[0]
    if dataset is None and not (first / _ORIGIN).is_file():
        raise ValueError(f"{first}: does not say where its data were found; name the dataset before --resume")
    transitions = load_dataset(dataset or read_json(first / _ORIGIN, _Origin).source)
    run = resume_run(out, transitions.to(device), seeds=numbers)
    print(f"{out}: seeds {', '.join(map(str, run.seeds))} of {transitions.name} on {device}")
    return _follow(run, out)


def _follow(run: QGPORun, out: Path) -> int:
    some = [] if len(run.seeds) == len(run_folders(out)) else ["--seeds", ",".join(map(str, run.seeds))]
    return follow(run, ["cepkit", "train", "--resume", "--out", str(out), *some], look=["cepkit", "eval", str(out)])
