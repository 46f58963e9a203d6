"""How long each notebook takes from the first cell to the last, in its own kernel."""

import time
import warnings
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_notebooks(row):
    total = 0.0
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            NotebookClient(notebook, timeout=360, kernel_name="python3", resources={"metadata": {"path": path.parent}}).execute()
        seconds = time.perf_counter() - start
        total += seconds
        minutes = {"04": 4, "05": 4, "07": 6}.get(path.stem[:2], 3)
        row(f"notebook {path.stem}", f"under {minutes} min", f"{seconds:.0f} s", seconds < 60 * minutes)
    row("all notebooks", "reported", f"{total:.0f} s", True)
