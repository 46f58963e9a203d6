"""The architecture page agrees with the import contract and with the tree, the debugger's page with what it can name."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEBUGGER = (ROOT / "docs" / "debugger.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


def drawn(block: str) -> list[list[str]]:
    """The rooms of a picture, line by line from the top."""
    return [re.split(r" \| ", re.split(r"  +", line)[0]) for line in block.strip().splitlines()]


def test_the_picture_of_rooms_is_the_contract():
    whole, inside_rl = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    layers = {contract["containers"][0]: contract["layers"] for contract in CONTRACTS if contract["type"] == "layers"}
    for block, package in ((whole, "cepkit"), (inside_rl, "cepkit.rl")):
        assert drawn(block) == [layer.split(" | ") for layer in layers[package]]


def test_the_rooms_are_the_folders():
    rooms = {path.name for path in (ROOT / "cepkit").iterdir() if (path / "__init__.py").is_file()}
    modules = {path.stem for path in (ROOT / "cepkit").glob("*.py")} - {"__init__", "__main__"}
    whole = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)[1]
    assert {room for line in drawn(whole) for room in line} == rooms | modules


def test_every_file_the_page_names_exists():
    for path in re.findall(r"`((?:cepkit|tests|data|docs)/[\w/.-]+)`", PAGE):
        assert (ROOT / path).exists(), path


def named_causes() -> set[str]:
    """The names of faults in the debugger's sources: first strings of candidates, tables and tuples, and `cause=...`."""
    found = set()
    for path in (ROOT / "cepkit" / "debugger").glob("[ce]*s/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            values = []
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Candidate", "_candidate", "_both", "_both_sides"):
                values = [value for value in node.args if isinstance(value, ast.Constant)][:1]
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and path.parent.name == "explanations":
                values = node.value.elts[:1]
            elif isinstance(node, ast.keyword) and node.arg == "cause":
                values = [node.value]
            elif isinstance(node, ast.Dict):
                heads = [value.elts[0] for value in node.values if isinstance(value, ast.Tuple)]
                keys = [key for key in node.keys if path.name == "callables.py"]
                values = keys if path.name == "callables.py" else heads
            found |= {value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)}
    return found - {""}


def test_the_page_of_the_debugger_has_every_cause():
    sections = set(re.findall(r"^(?:#### |\| )([\w -]+?)(?:$| \|)", DEBUGGER, re.MULTILINE))
    assert {"sign", "factor", "time scaled", "rotated", "batch order", "mean energy"} <= named_causes()
    assert named_causes() - sections == set()


def test_the_page_of_the_debugger_shows_every_picture():
    shown = set(re.findall(r"\]\(explanations/([\w.]+)\)", DEBUGGER))
    assert shown == {path.name for path in (ROOT / "docs" / "explanations").iterdir()}
