"""The command line `cepkit ...`: find the command, import it alone, let tyro read its options, and report mistakes."""

import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from cepkit import __version__

STOPPED = 130  # what a shell reports after Ctrl-C
_BROKEN_PIPE = 141  # and after SIGPIPE
COMMANDS = {
    # what a user types: (module of this folder, function, help)
    "doctor": ("doctor", "doctor", "check this machine: what is there, what is missing, how to add it"),
    "demo": ("demo", "demo", "compare exact with approximate guidance: print a table, write a page with pictures"),
    "app": ("app", "app", "serve the lab as a web page, for a class without notebooks"),
    "toy train": ("toy_commands", "train", "train a denoiser and an energy net on a toy or your own points, into a folder"),
    "toy show": ("toy_commands", "show", "measure a run against the truth: print the table of errors, write figure.png"),
    "data list": ("data_commands", "list_names", "list the datasets for offline reinforcement learning"),
    "data info": ("data_commands", "info", "check every value of a dataset; print sizes, returns, scores and its source"),
    "data fetch": ("data_commands", "fetch", "download one of D4RL's datasets"),
    "data make": ("data_commands", "make", "make a dataset that ships on this machine, and compare"),
    "train": ("run_commands", "train", "train QGPO on a dataset for offline reinforcement learning, into a folder"),
    "eval": ("result_commands", "evaluate", "evaluate trained runs at several guidance scales, beside the baselines"),
    "report": ("result_commands", "report", "write a table and a figure of all evaluations"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for a user's mistake). Warnings are lines on stderr.

    Raises:
        SystemExit: with code 2 for options that do not parse, with code 0 after the help of a command.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may hold what the terminal's encoding cannot
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"cepkit: {message}", file=sys.stderr)
            code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except (ValueError, OSError) as error:
        print(f"cepkit: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):  # torch's words for a MemoryError
            raise
        print(f"cepkit: the memory of this machine is too small for what was asked: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cepkit: stopped", file=sys.stderr)
        return STOPPED


def _run(given: list[str]) -> int:
    if given == ["--version"]:
        print(f"cepkit {__version__}")
        return 0
    group = given[0] if given and any(name.startswith(f"{given[0]} ") for name in COMMANDS) else ""
    words = 2 if group else 1
    name, rest = " ".join(given[:words]), given[words:]
    if name in COMMANDS:
        return _call(name, rest)
    asked = given[words - 1 :]  # for a command that is none, for help, or for nothing
    if asked and asked[0] not in ("-h", "--help"):
        from cepkit.validation import check_name

        check_name(name, COMMANDS, name="command")
    print(
        f"usage: cepkit {group or '[--version]'} COMMAND ...\n\nEnergy-guided diffusion, measured against the exact answer.\n",
        *(f"  {command:<12} {text}" for command, (_, _, text) in COMMANDS.items() if command.startswith(group)),
        "\n`cepkit COMMAND --help` lists the options of a command.",
        sep="\n",
        file=sys.stdout if asked else sys.stderr,
    )
    return 0 if asked else 2


def _call(name: str, arguments: list[str]) -> int:
    import tyro

    module, function, text = COMMANDS[name]
    command = getattr(importlib.import_module(f"cepkit.commands.{module}"), function)
    if not sys.stdout.isatty():
        tyro._experimental_options["utf8_boxes"] = False  # plain text for files and pipes
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
    description = f"{text[0].upper()}{text[1:]}."
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"note: {message}", file=sys.stderr)
        return tyro.cli(command, prog=f"cepkit {name}", description=description, args=arguments, config=config) or 0
