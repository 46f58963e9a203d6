"""How long the front door takes, beside torch alone."""

import subprocess
import sys
import time

BAR = 2.0


def seconds(code: str) -> float:
    """The quickest of five fresh interpreters."""

    def once() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    return min(once() for _ in range(5))


def test_import(row):
    torch, door = seconds("import torch"), seconds("import cepkit")
    whole = seconds("import cepkit\nfor name in cepkit.__all__: getattr(cepkit, name)")
    measured = f"{door:.2f} s; with every name of the front door {whole:.2f} s; torch alone {torch:.2f} s"
    row("`import cepkit`", f"{BAR:g} times `import torch`", measured, max(door, whole) < BAR * torch)
