"""Every notebook runs, its exercises wait for an answer, and the folded solutions pass their own checks.

Here in its short version (CEPKIT_QUICK=1); as shipped among the slow tests.
"""

from __future__ import annotations

import ast
import json
import re
import time
import warnings
from pathlib import Path

import nbformat
import pytest
from lengths import slow
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SOLUTION = re.compile(r"<summary>Solution</summary>\s*```python\n(.*?)```", re.DOTALL)
LONGEST_CELL = 18
SECONDS = 600  # for one cell, on a very busy machine; `make bench` measures


def solution_after(cells: list, index: int) -> str:
    """The folded solution in the markdown that follows an exercise."""
    return SOLUTION.search(cells[index + 1].source).group(1)


def with_solutions(notebook: nbformat.NotebookNode) -> tuple[nbformat.NotebookNode, list[int], list[int]]:
    """A copy with, after each exercise, a cell of its solution and the same check; and the places of both kinds of cell."""
    cells, asked, solved = [], [], []
    for index, cell in enumerate(notebook.cells):
        cells.append(cell)
        if cell.cell_type == "code" and re.search(r"^answer_\d+ = \.\.\.$", cell.source, re.MULTILINE):
            asked.append(len(cells) - 1)
            checks = [ast.unparse(node) for node in ast.parse(cell.source).body if ast.unparse(node).startswith("check(")]
            cells.append(nbformat.v4.new_code_cell(solution_after(notebook.cells, index) + "\n" + checks[-1]))
            solved.append(len(cells) - 1)
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata), asked, solved


def verdict(cell: nbformat.NotebookNode) -> str:
    return cell.outputs[-1]["data"]["text/plain"]


def test_the_course_is_numbered_without_gaps():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(9)]


def execute(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Run every cell in a kernel of its own, in the notebook's folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the Jupyter machinery, not of the notebook: its kernel is another process
        NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": path.parent}}).execute()


@pytest.mark.parametrize(
    ("path", "short"),
    [pytest.param(path, True, id=path.stem) for path in NOTEBOOKS]
    + [pytest.param(path, False, id=f"{path.stem}, as shipped", marks=pytest.mark.slow) for path in NOTEBOOKS],
)
def test_it_runs_and_its_solutions_pass(path, short, monkeypatch):
    monkeypatch.setenv("CEPKIT_QUICK", str(int(short)))
    notebook, asked, solved = with_solutions(nbformat.read(path, as_version=4))
    assert len(asked) >= 3
    start = time.perf_counter()
    execute(notebook, path)
    print(f"{path.stem}: {time.perf_counter() - start:.0f} s, {len(asked)} exercises")
    for blank, answered in zip(asked, solved, strict=True):
        assert verdict(notebook.cells[blank]).startswith("○ Your turn")
        assert verdict(notebook.cells[answered]).startswith("✓ Right"), verdict(notebook.cells[answered])
    pictures = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if "image/png" in o.get("data", {})]
    assert pictures, "a notebook shows a picture"
    noise = [o.text for c in notebook.cells if c.cell_type == "code" for o in c.outputs if o.get("name") == "stderr"]
    verdicts = "the learned guidance"  # what short trainings rightly say of themselves
    assert [text for text in noise if verdicts not in text] == [], "a notebook prints no warnings"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_laid_out_like_the_others(path):
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for wanted in ("What you will be able to do", "What you need first", "Running time", "### Exercise 3", "## Where next"):
        assert wanted in prose
    code = [cell for cell in cells if cell.cell_type == "code"]
    lines = [[line for line in cell.source.splitlines() if line.strip()] for cell in code]
    assert len(lines[0]) <= 6
    assert max(len(cell) for cell in lines) <= LONGEST_CELL
    assert prose.count("<details>") == prose.count("</details>") >= 6


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stored_without_outputs_for_any_python_3_kernel(path):
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in raw["cells"] if cell["cell_type"] == "code")
    assert raw["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_to_other_notebooks_exist(path):
    prose = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)]+\.ipynb)\)", prose):
        assert (path.parent / target).is_file()


OWN = 'from_points("../data/wine.csv", std=0.2)'


@pytest.mark.parametrize("path", [NOTEBOOKS[0], *slow(*NOTEBOOKS[1:5])], ids=lambda path: path.stem)
def test_every_view_works_on_your_own_points(path, monkeypatch):
    """The toy each notebook works with, replaced by a CSV file; the exercises, which speak of a certain toy, left out."""
    monkeypatch.setenv("CEPKIT_QUICK", "1")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code" and "answer_" not in cell.source]
    replaced = 0
    for cell in notebook.cells:
        cell.source, count = re.subn(r"make_toy\(name\)(?= for)", OWN, cell.source)
        cell.source, labs = re.subn(r'(?<=GuidanceLab\()"8gaussians"', OWN, cell.source)
        cell.source, more = re.subn(r'^(toy, .*= )make_toy\("\w+"\)', rf"\1{OWN}", cell.source, flags=re.MULTILINE)
        replaced += count + labs + more
    assert replaced
    notebook.cells.insert(0, nbformat.v4.new_code_cell("from cepkit import from_points"))
    execute(notebook, path)
