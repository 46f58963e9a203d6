"""Remake the data files of this folder and check them against manifest.json: `python data/remake.py [--write]`."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent


def wine() -> str:
    """178 Italian wines: flavanoids and colour intensity, standardised; energy 0 for the strongest wine, 1 for the weakest."""
    from sklearn.datasets import load_wine

    bunch = load_wine()
    table = bunch.data[:, [bunch.feature_names.index(name) for name in ("flavanoids", "color_intensity", "alcohol")]]
    x = (table[:, :2] - table[:, :2].mean(0)) / table[:, :2].std(0)
    alcohol = table[:, 2]
    energy = (alcohol.max() - alcohol) / (alcohol.max() - alcohol.min())
    lines = [f"{a:.6f},{b:.6f},{e:.6f}" for (a, b), e in zip(x, energy, strict=True)]
    return "\n".join(["flavanoids,colour_intensity,energy", *lines, ""])


MAKERS = {"wine.csv": wine}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the files instead of comparing them")
    write = parser.parse_args().write
    manifest = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
    wrong = 0
    for name, make in MAKERS.items():
        content = make().encode()
        if write:
            (HERE / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        agrees = digest == manifest[name]["sha256"]
        wrong += not agrees
        print(f"{name}: {'as recorded' if agrees else f'differs from the manifest, sha256 {digest}'}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
