"""How options are declared, and values that several commands read."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, TypedDict, get_type_hints

import torch
from tyro.conf import FlagConversionOff, arg


def optional(kind: type, metavar: str, default: str) -> object:
    """The type of an option that may be left out, for a parameter that is None then; `default` says what it stands for."""
    return Annotated[kind | None, arg(metavar=metavar, help_behavior_hint=f"(default: {default})" if default else "")]


def options_of(kind: type, default: str | None = None) -> type:
    """The plain fields of a configuration as options of a command, which gets a dictionary of those that were given.

    Args:
        kind: a dataclass, whose docstring becomes the help of the options.
        default: said of every option; by default its own default value.
    """
    hints, options = get_type_hints(kind), {}
    for entry in fields(kind):
        if isinstance(entry.default, (bool, int, float, str, tuple)):
            hint = arg(help_behavior_hint=f"(default: {entry.default if default is None else default})")
            options[entry.name] = Annotated[hints[entry.name], hint, FlagConversionOff]
    described = TypedDict("Settings", options, total=False)
    described.__doc__ = kind.__doc__
    return described


def read_numbers(text: str, kind: type, option: str) -> tuple:
    """The numbers of a kind (int or float) between commas.

    Raises:
        ValueError: anything else.
    """
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"{option}: expected numbers between commas, such as 0,1,2, got {text!r}") from error


def check_replaceable(paths: Iterable[Path], mark: str) -> None:
    """Refuse to replace files of the user's: what exists is ours only if the first, a text, has the mark near its beginning.

    Raises:
        ValueError: it is not; the message names the first such file.
    """
    paths = list(paths)
    if paths[0].is_file() and mark.encode() in paths[0].read_bytes()[:2000]:
        return
    for path in paths:
        if path.exists():
            raise ValueError(f"--out: expected a new name or one that this command wrote, but {path} is none; choose another")


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
        raise ValueError(f"--device: expected auto or a device of this machine, such as cpu, got {name!r}") from error
    return device
