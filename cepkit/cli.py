"""The command line: `cepkit doctor` and `cepkit demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cepkit import __version__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cepkit", description="Energy-guided diffusion, measured against the exact answer.")
    parser.add_argument("--version", action="version", version=f"cepkit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("doctor", help="check this machine: what is there, what is missing, how to add it")
    demo = commands.add_parser("demo", help="exact against approximate guidance: print the table, write a page with pictures")
    demo.add_argument("toy", nargs="?", default="8gaussians", help="a toy's name, or a CSV file whose last column is the energy")
    demo.add_argument("--beta", type=float, default=3.0, help="inverse temperature (default 3)")
    demo.add_argument("--out", type=Path, default=Path("build/demo"), help="folder of the page (default build/demo)")
    demo.add_argument("--samples", type=int, default=2000, help="samples per estimator (default 2000)")
    return parser


def _doctor() -> int:
    from cepkit.doctor import examine

    findings = examine()
    print(f"cepkit {__version__}")
    print("\n".join(str(finding) for finding in findings))
    broken = [finding.name for finding in findings if finding.required and not finding.found]
    print(f"The base is broken: {', '.join(broken)}." if broken else "The base works. What is absent is optional.")
    return 1 if broken else 0


def _demo(arguments: argparse.Namespace) -> int:
    from cepkit.demo import run_demo
    from cepkit.toys import TOYS, from_points, make_toy

    name = arguments.toy
    toy = make_toy(name) if name in TOYS or not name.endswith(".csv") else from_points(name)
    comparison, path = run_demo(toy, arguments.beta, arguments.out, n=arguments.samples)
    print(comparison)
    print(f"\nPictures: {path}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for a user's mistake)."""
    arguments = _parser().parse_args(argv)
    try:
        return _doctor() if arguments.command == "doctor" else _demo(arguments)
    except (ValueError, OSError) as error:
        print(f"cepkit: {error}", file=sys.stderr)
        return 2
