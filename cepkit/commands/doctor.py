"""A check of the machine: what is there, what is not, and the one command that adds it."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shutil
import sys
from dataclasses import dataclass

_BASE = ("torch", "numpy", "scipy", "matplotlib", "safetensors", "tensorboardX")
_RL = ("mujoco", "gymnasium", "gymnasium-robotics", "h5py", "minari")
_NOTEBOOKS = ("jupyterlab", "ipywidgets", "anywidget", "seaborn")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Finding:
    """One line of the report; `fix` is the command that would add what is missing, `required` whether the base needs it."""

    name: str
    found: bool
    detail: str
    fix: str = ""
    required: bool = False

    def __str__(self) -> str:
        mark = "ok     " if self.found else ("BROKEN " if self.required else "absent ")
        return f"{mark} {self.name:<12} {self.detail}" + (f"   add it with: {self.fix}" if not self.found and self.fix else "")


def find_browser() -> str | None:
    """The path of a Chromium-like browser, or None."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def _package(name: str, fix: str, *, required: bool = False, load: bool = False) -> Finding:
    try:
        version = importlib.metadata.version(name)
        if load:
            importlib.import_module(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", fix, required)
    except Exception as error:  # a broken install may raise anything at import
        return Finding(name, False, f"does not import: {error}", fix, required)
    return Finding(name, True, version, required=required)


def examine() -> list[Finding]:
    """All findings, the base first."""
    supported = (3, 11) <= sys.version_info[:2] < (3, 14)
    detail = platform.python_version() + ("" if supported else " (3.11 to 3.13 expected)")
    findings = [Finding("python", supported, detail, "install Python 3.11", True)]
    findings += [_package(name, "pip install -c constraints.txt -e .", required=True, load=True) for name in _BASE]
    findings.append(_device())
    findings += [_package(name, "pip install -c constraints.txt -e '.[course]'") for name in _NOTEBOOKS]
    findings += [_package(name, "pip install -c constraints.txt -e '.[rl]'") for name in _RL]
    findings.append(_package("gym", "make d4rl"))
    findings.append(_package("d4rl", "make d4rl"))
    browser = find_browser()
    findings.append(Finding("browser", browser is not None, browser or "no Chromium found", "apt-get install chromium"))
    return findings


def _device() -> Finding:
    try:
        import torch

        from cepkit.course.notebook import choose_device

        device = choose_device()
        detail = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
        float((torch.ones(2, device=device) * 2).sum())
    except Exception as error:  # no torch, or a driver that does not fit it
        return Finding("device", False, f"cannot compute: {error}", "pip install -c constraints.txt -e .", True)
    return Finding("device", True, detail, required=True)
