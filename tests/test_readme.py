"""What the README shows works as shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from cepkit.learning import DataSource, TrainingConfig, start_run

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_library_examples_run_and_give_the_figure_they_name(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    code, learned, lab = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["x"].shape == (2000, 2) and bool(torch.isfinite(names["x"]).all())
    error = names["guidance_error"](names["approximate"], names["toy"].truth, 0.2, 3.0, names["schedule"])
    assert float(error) == pytest.approx(0.7, abs=0.07)
    start_run(tmp_path / "x", TrainingConfig(steps=1), DataSource("8gaussians", n=100))
    learned = learned.replace("steps=2500", "steps=50").replace("runs/x", str(tmp_path / "x"))
    exec(compile(learned, "README.md", "exec"), names)
    (tmp_path / "build").mkdir()
    exec(compile(lab.replace("build/", f"{tmp_path}/build/"), "README.md", "exec"), names)
    assert names["report"].finding("truth-guidance").severity == "error" and "sign flip" in str(names["report"])
    assert (tmp_path / "build" / "lab.html").exists() and (tmp_path / "build" / "report.html").exists()
    assert names["training"].index == 50 and names["x"].shape == (2000, 2) and names["run"].step == 0


def test_every_file_and_target_it_names_exists():
    targets = re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`?make ([a-z0-9]+)", TEXT)) - {"PY"} <= set(targets)
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert link.startswith("https://") or (ROOT / link).exists(), link
