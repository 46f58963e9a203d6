"""The command line's part on training: `cepkit train DATASET --out DIR` and `cepkit train --resume --out DIR`."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cepkit.commands.estimate import duration, estimate
from cepkit.commands.interrupts import STOPPED, interrupts
from cepkit.commands.progress import Progress
from cepkit.commands.rl_settings import (
    choose_config,
    choose_device,
    note_resumed,
    read_origin,
    read_pairs,
    read_seeds,
    read_settings,
    source_name,
    write_origin,
)
from cepkit.rl.agent.ensemble import Ensemble
from cepkit.rl.agent.qgpo_config import PRESETS, QGPOConfig
from cepkit.rl.agent.qgpo_run import QGPORun, read_config, resume_run, start_run
from cepkit.rl.agent.seed_folders import run_folders, seed_folder
from cepkit.rl.data.datasets import is_path, load_dataset
from cepkit.rl.data.scores import FAMILIES
from cepkit.rl.data.transitions import Transitions

_NEW = ("preset", "family", "config", "set")


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `cepkit train` its arguments."""
    parser.add_argument("dataset", nargs="?", help="a name (`cepkit data list`), an HDF5 file, minari:ID or d4rl:NAME")
    parser.add_argument("--out", type=Path, help="folder of the runs; gets one folder seed-<n> for each seed")
    parser.add_argument("--resume", action="store_true", help="go on with the runs in that folder; their settings stay")
    parser.add_argument("--dry-run", action="store_true", help="say how long it will take and how much memory; train nothing")
    parser.add_argument("--device", default="auto", help="auto (default: a CUDA GPU where there is one), cpu, cuda, cuda:1 ...")
    parser.add_argument("--seeds", help="such as 0,1,2: several are trained together (default 0; with --resume all there are)")
    parser.add_argument("--save-every", type=int, help="steps between two saves (default 1000)")
    settings = parser.add_argument_group("settings of a new run, each over the one before")
    settings.add_argument("--preset", help=f"{', '.join(PRESETS)} (default: by the data set's family)")
    settings.add_argument("--config", type=Path, metavar="FILE", help="JSON with settings by name, or a run's config.json")
    settings.add_argument("--set", action="append", metavar="KEY=VALUE", help="one setting, such as beta=5; may be repeated")
    settings.add_argument("--family", help=f"how rewards are rescaled: {', '.join(FAMILIES)} (default: the data set's)")
    parser.set_defaults(run=_train)


def _train(arguments: argparse.Namespace) -> int:
    device = choose_device(arguments.device)
    if arguments.resume:
        return _resume(arguments, device)
    if arguments.dataset is None:
        raise ValueError("dataset: expected a name, an HDF5 file or minari:ID, or --resume")
    if arguments.out is None and not arguments.dry_run:
        raise ValueError("--out: expected the folder of the runs")
    name = source_name(arguments.dataset)
    settings = read_settings(arguments.config) if arguments.config else {}
    settings |= read_pairs(arguments.set or [])
    preset, config = choose_config(name, preset=arguments.preset, family=arguments.family, settings=settings)
    seeds = (config.seed,) if arguments.seeds is None else read_seeds(arguments.seeds)
    if arguments.out is not None:
        _check_room(arguments.out, config, seeds)
    transitions = load_dataset(arguments.dataset)
    print(
        f"{transitions.name}: {len(transitions):,} transitions, trained as {config.family} with the preset {preset} on {device}"
    )
    if arguments.dry_run:
        sizes = (transitions.observations.shape[1], transitions.actions.shape[1])
        print(f"{_seeds_text(seeds)}; measured on a few steps of each stage, on random data of these sizes:\n")
        print(estimate(config, len(transitions), sizes, device, seeds=len(seeds)))
        return 0
    every = 1000 if arguments.save_every is None else arguments.save_every
    transitions = transitions.to(device)
    run = _start(arguments.out, config, transitions, seeds, every)
    for seed in seeds:
        write_origin(
            seed_folder(arguments.out, seed),
            source=arguments.dataset,
            preset=preset,
            seeds=seeds,
            command=arguments.command_line,
            device=str(device),
        )
    return _follow(run, arguments.out, seeds)


def _seeds_text(seeds: Sequence[int]) -> str:
    words = ", ".join(map(str, seeds))
    return f"Seed {words}" if len(seeds) == 1 else f"Seeds {words} together"


