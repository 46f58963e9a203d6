"""A check of the machine: what is there, what is not, and the one command that adds it."""

import importlib
import importlib.metadata
import platform
import shutil
import sys

from cepkit import __version__

_BASE = "pip install -c constraints.txt -e ."
PACKAGES = {
    # the command that adds them: packages; those of the base are imported, too
    _BASE: "torch numpy scipy matplotlib safetensors tensorboardX lazy-loader psutil tqdm tyro jinja2".split(),
    "pip install -c constraints.txt -e '.[course]'": ("jupyterlab", "ipywidgets", "anywidget", "seaborn", "pandas", "voila"),
    "pip install -c constraints.txt -e '.[rl]'": ("mujoco", "gymnasium", "gymnasium-robotics", "h5py", "minari", "pooch"),
    "pip install -c constraints.txt -e '.[images]'": ("pillow", "diffusers"),
    "make d4rl": ("gym", "d4rl"),
}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def doctor() -> int:
    """Print what is there and what is missing, the base first; the exit code is 1 where the base is broken."""
    supported, browser = (3, 11) <= sys.version_info[:2] < (3, 14), find_browser()
    found = {"python": (supported, platform.python_version(), "install Python 3.11, 3.12 or 3.13"), "device": (*_device(), _BASE)}
    found |= {name: (*_package(name, load=fix == _BASE), fix) for fix, names in PACKAGES.items() for name in names}
    found["chromium"] = (browser is not None, browser or "no browser found", "apt-get install chromium")
    print(f"cepkit {__version__}")
    broken = []
    for name, (works, detail, fix) in found.items():
        required = fix == _BASE or name == "python"
        broken += [name] if required and not works else []
        mark = "ok" if works else ("BROKEN" if required else "absent")
        print(f"{mark:<7} {name:<18} {detail}" + ("" if works else f"   add it with: {fix}"))
    print(f"The base is broken: {', '.join(broken)}." if broken else "The base works. What is absent is optional.")
    return 1 if broken else 0


def find_browser() -> str | None:
    """The path of a Chromium-like browser, or None."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def _package(name: str, *, load: bool) -> tuple[bool, str]:
    try:
        version = importlib.metadata.version(name)
        if load:
            importlib.import_module(name.replace("-", "_"))
    except importlib.metadata.PackageNotFoundError:
        return False, "not installed"
    except Exception as error:  # a broken install may raise anything at import
        return False, f"does not import: {error}"
    return True, version


def _device() -> tuple[bool, str]:
    try:
        import torch

        cuda = torch.cuda.is_available()
        float((torch.ones(2, device="cuda" if cuda else "cpu") * 2).sum())
    except Exception as error:  # no torch, or a driver that does not fit it
        return False, f"cannot compute: {error}"
    if cuda:
        return True, torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    advice = "; OMP_NUM_THREADS=1, set before Python starts, is faster where the machine is busy" if threads > 1 else ""
    return True, f"CPU, {threads} thread(s){advice}"
