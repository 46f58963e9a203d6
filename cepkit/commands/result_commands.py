"""`cepkit eval FOLDER` and `cepkit report FOLDER...`: what trained runs earn."""

import math
import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from cepkit import plots
from cepkit.commands.options import check_replaceable, choose_device, optional, read_numbers
from cepkit.learning.checkpoints import make_folder, write_atomically
from cepkit.rl.agent.qgpo_run import load_run
from cepkit.rl.agent.run_folders import read_config, run_folders
from cepkit.rl.envs.engines import Environment, find_environment
from cepkit.rl.study.evaluate import LEAST_RUNS, mean_interval
from cepkit.rl.study.leaderboard import Experiment, find_experiments, leaderboard, scale_figure
from cepkit.rl.study.results import K, Result, evaluate_run, pool

_HEADING = "| dataset | policy |"  # how a report begins


def evaluate(
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")],
    scales: optional(str, "S,S...", "those of the run's settings") = None,
    episodes: int = 10,
    engine: optional(str, "NAME", "D4RL's own for locomotion") = None,
    env: optional(str, "NAME", "that of the dataset") = None,
    seed: int = 0,
    baselines: Annotated[bool, arg(help=f"also the behaviour model (scale 0) and the best of {K} actions by Q")] = False,
    device: str = "auto",
) -> None:
    """Evaluate trained runs; what has been evaluated before is not repeated.

    Args:
        folder: a run folder, or a folder of runs seed-<n>
        scales: guidance scales between commas
        episodes: of each run at each scale
        engine: d4rl-v2, gymnasium-v4, gymnasium-v5 or gymnasium-robotics
        env: a task for a dataset of your own, such as hopper-medium-v2
        seed: of the episodes' starts
        device: auto (a CUDA GPU where there is one), cpu, cuda, cuda:1 ...
    """
    chosen, folders = choose_device(device), run_folders(folder)
    values = None if scales is None else read_numbers(scales, float, "--scales")
    names = {read_config(each).data.name for each in folders}
    if len(names) > 1:
        raise ValueError(f"{folder}: expected runs of one dataset, got {', '.join(sorted(names))}")
    configs = [load_run(each).config for each in folders]  # all must be finished before the first is evaluated
    environment = _environment(names.pop(), env, engine)
    if environment.difference:
        print(f"note: {environment.difference}", file=sys.stderr)
    results: list[Result] = []
    for each, config in zip(folders, configs, strict=True):
        results += evaluate_run(
            each,
            environment,
            scales=config.scales if values is None else values,
            episodes=episodes,
            seed=seed,
            baselines=baselines,
            device=chosen,
            on_result=_print_result,
        )
    few = " Too few training seeds for an interval over trainings." if len(folders) < LEAST_RUNS else ""
    starts = f"{episodes} episodes of each run, starts of seed {seed}; weights after the last step.{few}"
    print(f"\n{_table(results)}\n\n{environment.gymnasium_id} on {environment.engine}; {starts}")


def _print_result(result: Result, known: bool) -> None:
    mean = sum(result.returns) / len(result.returns)
    print(f"seed {result.run_seed}  {result.policy:<11} return {mean:9.2f}{'  (evaluated before)' if known else ''}", flush=True)


def _environment(data: str, env: str | None, engine: str | None) -> Environment:
    if env is None:
        try:
            find_environment(data)
        except ValueError as error:
            raise ValueError(
                f"--env: expected the task that {data} is for, such as hopper-medium-v2, since the name itself is no task's"
            ) from error
    return find_environment(env or data, engine)


def _table(results: list[Result]) -> str:
    """Return of every policy over all runs, its interval over trainings, and score or success, where there are such."""
    lines = [f"{'policy':<11} {'seeds':>5} {'episodes':>8} {'return':>9}  {'95 % interval':<20} {'score':>6} {'success':>8}"]
    for name in dict.fromkeys(result.policy for result in results):
        pooled = pool([result for result in results if result.policy == name])
        score = "" if pooled.scores is None else f"{pooled.scores.mean():.1f}"
        success = "" if pooled.success is None else f"{pooled.success:.0%}"
        low, high = mean_interval(pooled.returns)
        interval = "" if math.isnan(low) else f"{low:.2f} to {high:.2f}"
        counts = f"{len(pooled.returns):>5} {pooled.returns.numel():>8}"
        lines.append(f"{name:<11} {counts} {pooled.mean:>9.2f}  {interval:<20} {score:>6} {success:>8}".rstrip())
    return "\n".join(lines)


def report(
    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="FOLDER ...", help_behavior_hint="")], out: Path = Path("report")
) -> None:
    """Write a table and a figure of all evaluations.

    Args:
        folders: run folders, or folders of runs seed-<n>
        out: writes <out>.md and <out>.png
    """
    if not folders:
        raise ValueError("folders: expected at least one run folder, or folder of runs seed-<n>")
    name = out.with_suffix("") if out.suffix in (".md", ".png") else out
    if not name.name:
        raise ValueError(f"--out: expected the name of a file, got {str(out)!r}")
    table, figure = (Path(f"{name}{suffix}") for suffix in (".md", ".png"))
    check_replaceable((table, figure), _HEADING)
    experiments: list[Experiment] = []
    for folder in dict.fromkeys(folders):
        found = find_experiments(folder)
        if not found:
            raise ValueError(f"{folder}: expected runs that have been evaluated, found none; first: cepkit eval {folder}")
        experiments += found
    text = leaderboard(experiments)
    make_folder(table.parent)
    write_atomically(table, (text + "\n").encode())
    write_atomically(figure, plots.png(scale_figure(experiments)))
    print(f"{text}\n\nWritten: {table}, {figure}")