def _check_room(out: Path, config: QGPOConfig, seeds: Sequence[int]) -> None:
    """Refuse a folder that is a run itself, that has a run of one of these seeds, or runs of another configuration."""
    if (out / "config.json").exists():
        raise ValueError(f"{out}: is the folder of one run, not of runs by seed; choose another folder")
    for folder in sorted(out.glob("seed-*")) if out.is_dir() else ():
        if not (folder / "config.json").is_file():
            continue
        own = QGPOConfig.from_dict(read_config(folder)["qgpo"])
        mine, other = config.with_seed(own.seed).to_dict(), own.to_dict()
        changed = ", ".join(f"{key} ({other[key]!r}, not {mine[key]!r})" for key in mine if mine[key] != other[key])
        if changed:
            raise ValueError(f"{folder}: holds a run of another configuration: {changed}; choose another folder")
        if own.seed in seeds:
            raise ValueError(f"{folder}: holds a run of these settings already; go on with: {_resume_line(out)}")


def _resume_line(out: Path) -> str:
    return shlex.join(["cepkit", "train", "--resume", "--out", str(out)])


def _start(out: Path, config: QGPOConfig, transitions: Transitions, seeds: Sequence[int], save_every: int) -> QGPORun | Ensemble:
    """One run, or several together; both leave folders seed-<n>."""
    if len(seeds) == 1:
        return start_run(seed_folder(out, seeds[0]), config.with_seed(seeds[0]), transitions, save_every=save_every)
    return Ensemble(out, config, transitions, seeds, save_every=save_every)


def _resume(arguments: argparse.Namespace, device) -> int:
    out = arguments.out
    if out is None:
        raise ValueError("--out: expected the folder of the runs to go on with")
    told = [f"--{name}" for name in (*_NEW, "save_every", "dry_run") if getattr(arguments, name) not in (None, False)]
    if told:
        raise ValueError(f"--resume: the runs keep their own settings; leave out {', '.join(told).replace('_', '-')}")
    folders = run_folders(out)
    written = {folder: read_config(folder) for folder in folders}
    own = {QGPOConfig.from_dict(found["qgpo"]).seed: folder for folder, found in written.items()}
    seeds = tuple(own) if arguments.seeds is None else read_seeds(arguments.seeds)
    absent = [seed for seed in seeds if seed not in own]
    if absent:
        raise ValueError(f"--seeds: expected some of {', '.join(map(str, own))}, which {out} holds, got {absent[0]}")
    first = own[seeds[0]]
    transitions = load_dataset(_source(arguments.dataset, first)).to(device)
    if out == first or len(seeds) == 1:
        run = resume_run(first, transitions)
    else:
        run = Ensemble(out, QGPOConfig.from_dict(written[first]["qgpo"]), transitions, seeds)
    for seed in seeds:
        note_resumed(own[seed], command=arguments.command_line, device=str(device))
    print(f"{out}: {_seeds_text(seeds)}, {transitions.name} on {device}")
    return _follow(run, out, seeds)


def _source(given: str | None, folder: Path) -> str:
    """The data set to load: as given, else as the run was started with."""
    if given is not None:
        source_name(given)
        return given
    told = read_origin(folder)
    if not told:
        name = read_config(folder)["data"]["name"]
        raise ValueError(f"{folder}: does not say where its data were found; name the data set, {name}, before --resume")
    found = told.get("file")
    return found["path"] if found and is_path(told["source"]) else told["source"]


def _follow(run: QGPORun | Ensemble, out: Path, seeds: Sequence[int]) -> int:
    """Train, telling where it is; Ctrl-C saves."""
    runs = run.runs if isinstance(run, Ensemble) else [run]
    progress, begun = Progress(runs[0].stages), time.perf_counter()
    try:
        with interrupts() as seen:
            for step in run:
                progress(step)
                if seen:
                    break
            if seen and not all(each.finished for each in runs):
                run.save()
                progress.close()
                some = "" if len(seeds) == len(run_folders(out)) else f" --seeds {','.join(map(str, seeds))}"
                told = f"go on with: {_resume_line(out)}{some}"
                print(f"Stopped in the {step.stage} stage at step {step.index:,}; {told}", file=sys.stderr)
                return STOPPED
    finally:
        progress.close()
    print(f"Done in {duration(time.perf_counter() - begun)}. See what it earns with: {shlex.join(['cepkit', 'eval', str(out)])}")
    return 0
