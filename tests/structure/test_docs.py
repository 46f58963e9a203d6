"""The architecture page agrees with the import contract and with the tree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
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
