"""The maze's runs that ship: small, of the preset, and evaluated with the weights that lie beside the evaluations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from qgpo_problems import TINY, finish, walk

from cepkit.rl import PRESETS, load_run, mean_interval, start_run
from cepkit.rl.agent.qgpo_run import keep_weights
from cepkit.rl.agent.run_folders import run_folders
from cepkit.rl.study.leaderboard import find_experiments
from cepkit.rl.study.results import BEST_OF_K, CLONING, read_results, weights_of

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "data" / "maze-runs"


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


def row_of(returns):
    """Mean, interval and the mean of each training seed, as docs/offline_rl.md writes them."""
    low, high = mean_interval(returns)
    means = ", ".join(f"{value:.0f}" for value in returns.mean(1).tolist())
    return f"{returns.mean():.0f} ({low:.0f} to {high:.0f}) | {means} |".replace("-", "−")


def test_the_figures_of_the_docs_follow_from_the_returns_that_ship():
    docs, readme = ((ROOT / name).read_text(encoding="utf-8").replace("**", "") for name in ("docs/offline_rl.md", "README.md"))
    (experiment,) = find_experiments(SHIPPED)
    scale, seeds, _ = experiment.choose_scale()
    found = {name: experiment.pooled(name, seeds).returns for name in experiment.policies}
    others = [round(float(found[f"scale-{s:g}"].mean())) for s in (0.5, 1, 2, 3, 4)]
    assert f"QGPO, s = {scale:g} (s = 0.5, 1, 2, 3, 4: {', '.join(map(str, others))})" in docs
    for name in (f"scale-{scale:g}", "scale-0", CLONING, BEST_OF_K):
        assert row_of(found[name]) in docs
    for name in (f"scale-{scale:g}", "scale-0", CLONING):
        assert "{:.0f}, {:.0f} and {:.0f}".format(*found[name].mean(1)) in readme
    study = json.loads((ROOT / "data" / "halfcheetah-study.json").read_text(encoding="utf-8"))["final"]
    for numbers in study["confirmation"]["policies"].values():
        assert row_of(torch.tensor(numbers["returns"], dtype=torch.float64)) in docs
    first = [study["report"]["policies"][name] for name in ("s = 1", "s = 0")]
    words = ["{:.0f}, {:.0f} to {:.0f}".format(numbers["mean"], *numbers["interval"]) for numbers in first]
    assert f"({words[0]}, against {words[1]})" in docs
