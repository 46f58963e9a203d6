"""The command line: `cepkit doctor`, `demo`, `app` and `toy ...`; for offline RL `data ...`, `train`, `eval` and `report`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cepkit import __version__
from cepkit.commands.interrupts import STOPPED, interrupts


def _parser(command: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cepkit", description="Energy-guided diffusion, measured against the exact answer.")
    parser.add_argument("--version", action="version", version=f"cepkit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="check this machine: what is there, what is missing, how to add it")
    doctor.set_defaults(run=_doctor)
    demo = commands.add_parser("demo", help="exact against approximate guidance: print the table, write a page with pictures")
    demo.add_argument("toy", nargs="?", default="8gaussians", help="a toy's name, or a CSV file whose last column is the energy")
    demo.add_argument("--beta", type=float, default=3.0, help="inverse temperature (default 3)")
    demo.add_argument("--out", type=Path, default=Path("build/demo"), help="folder of the page (default build/demo)")
    demo.add_argument("--samples", type=int, default=2000, help="samples per estimator (default 2000)")
    demo.set_defaults(run=_demo)
    app = commands.add_parser("app", help="the lab as a web page, for a class without notebooks")
    app.add_argument("toy", nargs="?", default="8gaussians", help="a toy's name, a CSV file, or draw: visitors paint their own")
    app.add_argument("--std", type=float, default=0.0, help="blur of the points of a CSV file (default 0)")
    app.add_argument("--standardize", action="store_true", help="scale the points of a CSV file")
    app.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1; 0.0.0.0 lets others in)")
    app.add_argument("--port", type=int, help="port (default 8866 or the next free one)")
    app.add_argument("--no-browser", action="store_true", help="do not open a browser here")
    app.set_defaults(run=_app)
    toy = commands.add_parser("toy", help="train a denoiser and an energy net on a toy or your own points, and look at them")
    _toy_parser(toy.add_subparsers(required=True, metavar="COMMAND"))
    data = commands.add_parser("data", help="data sets for offline reinforcement learning: see, fetch, check, make")
    if command == "data":  # only then, since its commands import torch
        from cepkit.commands.data_cli import add_data_commands

        add_data_commands(data)
    _rl_parsers(commands, command)
    return parser


def _rl_parsers(commands: argparse._SubParsersAction, command: str | None) -> None:
    train = commands.add_parser("train", help="train QGPO on a data set for offline reinforcement learning, into a folder")
    evaluate = commands.add_parser("eval", help="what trained runs earn at several guidance scales, beside the baselines")
    report = commands.add_parser("report", help="a table and a figure of what has been evaluated")
    if command == "train":  # each only when asked for, since they import torch
        from cepkit.commands.train_cli import add_train_arguments

        add_train_arguments(train)
    elif command in ("eval", "report"):
        from cepkit.commands.results_cli import add_eval_arguments, add_report_arguments

        add_eval_arguments(evaluate)
        add_report_arguments(report)


def _toy_parser(commands: argparse._SubParsersAction) -> None:
    train = commands.add_parser("train", help="train by contrastive energy prediction, into a folder")
    train.add_argument("toy", nargs="?", help="a toy's name, or a CSV file whose last column is the energy")
    train.add_argument("--out", type=Path, required=True, help="folder of the run")
    train.add_argument("--resume", action="store_true", help="go on with the run in that folder; its settings stay")
    settings = train.add_argument_group("settings of a new run")
    settings.add_argument("--beta", type=float, help="inverse temperature (default 3)")
    settings.add_argument("--steps", type=int, help="optimiser steps (default 2500)")
    settings.add_argument("--seed", type=int, help="of weights and random draws (default 0)")
    settings.add_argument("--objective", help="CEP (default), MSE or exp-MSE")
    settings.add_argument("--labels", help="of CEP: unnormalized (default) or normalized")
    settings.add_argument("--contrasts", type=int, help="K, points that share one noise level (default 128)")
    settings.add_argument("--points", type=int, help="how many points to draw from the toy (default 1000000)")
    settings.add_argument("--std", type=float, help="blur of the points of a CSV file (default 0)")
    settings.add_argument("--standardize", action="store_true", default=None, help="scale the points of a CSV file")
    train.set_defaults(run=_train)
    show = commands.add_parser("show", help="a run beside the truth: print the table of errors, write figure.png")
    show.add_argument("folder", type=Path, help="folder of the run")
    show.add_argument("--samples", type=int, default=2000, help="samples per estimator (default 2000)")
    show.set_defaults(run=_show)


def _doctor(arguments: argparse.Namespace) -> int:
    from cepkit.commands.doctor import examine

    findings = examine()
    print(f"cepkit {__version__}")
    print("\n".join(str(finding) for finding in findings))
    broken = [finding.name for finding in findings if finding.required and not finding.found]
    print(f"The base is broken: {', '.join(broken)}." if broken else "The base works. What is absent is optional.")
    return 1 if broken else 0


def _demo(arguments: argparse.Namespace) -> int:
    from cepkit.commands.demo import run_demo
    from cepkit.learning.data_source import DataSource

    comparison, path = run_demo(DataSource(arguments.toy).toy(), arguments.beta, arguments.out, n=arguments.samples)
    print(comparison)
    print(f"\nPictures: {path}")
    return 0


def _app(arguments: argparse.Namespace) -> int:
    from cepkit.commands.app import DRAWING, serve
    from cepkit.learning.data_source import DataSource

    drawing = arguments.toy == DRAWING
    source = None if drawing else DataSource(arguments.toy, std=arguments.std, standardize=arguments.standardize)
    serve(source, host=arguments.host, port=arguments.port, browser=not arguments.no_browser)
    return 0


_TRAINING = ("beta", "steps", "seed", "objective", "labels", "contrasts")
_DATA = {"toy": "name", "points": "n", "std": "std", "standardize": "standardize"}


def _train(arguments: argparse.Namespace) -> int:
    from cepkit.learning.config import TrainingConfig
    from cepkit.learning.data_source import DataSource
    from cepkit.learning.run import resume_run, start_run

    given = {name: value for name, value in vars(arguments).items() if value is not None}
    if arguments.resume:
        told = [name for name in (*_DATA, *_TRAINING) if name in given]
        if told:
            raise ValueError(f"--resume: the run keeps its own settings; leave out {', '.join(told)}")
        run = resume_run(arguments.out)
    elif arguments.toy is None:
        raise ValueError("toy: expected a toy's name or a CSV file, or --resume")
    else:
        config = TrainingConfig(**{name: given[name] for name in _TRAINING if name in given})
        run = start_run(arguments.out, config, DataSource(**{key: given[name] for name, key in _DATA.items() if name in given}))
    return _follow(run, arguments.out)


def _follow(run, folder: Path) -> int:
    """Train, with a line at each save."""
    import time

    training, start, first = run.training, time.perf_counter(), run.training.index
    with interrupts() as seen:
        for step in run:
            if step.index % run.save_every == 0 or run.finished:
                left = (time.perf_counter() - start) / (step.index - first) * (training.config.steps - step.index)
                losses = {"denoising": step.denoiser_loss, training.config.objective: step.energy_loss}
                shown = "  ".join(f"{name} {float(loss):.4f}" for name, loss in losses.items() if loss is not None)
                print(f"step {step.index} of {training.config.steps}  loss: {shown}  {left:.0f} s left", flush=True)
            if seen:
                break
    if seen and not run.finished:
        run.save()
        print(f"Stopped at step {training.index}; go on with: cepkit toy train --resume --out {folder}", file=sys.stderr)
        return STOPPED
    print(f"Done in {time.perf_counter() - start:.0f} s. See it with: cepkit toy show {folder}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from cepkit.course.show_run import show_run

    headline, table, path = show_run(arguments.folder, n=arguments.samples)
    print(headline, table, sep="\n\n")
    if path is not None:
        print(f"\nPicture: {path}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for a user's mistake)."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(given[0] if given else None).parse_args(given, argparse.Namespace(command_line=["cepkit", *given]))
    try:
        return arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"cepkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cepkit: stopped", file=sys.stderr)
        return STOPPED
