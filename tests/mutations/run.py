"""Plant defects one by one in a copy of the tree and see whether the short suite notices each; exit 1 where one goes unnoticed.

    python tests/mutations/run.py                 all of them
    python tests/mutations/run.py cep-sign ...    only these
    python tests/mutations/run.py --all           ask the slow tests too about what the short suite misses

The tests named with a defect run first. Whatever they miss, all tests that are not marked `slow` are asked.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import NamedTuple

from defects import DEFECTS, ROOT, Defect

AT_ONCE = 2
LONGEST = 3600  # seconds of one pytest
_COPIED = ("cepkit", "tests", "notebooks", "docs", "data", ".ci")
_LATE = ("tests/browser", "tests/test_notebooks.py")  # asked last: they take longest
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class Verdict(NamedTuple):
    """What became of a defect: the test that noticed it, "" if none did."""

    defect: Defect
    test: str
    seconds: float


def copy_tree(target: Path) -> Path:
    """Copy what the tests need."""
    target.mkdir()
    for path in ROOT.iterdir():
        if path.name in _COPIED:
            shutil.copytree(path, target / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.is_file() and path.name != ".git":
            shutil.copy(path, target)
    return target


def first_failure(tree: Path, *arguments: str) -> str:
    """Run pytest in a tree; return the first test that failed, "" if none did."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=LONGEST)
    if done.returncode in (0, 5):  # 5: nothing to run
        return ""
    found = _FAILED.search(done.stdout)
    if found is None:
        raise RuntimeError(f"pytest failed without a failed test:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return found[1]


def judge(defect: Defect, tree: Path, *, slow_too: bool) -> Verdict:
    """Plant one defect in a tree, run the tests until one notices, and take the defect out again."""
    begun, path = time.perf_counter(), tree / defect.file
    original = path.read_text(encoding="utf-8")
    path.write_text(defect.planted(tree), encoding="utf-8")
    try:
        rounds = (defect.hints, [f"--ignore={path}" for path in _LATE], _LATE)
        test = next(filter(None, (first_failure(tree, "-m", "not slow", *each) for each in rounds)), "")
        if not test and slow_too and (late := first_failure(tree, "-m", "slow")):
            print(f"{defect.name}: only a slow test noticed: {late}", flush=True)
    finally:
        path.write_text(original, encoding="utf-8")
    return Verdict(defect, test, time.perf_counter() - begun)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="defects to plant (default: all)")
    parser.add_argument("--all", action="store_true", help="ask the slow tests too about what the short suite misses")
    arguments = parser.parse_args()
    known = {defect.name: defect for defect in DEFECTS}
    unknown = sorted(set(arguments.names) - set(known))
    if unknown:
        parser.error(f"expected some of {', '.join(known)}; got {', '.join(unknown)}")
    chosen = [known[name] for name in arguments.names] or list(DEFECTS)
    for defect in chosen:
        defect.planted()
    with tempfile.TemporaryDirectory(prefix="cepkit_defects_") as folder:
        trees: Queue[Path] = Queue()
        for number in range(min(AT_ONCE, len(chosen))):
            trees.put(copy_tree(Path(folder) / f"tree-{number}"))
        hints = sorted({hint for defect in chosen for hint in defect.hints})
        tree = trees.get()
        broken = first_failure(tree, "-n", str(AT_ONCE), "-m", "not slow", *hints)
        trees.put(tree)
        if broken:
            print(f"{broken} fails without any defect; mend it first")
            return 2

        def in_some_tree(defect: Defect) -> Verdict:
            tree = trees.get()
            try:
                verdict = judge(defect, tree, slow_too=arguments.all)
            finally:
                trees.put(tree)
            print(f"{defect.name:<22} {verdict.seconds:6.0f} s  {verdict.test or 'NOT NOTICED: ' + defect.broken}", flush=True)
            return verdict

        with ThreadPoolExecutor(AT_ONCE) as pool:
            verdicts = list(pool.map(in_some_tree, chosen))
    missed = [verdict.defect.name for verdict in verdicts if not verdict.test]
    print(f"{len(verdicts) - len(missed)} of {len(verdicts)} planted defects noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as error:
        sys.exit(str(error))
