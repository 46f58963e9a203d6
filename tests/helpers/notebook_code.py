"""What a notebook runs, as one piece of Python."""

import json
from pathlib import Path


def code_of(notebook: Path) -> str:
    """The code cells one after the other, without lines for the shell or for IPython alone."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code").splitlines()
    return "\n".join(line for line in lines if not line.startswith(("!", "%")))
