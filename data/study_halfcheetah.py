"""Does guidance pay on HalfCheetah? Train QGPO's small preset with three seeds, choose the scale, and report what it earns:

    OMP_NUM_THREADS=1 python data/study_halfcheetah.py --out build/halfcheetah-study

The scale is chosen on episodes of `CHOICE_SEED`; what is reported comes from episodes of `REPORT_SEED` and, three times as many,
of `CONFIRMATION_SEED`, on which nothing was chosen. `final.json` in the folder gets every return, and `runs/` the trained
networks alone, which `cepkit.rl.load_run` reads. Trained again on another machine the networks differ in rounding, and returns
with them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from cepkit.diffusion.guidance import Guided
from cepkit.diffusion.sampling import initial_noise
from cepkit.learning.networks import Fit
from cepkit.rl import PRESETS, QGPO, evaluate, load_dataset, mean_interval, resume_run, start_run
from cepkit.rl.agent.baselines import best_of_k_policy, clone_policy, guided_policy
from cepkit.rl.agent.behaviour import draw_actions
from cepkit.rl.agent.prepared import Prepared, prepare
from cepkit.rl.agent.qgpo_run import keep_weights
from cepkit.rl.agent.run_folders import seed_folder

NAME = "halfcheetah-small-replay"
SEEDS = (0, 1, 2)
CHOICE_SEED, CHOICE_EPISODES = 2_000, 10
REPORT_SEED, REPORT_EPISODES = 12_000, 20
CONFIRMATION_SEED, CONFIRMATION_EPISODES = 13_000, 60  # twenty leave intervals that overlap
ACTING_SEED = 1
CLONE_STEPS, CLONE_WIDTH = 5000, 256
RIVALS = ("s = 0", "Gaussian clone")


def played(policy: Callable, seed: int, episodes: int) -> list[float]:
    """Returns of whole episodes played side by side, to a tenth."""
    return [round(value, 1) for value in evaluate(policy, NAME, episodes=episodes, seed=seed, at_once=episodes).returns.tolist()]


def side_by_side(qgpo: QGPO, scales: Sequence[float], seed: int, episodes: int) -> dict[float, list[float]]:
    """Returns of several scales played at once, episode i at scale i modulo their number (no HalfCheetah episode ends early)."""
    rows = torch.tensor(scales).repeat(episodes)[:, None]
    generator = torch.Generator().manual_seed(ACTING_SEED)

    def policy(states: Tensor) -> Tensor:
        field = qgpo.guidance(states)
        denoiser = Guided(qgpo.denoiser(states), lambda a_t, t: rows * field(a_t, t))
        noise = initial_noise((len(states), qgpo.action_dim), generator=generator)
        return draw_actions(denoiser, noise, steps=qgpo.config.act_steps)

    returns = played(policy, seed, len(rows))
    return {scale: returns[index :: len(scales)] for index, scale in enumerate(scales)}


def gaussian_clone(data: Prepared, seed: int) -> Callable[[Tensor], Tensor]:
    """The usual sampling clone, a Gaussian whose mean and spread are networks of the state, by maximum likelihood."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = (data.states.shape[1], CLONE_WIDTH, CLONE_WIDTH, 2 * data.actions.shape[1])
        layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
        fit = Fit(nn.Sequential(*layers[:-1]), learning_rate=1e-3, steps=CLONE_STEPS, warmup=100, ema=0.995)

    def given(network: nn.Module, states: Tensor) -> Normal:
        mean, log_std = network(states).chunk(2, -1)
        return Normal(mean, log_std.clamp(-5.0, 2.0).exp())

    for _ in range(CLONE_STEPS):
        index = torch.randint(len(data), (256,), generator=generator)
        fit.step(-given(fit.network, data.states[index]).log_prob(data.actions[index]).mean())
    noise = torch.Generator().manual_seed(ACTING_SEED)

    def policy(states: Tensor) -> Tensor:
        with torch.no_grad():
            actions = given(fit.average, (states - data.mean) / data.std)
        return actions.mean + actions.stddev * torch.randn(actions.mean.shape, generator=noise)

    return policy


