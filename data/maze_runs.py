"""Remake data/maze-runs: `OMP_NUM_THREADS=1 python data/maze_runs.py [--seeds 0,1,2] [--build build/maze-runs]`, on one core.

Trains the maze's preset (or goes on where it was stopped), keeps the weights alone, and evaluates every policy as `cepkit eval`
does: the guidance scale is chosen on the episodes of `CHOOSING` and reported on those of `REPORTING`. Equal weights on one
machine with the same number of threads, other machines may round otherwise.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from cepkit.rl import PRESETS, Transitions, load_dataset, load_run, resume_run, start_run
from cepkit.rl.agent.qgpo_run import keep_weights
from cepkit.rl.agent.run_folders import seed_folder
from cepkit.rl.agent.support_truth import TRUTH_TIMES, guidance_errors
from cepkit.rl.envs import maze
from cepkit.rl.envs.engines import find_environment
from cepkit.rl.study.leaderboard import find_experiments, leaderboard
from cepkit.rl.study.results import evaluate_run

HERE = Path(__file__).parent
CHOOSING, REPORTING, EPISODES = 1000, 2000, 50
MOST = 1024  # draws that stand for the behaviour itself


def field_errors(run: Path, data: Transitions) -> str:
    """Errors of the learned field in 200 states against exact ones, and those of the exact field of the most draws, in words."""
    qgpo, generator = load_run(run), torch.Generator().manual_seed(0)
    states, found = data.observations[torch.randint(len(data), (200,), generator=generator)], []

    def draws(k: int) -> Tensor:
        return qgpo.draw(states[:, None].expand(-1, k, -1), generator=generator)

    def text_of(errors: Tensor) -> str:
        return " ".join(f"{error:.2f}" for error in errors)

    for k in (qgpo.config.support_actions, 256, MOST):
        support, noises = draws(k), 1 + 32 // k
        text = f"against {k} draws {text_of(guidance_errors(qgpo, states, support, noises=noises, generator=generator))}"
        if k < MOST:
            scatter = guidance_errors(qgpo, states, support, noises=noises, other=draws(MOST), generator=generator)
            text += f" (their own scatter {text_of(scatter)})"
        found.append(text)
    return f"error of the learned guidance at t = {', '.join(map(str, TRUTH_TIMES))}: " + "; ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2", help="of training (default 0,1,2)")
    parser.add_argument("--out", type=Path, default=HERE / "maze-runs", help="what ships (default data/maze-runs)")
    parser.add_argument("--build", type=Path, default=Path("build/maze-runs"), help="the whole runs (default build/maze-runs)")
    given, config = parser.parse_args(), PRESETS["maze"]
    seeds, began = [int(seed) for seed in given.seeds.split(",")], time.process_time()
    data = load_dataset(maze.NAME)
    begun = given.build.is_dir()
    for _ in resume_run(given.build, data) if begun else start_run(given.build, config, data, seeds=seeds):
        pass
    print(f"{len(seeds)} seeds trained together, {time.process_time() - began:.0f} CPU seconds in this sitting", flush=True)
    for seed in seeds:
        run = seed_folder(given.out, seed)
        keep_weights(seed_folder(given.build, seed), run)
        print(f"seed {seed}: {field_errors(run, data)}", flush=True)
        for starts in (CHOOSING, REPORTING):
            settings = {"scales": config.scales, "episodes": EPISODES, "seed": starts, "baselines": True}
            evaluate_run(
                run, find_environment(maze.NAME), **settings, on_result=lambda result, _: print(result.policy, flush=True)
            )
    print(leaderboard(find_experiments(given.out)))


if __name__ == "__main__":
    main()
