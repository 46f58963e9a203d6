"""The command line's part on results: `cepkit eval DIR` and `cepkit report DIR...`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cepkit.commands.rl_settings import choose_device
from cepkit.rl.agent.qgpo_run import load_run, read_config
from cepkit.rl.agent.seed_folders import run_folders
from cepkit.rl.envs.engines import ENGINES, Environment, find_environment
from cepkit.rl.study.evaluate import AT_ONCE
from cepkit.rl.study.leaderboard import write_report
from cepkit.rl.study.results import K, Result, differences, evaluate_run, pool
from cepkit.validation import check_name, check_number


def add_eval_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `cepkit eval` its arguments."""
    parser.add_argument("folder", type=Path, help="a run folder, or a folder of runs seed-<n>")
    parser.add_argument("--scales", help="guidance scales between commas (default: those of the run's settings)")
    parser.add_argument("--episodes", type=int, default=10, help=f"of each run at each scale (default 10; {AT_ONCE} at a time)")
    parser.add_argument("--engine", help=f"{', '.join(ENGINES)} (default: D4RL's own for locomotion)")
    parser.add_argument("--env", metavar="NAME", help="a task for a data set of one's own, such as hopper-medium-v2")
    parser.add_argument("--seed", type=int, default=0, help="of the episodes' starts (default 0)")
    parser.add_argument("--baselines", action="store_true", help=f"also the behaviour model (scale 0) and the best of {K} by Q")
    parser.add_argument("--device", default="auto", help="auto (default: a CUDA GPU where there is one), cpu, cuda, cuda:1 ...")
    parser.set_defaults(run=_eval)


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `cepkit report` its arguments."""
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="run folders, or folders of runs seed-<n>")
    parser.add_argument("--out", type=Path, default=Path("report"), help="writes <out>.md and <out>.png (default report)")
    parser.set_defaults(run=_report)


def _eval(arguments: argparse.Namespace) -> int:
    device = choose_device(arguments.device)
    episodes = check_number(arguments.episodes, name="--episodes", low=1, high=10**6, integer=True)
    seed = check_number(arguments.seed, name="--seed", low=0, high=2**53, integer=True)
    scales = None if arguments.scales is None else read_scales(arguments.scales)
    folders = run_folders(arguments.folder)
    names = {read_config(folder)["data"]["name"] for folder in folders}
    if len(names) > 1:
        raise ValueError(f"{arguments.folder}: expected runs of one data set, got {', '.join(sorted(names))}")
    configs = [load_run(folder).config for folder in folders]  # all must be finished before the first is evaluated
    environment = choose_environment(names.pop(), arguments.env, arguments.engine)
    for note in differences(environment):
        print(f"note: {note}", file=sys.stderr)
    results: list[Result] = []
    for folder, config in zip(folders, configs, strict=True):
        results += evaluate_run(
            folder,
            environment,
            scales=config.scales if scales is None else scales,
            episodes=episodes,
            seed=seed,
            baselines=arguments.baselines,
            device=device,
            on_result=_tell,
        )
    print()
    print(results_table(results))
    one = " One training seed: its spread over trainings is not known." if len(folders) == 1 else ""
    print(
        f"\n{environment.gymnasium_id} on {environment.engine}; {episodes} episodes of each run, starts of seed {seed}; ", end=""
    )
    print(f"weights after the last step.{one}")
    return 0


def _tell(result: Result, known: bool) -> None:
    mean = sum(result.returns) / len(result.returns)
    print(f"seed {result.run_seed}  {result.policy:<11} return {mean:9.2f}{'  (evaluated before)' if known else ''}", flush=True)


def read_scales(text: str) -> tuple[float, ...]:
    """Guidance scales between commas.

    Raises:
        ValueError: anything but numbers of at least 0, each once.
    """
    try:
        scales = tuple(check_number(float(part), name="scales", low=0.0) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or len(set(scales)) != len(scales):
        raise ValueError(f"--scales: expected numbers of at least 0 between commas, each once, got {text!r}")
    return scales


def choose_environment(data: str, env: str | None, engine: str | None) -> Environment:
    """The environment of a data set's name, or the one named.

    Raises:
        ValueError: an unknown engine or environment; a data set that says nothing of its environment.
    """
    if engine is not None:
        check_name(engine, ENGINES, name="--engine")
    if env is not None:
        return find_environment(env, engine)
    try:
        find_environment(data)
    except ValueError as error:
        raise ValueError(
            f"--env: expected the task that {data} is for, such as hopper-medium-v2, since the name itself is no task's"
        ) from error
    return find_environment(data, engine)


def results_table(results: list[Result]) -> str:
    """Return and interval of every policy over all runs, and score or success where there are such."""
    pooled = {name: pool([r for r in results if r.policy == name]) for name in dict.fromkeys(r.policy for r in results)}
    has_score = any(p.score is not None for p in pooled.values())
    has_success = any(p.success is not None for p in pooled.values())
    head = f"{'policy':<11} {'seeds':>5} {'episodes':>8} {'return':>9}  {'95 % interval':<20}"
    lines = [head + ("     score" if has_score else "") + ("  success" if has_success else "")]
    for name, p in pooled.items():
        low, high = p.interval
        episodes = p.returns.numel()
        counts = f"{len(p.runs):>5} {episodes:>8}"
        line = f"{name:<11} {counts} {p.mean:>9.2f}  {f'{low:.2f} to {high:.2f}':<20}"
        line += "" if p.score is None else f"{p.score[0]:>10.1f}"
        lines.append(line + ("" if p.success is None else f"{p.success:>9.0%}"))
    return "\n".join(line.rstrip() for line in lines)


def _report(arguments: argparse.Namespace) -> int:
    text, paths = write_report(arguments.folders, arguments.out)
    print(text)
    print(f"\nWritten: {', '.join(map(str, paths))}")
    return 0
