"""What the README and the docs show works as shown."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
}


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_one_page_that_starts_from_the_front_door():
    assert len(README.splitlines()) <= 120
    first = examples()[0].strip().splitlines()
    assert len(first) <= 10 and first[0].startswith("from cepkit import ")


def test_the_examples_run_and_give_the_figures_they_name(monkeypatch):
    monkeypatch.chdir(ROOT)
    first, learned, debugger = examples()
    names: dict = {}
    exec(compile(first, "README.md", "exec"), names)
    assert names["x"].shape == (2000, 2) and bool(torch.isfinite(names["x"]).all())
    error = names["guidance_error"](names["approximate"], names["toy"].truth, 0.2, 3.0, names["schedule"])
    assert float(error) == pytest.approx(0.7, abs=0.07)
    exec(compile(learned.replace("steps=2500", "steps=50"), "README.md", "exec"), names)
    assert names["training"].index == 50
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        exec(compile(debugger, "README.md", "exec"), names)
    assert "sign flip" in shown.getvalue()


@pytest.mark.slow
def test_learned_guidance_is_as_good_as_the_readme_says():
    names: dict = {}
    for example in examples()[:2]:
        exec(compile(example, "README.md", "exec"), names)
    error = names["guidance_error"](names["training"].guidance, names["toy"].truth, 0.2, 3.0, names["schedule"])
    assert float(error) == pytest.approx(0.07, abs=0.03)


@pytest.mark.parametrize("page", PAGES)
def test_every_target_command_and_file_a_page_names_exists(page):
    from cepkit.commands.cli import COMMANDS

    text = PAGES[page]
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = {a or b for a, b in re.findall(r"`make ([a-z0-9-]+)|^make ([a-z0-9-]+)", text, re.MULTILINE)}
    assert named <= set(targets), named - set(targets)
    commands = {a or b for a, b in re.findall(r"`(?:\.venv/bin/)?cepkit ([a-z]+)|^cepkit ([a-z]+)", text, re.MULTILINE)}
    known = {name.split()[0] for name in COMMANDS}
    assert commands <= known, commands - known
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (ROOT / page).parent / path if path else ROOT / page
            assert target.exists(), link
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
            assert not anchor or anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, link
