"""The maze's runs that ship: small, of the preset, and evaluated with the weights that lie beside the evaluations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from qgpo_problems import TINY, finish, walk

from cepkit.rl import PRESETS, load_run, start_run
from cepkit.rl.agent.qgpo_run import keep_weights
from cepkit.rl.agent.run_folders import run_folders
from cepkit.rl.study.leaderboard import find_experiments
from cepkit.rl.study.results import BEST_OF_K, CLONING, read_results, weights_of

SHIPPED = Path(__file__).parents[3] / "data" / "maze-runs"


def test_what_is_kept_of_a_run_loads_as_the_run_does(tmp_path):
    config = replace(PRESETS["maze"], **TINY)
    run = finish(start_run(tmp_path / "build", config, walk(state_dim=4)))
    keep_weights(run.folder, tmp_path / "kept")
    assert {path.suffix for path in (tmp_path / "kept").iterdir()} == {".json", ".safetensors"}
    assert not any(path.name.startswith("support") for path in (tmp_path / "kept").iterdir())
    states = walk(state_dim=4).observations[:3]
    actions = [load_run(at).act(states, 1.0, torch.Generator().manual_seed(0)) for at in (run.folder, tmp_path / "kept")]
    assert torch.equal(*actions)


def test_the_runs_that_ship_are_small_and_of_the_preset():
    runs = run_folders(SHIPPED)
    assert len(runs) == 3 and sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 3_000_000
    for seed, run in enumerate(runs):
        assert load_run(run).config == PRESETS["maze"].with_seed(seed)


def test_every_policy_was_evaluated_with_these_weights_and_the_scale_chosen_on_other_episodes():
    (experiment,) = find_experiments(SHIPPED)
    assert experiment.seeds == (1000, 2000) and experiment.runs == (0, 1, 2) and experiment.first.episodes == 50
    assert experiment.outdated == 0 and len(experiment.results) == 54
    for run in run_folders(SHIPPED):
        assert {result.weights for result in read_results(run)} == {weights_of(run)}
    assert experiment.scales == PRESETS["maze"].scales
    assert {CLONING, BEST_OF_K, "scale-0"} <= set(experiment.policies)
    assert experiment.choose_scale().how == "chosen on evaluation seed 1000, reported on 2000"