def summary(returns: Sequence[Sequence[float]]) -> dict[str, object]:
    """Mean of returns (seeds, episodes), that of every training seed, and the 95 % interval over training seeds."""
    means, rows = [sum(row) / len(row) for row in returns], torch.tensor(returns, dtype=torch.float64)
    return {
        "mean": round(sum(means) / len(means), 1),
        "seed_means": [round(value, 1) for value in means],
        "interval": [round(value, 1) for value in mean_interval(rows)],
        "returns": returns,
    }


def reported(policies: Mapping[str, Callable], qgpos: Sequence[QGPO], guided: str, seed: int, episodes: int) -> dict[str, object]:
    """Every policy of every training seed, and whether the guided one's interval lies above those of both clones."""
    found = {}
    for name, make in policies.items():
        found[name] = summary([played(make(q, of), seed, episodes) for q, of in zip(qgpos, SEEDS, strict=True)])
        print(name, {key: value for key, value in found[name].items() if key != "returns"}, flush=True)
    apart = all(found[guided]["interval"][0] > found[name]["interval"][1] for name in RIVALS)
    return {"seed": seed, "episodes": episodes, "policies": found, "apart": apart}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs, final.json and runs/")
    parser.add_argument("--preset", default="halfcheetah-small", help="settings by name (default halfcheetah-small)")
    arguments = parser.parse_args()
    began, config = time.process_time(), PRESETS[arguments.preset]
    transitions = load_dataset(NAME)
    begun = arguments.out.is_dir()
    run = resume_run(arguments.out, transitions) if begun else start_run(arguments.out, config, transitions, seeds=SEEDS)
    for step in run:
        if step.index % 1000 == 0 or step.index == step.steps:
            losses = ", ".join(f"{part} {float(loss):.4f}" for part, loss in step.losses.items())
            print(f"{time.process_time() - began:5.0f} s  {step.stage} {step.index} of {step.steps}  {losses}", flush=True)
    seconds, qgpos = time.process_time() - began, run.qgpos
    scales = [scale for scale in config.scales if scale]
    tried = [side_by_side(q, scales, CHOICE_SEED, CHOICE_EPISODES) for q in qgpos]
    choice = {scale: [one[scale] for one in tried] for scale in scales}
    best = max(scales, key=lambda scale: sum(map(sum, choice[scale])))
    print({scale: round(sum(map(sum, rows)) / 3 / CHOICE_EPISODES) for scale, rows in choice.items()}, flush=True)
    data = prepare(transitions, config)
    guided, k = f"s = {best:g}", config.support_actions
    policies = {
        "s = 0": lambda q, seed: guided_policy(q, 0.0, ACTING_SEED),
        guided: lambda q, seed: guided_policy(q, best, ACTING_SEED),
        f"best of {k}": lambda q, seed: best_of_k_policy(q, k, ACTING_SEED),
        "Gaussian clone": lambda q, seed: gaussian_clone(data, seed),
    }
    compared = {name: policies[name] for name in (guided, *RIVALS)}
    if config.cloning_steps:
        policies["deterministic clone"] = lambda q, seed: partial(clone_policy, q)
    final = {
        "training_seeds": list(SEEDS),
        "training_cpu_seconds": round(seconds),
        "choice": {"seed": CHOICE_SEED, "episodes": CHOICE_EPISODES, "returns": {f"{s:g}": rows for s, rows in choice.items()}},
        "scale": best,
        "report": reported(policies, qgpos, guided, REPORT_SEED, REPORT_EPISODES),
        "confirmation": reported(compared, qgpos, guided, CONFIRMATION_SEED, CONFIRMATION_EPISODES),
        "config": config.to_dict(),
    }
    (arguments.out / "final.json").write_text(json.dumps(final, indent=1) + "\n", encoding="utf-8")
    for seed in SEEDS:
        keep_weights(seed_folder(arguments.out, seed), seed_folder(arguments.out / "runs", seed))


if __name__ == "__main__":
    main()
