"""Remake data/maze-runs: `python data/maze_runs.py [--seeds 0,1,2] [--build build/maze-runs]`, some minutes on one core.

Trains the maze's preset (or goes on where it was stopped), keeps the weights, and evaluates every policy; equal weights on one
machine with the same number of threads, other machines may round otherwise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cepkit.rl.maze_runs import evaluate_runs, train_runs

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2", help="of training (default 0,1,2)")
    parser.add_argument("--out", type=Path, default=HERE / "maze-runs", help="what ships (default data/maze-runs)")
    parser.add_argument("--build", type=Path, default=Path("build/maze-runs"), help="the whole runs (default build/maze-runs)")
    given = parser.parse_args()
    train_runs(given.out, given.build, [int(seed) for seed in given.seeds.split(",")])
    print(evaluate_runs(given.out))


if __name__ == "__main__":
    main()
