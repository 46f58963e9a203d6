"""Who may import whom, what a front door offers, and what a notebook may reach for."""

from __future__ import annotations

import ast
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_code import code_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cepkit"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DOORS = sorted(
    ".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py") if "attach" in path.read_text("utf-8")
)
ROOMS_OF_A_NOTEBOOK = 3
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"


def python(*arguments, folder=ROOT):
    """Run Python where `cepkit` is the package of this folder."""
    command = [sys.executable, "-c", *arguments]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True)


def test_the_rooms_import_each_other_only_in_the_order_of_the_contract():
    done = python(LINT, "--no-cache")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "imported", "line"),
    [
        ("diffusion.schedules", "truth.exact", "import cepkit.truth.exact"),
        ("learning.losses", "plots", "from cepkit import plots"),
        ("rl.data.rewards", "rl.agent.qgpo", "from cepkit.rl.agent import qgpo"),
        ("truth.metrics", "lab.panels", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from cepkit.lab import panels"),
    ],
)
def test_an_import_against_the_order_breaks_the_contract(tmp_path, module, imported, line):
    shutil.copytree(PACKAGE, tmp_path / "cepkit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / f"cepkit.{module}".replace(".", "/")).with_suffix(".py").open("a") as file:
        file.write(f"\n{line}\n")
    done = python(LINT, "--no-cache", folder=tmp_path)
    assert done.returncode != 0 and f"cepkit.{module} -> cepkit.{imported} (l." in done.stdout, done.stdout


def test_the_front_door_opens_without_torch():
    done = python("import sys, cepkit; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("door", DOORS)
def test_every_name_of_a_front_door_is_there(door):
    module = importlib.import_module(door)
    assert module.__all__
    for name in module.__all__:
        getattr(module, name)


def imports_of(notebook: Path) -> list[tuple[str, str]]:
    """(module, name) of everything that a notebook imports from cepkit."""
    found = []
    for node in ast.walk(ast.parse(code_of(notebook))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names if alias.name.split(".")[0] == "cepkit"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cepkit":
            found += [(node.module, alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_from_cepkit_and_the_front_doors_of_at_most_three_rooms(notebook):
    imports = imports_of(notebook)
    whole = {f"cepkit.{name}" for module, name in imports if module == "cepkit"} & set(DOORS)
    rooms = whole | {module for module, _ in imports} - {"cepkit"}
    assert rooms <= set(DOORS) and len(rooms) <= ROOMS_OF_A_NOTEBOOK
    known = {*importlib.import_module("cepkit").__all__, "plots", *(door.removeprefix("cepkit.") for door in whole)}
    assert {name for module, name in imports if module == "cepkit"} <= known
