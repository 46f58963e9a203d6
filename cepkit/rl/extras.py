"""Packages that only offline RL needs, imported when first used; a missing one is named together with the extra that has it."""

from __future__ import annotations

import importlib
from types import ModuleType


def import_extra(module: str) -> ModuleType:
    """Import an optional module of the extra `rl`.

    Raises:
        ValueError: it is not installed; the message says how to add it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0].replace("_", "-")
        raise ValueError(
            f"this needs the package {package}, which does not import ({error}); add it with: pip install -e '.[rl]'"
        ) from error
