"""A check of the machine: what is there, what is not, and the one command that adds it."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shutil
import sys
from dataclasses import dataclass

_BASE = "pip install -c constraints.txt -e ."
PACKAGES = {
    # the command that adds them: packages; those of the base are imported, too
    _BASE: ("torch", "numpy", "scipy", "matplotlib", "safetensors", "tensorboardX", "lazy-loader", "tqdm", "tyro", "jinja2"),
    "pip install -c constraints.txt -e '.[course]'": ("jupyterlab", "ipywidgets", "anywidget", "seaborn", "pandas", "voila"),
    "pip install -c constraints.txt -e '.[rl]'": ("mujoco", "gymnasium", "gymnasium-robotics", "h5py", "minari", "pooch"),
    "pip install -c constraints.txt -e '.[images]'": ("pillow", "diffusers"),
    "make d4rl": ("gym", "d4rl"),
}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Requirement:
    """One line of the check; `fix` is the command that adds what is missing, `required` whether the base needs it."""

    name: str
    found: bool
    detail: str
    fix: str
    required: bool = False

    def __str__(self) -> str:
        mark = "ok     " if self.found else ("BROKEN " if self.required else "absent ")
        return f"{mark} {self.name:<18} {self.detail}" + ("" if self.found else f"   add it with: {self.fix}")


def doctor() -> int:
    """Print all requirements; the exit code is 1 where the base is broken."""
    from cepkit import __version__

    found = examine()
    print(f"cepkit {__version__}", *found, sep="\n")
    broken = [requirement.name for requirement in found if requirement.required and not requirement.found]
    print(f"The base is broken: {', '.join(broken)}." if broken else "The base works. What is absent is optional.")
    return 1 if broken else 0


def find_browser() -> str | None:
    """The path of a Chromium-like browser, or None."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def examine() -> list[Requirement]:
    """Check Python, every package, the device and the browser, the base first."""
    supported = (3, 11) <= sys.version_info[:2] < (3, 14)
    detail = platform.python_version() + ("" if supported else " (3.11 to 3.13 expected)")
    found = [Requirement("python", supported, detail, "install Python 3.11", True), _device()]
    found += [_package(name, fix) for fix, names in PACKAGES.items() for name in names]
    browser = find_browser()
    return [*found, Requirement("chromium", browser is not None, browser or "no browser found", "apt-get install chromium")]


def _package(name: str, fix: str) -> Requirement:
    required = fix == _BASE
    try:
        version = importlib.metadata.version(name)
        if required:
            importlib.import_module(name.replace("-", "_"))
    except importlib.metadata.PackageNotFoundError:
        return Requirement(name, False, "not installed", fix, required)
    except Exception as error:  # a broken install may raise anything at import
        return Requirement(name, False, f"does not import: {error}", fix, required)
    return Requirement(name, True, version, fix, required)


def _device() -> Requirement:
    try:
        import torch

        cuda = torch.cuda.is_available()
        float((torch.ones(2, device="cuda" if cuda else "cpu") * 2).sum())
    except Exception as error:  # no torch, or a driver that does not fit it
        return Requirement("device", False, f"cannot compute: {error}", _BASE, True)
    detail = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} thread(s)"
    return Requirement("device", True, detail, _BASE, True)
