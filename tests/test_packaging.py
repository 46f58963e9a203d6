"""The files that install the project agree with each other, and the data files are what the manifest says."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines) -> dict[str, str]:
    found = (re.fullmatch(r"([\w.-]+)==([^\s;]+)", line.split("#")[0].strip()) for line in lines)
    return {normal(match[1]): match[2] for match in found if match}


def required(*extras: str) -> set[str]:
    lines = list(PROJECT["dependencies"]) if not extras else [r for e in extras for r in PROJECT["optional-dependencies"][e]]
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in lines} - {"cepkit"}


CONSTRAINTS = pins((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
DISTRIBUTIONS = packages_distributions()
SOURCES = sorted((ROOT / "cepkit").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CONDA_PIP = next(item["pip"] for item in ENVIRONMENT["dependencies"] if isinstance(item, dict))


def test_every_direct_requirement_has_a_tested_version():
    assert required() | required(*PROJECT["optional-dependencies"]) <= set(CONSTRAINTS)


def imported(code: str) -> Iterator[str]:
    """The packages that a piece of code imports, `import_extra("...")` included."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_extra" and node.args:
            yield from (name.value.split(".")[0] for name in node.args[:1] if isinstance(name, ast.Constant))


def undeclared(code: str, declared: set[str]) -> set[str]:
    """Packages that a piece of code imports and that no declared requirement brings."""
    foreign = set(imported(code)) - sys.stdlib_module_names - {"cepkit"}
    return {name for name in foreign if not {normal(d) for d in DISTRIBUTIONS.get(name, ())} & declared}


def test_every_package_that_the_library_imports_is_declared():
    declared = required() | required("notebooks", "app", "rl", "images", "d4rl") | {"d4rl"}  # for d4rl itself see `make d4rl`
    found = {path.name: undeclared(path.read_text(encoding="utf-8"), declared) for path in SOURCES}
    assert {name: packages for name, packages in found.items() if packages} == {}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_package_that_a_notebook_imports_is_declared(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    scripts = {path.stem for path in (ROOT / "data").glob("*.py")}  # beside the data that they make
    assert undeclared(code, required() | required("notebooks", "app", "rl")) - scripts == set()


def test_the_conda_environment_pins_what_the_constraints_pin():
    conda = pins(CONDA_PIP)
    assert conda and {name: CONSTRAINTS[name] for name in conda} == conda


def test_the_conda_environment_has_what_the_course_and_d4rl_need():
    assert required() | required("notebooks", "app", "rl", "d4rl") <= set(pins(CONDA_PIP))
    assert {"torch", "jupyterlab", "matplotlib", "seaborn", "ipywidgets", "gym"} <= set(pins(CONDA_PIP))


def test_the_conda_python_is_one_the_package_allows():
    python = next(item for item in ENVIRONMENT["dependencies"] if isinstance(item, str) and item.startswith("python="))
    assert python == "python=3.11" and PROJECT["requires-python"] == ">=3.11,<3.14"


def test_d4rl_itself_is_never_a_requirement():
    everything = [line for extra in PROJECT["optional-dependencies"].values() for line in extra] + PROJECT["dependencies"]
    assert not any(normal(re.match(r"[\w.-]+", line)[0]) in ("d4rl", "mujoco-py") for line in everything)


def test_the_installed_versions_are_the_tested_ones():
    from importlib.metadata import version

    for name in required() | required("notebooks"):
        assert version(name).split("+")[0] == CONSTRAINTS[name], name


def test_data_files_match_the_manifest():
    manifest = json.loads((ROOT / "data" / "manifest.json").read_text(encoding="utf-8"))
    files = {path.name for path in (ROOT / "data").iterdir() if path.suffix not in (".py", ".json") and path.is_file()}
    assert files == set(manifest)
    for name, entry in manifest.items():
        content = (ROOT / "data" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"] and len(content) == entry["bytes"]
        assert entry["licence"] and entry["source"] and entry["command"]


def test_data_files_can_be_remade_to_the_byte():
    done = subprocess.run([sys.executable, ROOT / "data" / "remake.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not all(importlib.util.find_spec(name) for name in ("gym", "d4rl", "gymnasium")), reason="d4rl (make d4rl)")
def test_gym_d4rl_gymnasium_and_torch_live_in_one_process():
    code = "import gym, d4rl, gymnasium, torch, numpy; assert numpy.__version__ >= '2'; print(gym.__version__)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split()[-1] == "0.26.2", done.stderr[-2000:]
