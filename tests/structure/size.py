"""Print how large the library is, room by room, and how much one reads on the way to guided samples; exit 1 beyond the limits.

python tests/structure/size.py
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "cepkit"
LARGEST = {"the library": 16_000, "diffusion, truth and learning": 3800, "a module": 300, "a function": 60}
READING = ("schedules", "process", "denoisers", "guidance", "sampling")  # of cepkit/diffusion, in this order
PATHS = {
    # name: (entry modules, most files, most lines); counted is all that these import, but for the checks of what a user hands in
    "from an energy to guided samples": (("diffusion.guidance", "diffusion.sampling"), 5, 850),
    "with learned guidance": (("diffusion.sampling", "learning.loop"), 8, 1350),
}
NOT_READ = {"validation", "calling", "data_checks", "settings", "learning.sufficiency"}


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def module_path(name: str) -> Path:
    return PACKAGE / (name.replace(".", "/") + ".py")


def imports_of(name: str) -> Iterator[str]:
    """The modules of the package that a module imports when it is run, type annotations included."""
    for node in ast.walk(ast.parse(module_path(name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cepkit."):
            module = node.module.removeprefix("cepkit.")
            for alias in node.names:
                yield f"{module}.{alias.name}" if module_path(f"{module}.{alias.name}").is_file() else module


def closure(entries: tuple[str, ...]) -> list[str]:
    """All modules that these need, themselves included, in the order of their discovery."""
    found, open_ends = [], list(entries)
    while open_ends:
        name = open_ends.pop(0)
        if name not in found and name not in NOT_READ and module_path(name).is_file():
            found.append(name)
            open_ends += imports_of(name)
    return found


def long_functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            size = node.end_lineno - node.lineno + 1
            if size > LARGEST["a function"]:
                yield f"{path.relative_to(PACKAGE.parent)}: {node.name} has {size} lines"


def repeated(paths: list[Path]) -> list[str]:
    """File names and class names that stand for two things."""
    files, classes = defaultdict(list), defaultdict(list)
    for path in paths:
        if path.stem not in ("__init__", "__main__"):
            files[path.stem].append(path)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(path)
    return [
        f"{kind} {name}: {', '.join(str(path.relative_to(PACKAGE)) for path in places)}"
        for kind, found in (("file name", files), ("class name", classes))
        for name, places in found.items()
        if len(places) > 1
    ]


def main() -> int:
    paths = sorted(PACKAGE.rglob("*.py"))
    faults = [
        f"{path.relative_to(PACKAGE.parent)} has {lines_of(path)} lines" for path in paths if lines_of(path) > LARGEST["a module"]
    ]
    faults += [line for path in paths for line in long_functions(path)] + repeated(paths)
    rooms = defaultdict(int)
    for path in paths:
        parts = path.relative_to(PACKAGE).parts
        room = "(top level)" if len(parts) == 1 else "/".join(parts[:2]) if parts[0] == "rl" and len(parts) > 2 else parts[0]
        rooms[room] += lines_of(path)
    for room, size in rooms.items():
        print(f"{size:7,}  {room}")
    totals = {
        "the library": sum(rooms.values()),
        "diffusion, truth and learning": sum(rooms[r] for r in ("diffusion", "truth", "learning")),
    }
    for name, size in totals.items():
        print(f"{size:7,}  {name} (at most {LARGEST[name]:,})")
        faults += [f"{name} has {size:,} lines"] if size > LARGEST[name] else []
    for name, (entries, most_files, most_lines) in PATHS.items():
        modules = closure(entries)
        size = sum(lines_of(module_path(module)) for module in modules)
        print(f"{size:7,}  {name}: {len(modules)} files (at most {most_files} files, {most_lines:,} lines): {', '.join(modules)}")
        faults += [f"{name}: {len(modules)} files, {size:,} lines"] if len(modules) > most_files or size > most_lines else []
    print("\n".join(f"too large or twice: {fault}" for fault in faults) or "all within the limits")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
