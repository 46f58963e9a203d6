"""Train the actors behind `data/halfcheetah-small-replay.hdf5`: soft actor-critic, small, on D4RL's HalfCheetah physics.

JAX wants an environment of its own (a CPU build of torch first keeps pip from fetching a CUDA one):

    python -m venv build/sbx
    build/sbx/bin/pip install torch==2.13.0
    build/sbx/bin/pip install -e '.[rl]' sbx-rl==0.28.0 jax==0.10.2
    OMP_NUM_THREADS=1 build/sbx/bin/python data/train_halfcheetah.py --out build/halfcheetah-small-actors.safetensors

The file that ships was made with Python 3.11, sbx-rl 0.28.0, jax 0.10.2, flax 0.12.8, optax 0.2.8, stable-baselines3 2.9.2, torch
2.13.0, gymnasium 1.4.0, mujoco 3.3.7 and numpy 2.4.6. Training took 305 CPU seconds on one core, the
880 episodes that measure the copies take about three minutes more.

A copy of the policy is kept every 2,000 environment steps. Each copy that beats all earlier ones over ten episodes is a
candidate, and those nearest to evenly spread returns are stored. Learning is chaotic and rounding differs between machines:
elsewhere the same command gives other actors of about this skill, from which the dataset must then be made anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
from halfcheetah_actors import ENGINE, LAYERS, NAME, Actor, roll_out, save_actors
from sbx import SAC
from scipy.optimize import linear_sum_assignment
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from cepkit.rl import make_env

EPISODES = 10
KEEP_EVERY = 2_000
SETTINGS = {"learning_rate": 1e-3, "batch_size": 128, "learning_starts": 1_000, "gradient_steps": -1, "buffer_size": 200_000}
HIDDEN = [64, 64]
ENVIRONMENTS = 8


class Copies(BaseCallback):
    """Copies of the policy's weights by environment step."""

    def __init__(self) -> None:
        super().__init__()
        self.by_step: dict[int, dict[str, np.ndarray]] = {}
        self._start = time.process_time()

    def _copy(self) -> None:
        layers = self.model.policy.actor_state.params["params"]
        self.by_step[self.num_timesteps] = {
            f"{name}.{part}": np.array(value, np.float32)
            for index, name in enumerate(LAYERS)  # Flax numbers the layers as the policy calls them, and stores (in, out)
            for part, value in (("weight", layers[f"Dense_{index}"]["kernel"].T), ("bias", layers[f"Dense_{index}"]["bias"]))
        }
        recent = [episode["r"] for episode in self.model.ep_info_buffer][-ENVIRONMENTS:]
        shown = f", latest returns {np.mean(recent):.0f}" if recent else ""
        print(f"step {self.num_timesteps}, {time.process_time() - self._start:.0f} CPU-s{shown}", flush=True)

    def _on_training_start(self) -> None:
        self._copy()

    def _on_step(self) -> bool:
        if self.num_timesteps % KEEP_EVERY < ENVIRONMENTS:
            self._copy()
        return True


def train(steps: int, seed: int) -> dict[int, dict[str, np.ndarray]]:
    """Learn for `steps` environment steps, one gradient step for each; the copies by step."""
    env = DummyVecEnv([lambda: Monitor(make_env(NAME, engine=ENGINE)) for _ in range(ENVIRONMENTS)])
    copies = Copies()
    SAC("MlpPolicy", env, seed=seed, policy_kwargs={"net_arch": HIDDEN}, **SETTINGS).learn(steps, callback=copies)
    return copies.by_step


def returns(actor: Actor, *, noisy: bool) -> list[float]:
    """Returns of ten episodes, of the same seeds for every actor."""
    env = make_env(NAME, engine=ENGINE)
    return [float(roll_out(actor, env, seed=seed, noisy=noisy)["rewards"].sum()) for seed in range(EPISODES)]


def measure(copies: dict[int, dict[str, np.ndarray]]) -> list[Actor]:
    """Each copy with the returns of its sampled actions."""
    actors = []
    for step, weights in copies.items():
        bare = Actor(step, (), 0.0, weights)
        actors.append(dataclasses.replace(bare, returns=tuple(returns(bare, noisy=True))))
        print(f"step {step}: return {np.mean(actors[-1].returns):.0f}", flush=True)
    return actors


def spread(actors: list[Actor], count: int) -> list[Actor]:
    """`count` actors whose mean returns rise and lie nearest to evenly spread ones."""
    best, rising = -np.inf, []
    for actor in actors:
        if np.mean(actor.returns) > best:
            best = np.mean(actor.returns)
            rising.append(actor)
    got = np.array([np.mean(actor.returns) for actor in rising])
    wanted = np.linspace(got[0], got[-1], min(count, len(rising)))
    return [rising[index] for index in sorted(linear_sum_assignment(abs(wanted[:, None] - got))[1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--steps", type=int, default=130_000, help="environment steps (default 130000)")
    parser.add_argument("--seed", type=int, default=2, help="of weights and exploration (default 2)")
    parser.add_argument("--actors", type=int, default=22, help="how many to store (default 22)")
    arguments = parser.parse_args()
    chosen = spread(measure(train(arguments.steps, arguments.seed)), arguments.actors)
    actors = [dataclasses.replace(actor, mean_action_return=float(np.mean(returns(actor, noisy=False)))) for actor in chosen]
    about = {
        "what": "policies of soft actor-critic kept while it learned, tanh Gaussian, 17-64-64-6",
        "engine": ENGINE,
        "licence": "MIT",
        "seed": arguments.seed,
        "steps": arguments.steps,
        **SETTINGS,
    }
    save_actors(arguments.out, actors, about)
    for actor in actors:
        print(f"{actor.step:7d}  {np.mean(actor.returns):8.1f}  {actor.mean_action_return:8.1f}")


if __name__ == "__main__":
    main()
