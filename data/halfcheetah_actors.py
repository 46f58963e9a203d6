"""Make `halfcheetah-small-replay`, or a larger dataset of its kind, by rolling out stored actors:

    python data/halfcheetah_actors.py --episodes 1000 --out build/cheetah-1m.hdf5

It is like D4RL's medium-replay. While soft actor-critic learned to run (`data/train_halfcheetah.py`), copies of its policy were
kept, from untrained to the best, about evenly spread in return. Each is a tanh Gaussian (Haarnoja et al. 2018, arXiv 1801.01290,
appendix C):

    h = relu(W1 relu(W0 s + b0) + b1),   a = tanh(m(h) + exp(l(h)) n),   n ~ N(0, I),   l clipped to [-20, 2].

The dataset takes whole episodes from all of them, in the order of learning, as a replay buffer holds them. So it has states of
every skill from falling over to running, and round each of them the actions of a policy that explores. An actor sees the
observation as it is stored (float32), computes in float64 and acts in float32: a stored action is the one that was applied, and
rounding in the last place of a matrix product seldom changes an episode. Nothing ends an episode but its time limit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
import torch
from tqdm import tqdm

from cepkit.learning.checkpoints import load_tensors, save_tensors
from cepkit.rl import make_env
from cepkit.rl.data.datasets import manifest
from cepkit.rl.data.downloads import sha256_of
from cepkit.rl.data.hdf5 import write_hdf5
from cepkit.validation import check_number

NAME = "halfcheetah-small-replay"
EPISODES = 110
ENGINE = "d4rl-v2"
ACTORS = Path(__file__).parent / "halfcheetah-small-actors.safetensors"
LAYERS = ("hidden0", "hidden1", "mean", "log_std")
_LOG_STD_MIN, _LOG_STD_MAX = -20.0, 2.0


@dataclass(frozen=True)
class Actor:
    """A policy of soft actor-critic, kept while it learned.

    Attributes:
        step: environment steps it had learned from.
        returns: of ten episodes with sampled actions, as measured by the trainer.
        mean_action_return: mean return of ten episodes with a = tanh(m(h)), without noise.
        weights: `hidden0`, `hidden1`, `mean`, `log_std`, each with `.weight` (out, in) and `.bias` (out,), float32.
    """

    step: int
    returns: tuple[float, ...]
    mean_action_return: float
    weights: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        wide = {name: np.asarray(value, np.float64) for name, value in self.weights.items()}  # once, not at every step
        object.__setattr__(self, "_wide", wide)

    def distribution(self, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log standard deviation of the Gaussian before the tanh, float64 (6,) each, at a float32 observation (17,)."""
        h = np.asarray(observation, np.float64)
        for layer in ("hidden0", "hidden1"):
            h = np.maximum(self._linear(layer, h), 0.0)
        return self._linear("mean", h), np.clip(self._linear("log_std", h), _LOG_STD_MIN, _LOG_STD_MAX)

    def _linear(self, layer: str, h: np.ndarray) -> np.ndarray:
        return self._wide[f"{layer}.weight"] @ h + self._wide[f"{layer}.bias"]

    def act(self, observation: np.ndarray, noise: np.ndarray | float) -> np.ndarray:
        """The action (6,), float32, for standard normal `noise` (6,); 0 gives the mean's action."""
        mean, log_std = self.distribution(observation)
        return np.tanh(mean + np.exp(log_std) * noise).astype(np.float32)


def save_actors(path: Path, actors: Sequence[Actor], about: Mapping[str, object]) -> None:
    """Write actors, in the order of learning, to one safetensors file: each weight stacked over the actors.

    Raises:
        OSError: as `write_atomically`.
    """
    names = [f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")]
    stacked = {name: torch.from_numpy(np.stack([actor.weights[name] for actor in actors])) for name in names}
    facts = [
        {
            "step": actor.step,
            "returns": [round(value, 1) for value in actor.returns],
            "mean_action_return": round(actor.mean_action_return, 1),
        }
        for actor in actors
    ]
    # everything under one key, so that equal actors are equal bytes
    save_tensors(path, stacked, {"about": json.dumps({**about, "actors": facts})})


def load_actors(path: Path = ACTORS) -> tuple[Actor, ...]:
    """The stored actors, in the order of learning.

    Raises:
        ValueError: no such file, or one that does not hold such actors.
    """
    tensors, metadata = load_tensors(path)
    try:
        facts = json.loads(metadata["about"])["actors"]
        return tuple(
            Actor(
                step=int(fact["step"]),
                returns=tuple(map(float, fact["returns"])),
                mean_action_return=float(fact["mean_action_return"]),
                weights={name: stack[i].numpy() for name, stack in tensors.items()},
            )
            for i, fact in enumerate(facts)
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected actors as `save_actors` writes them, but an entry is missing ({error!r})") from error


def roll_out(actor: Actor, env: gymnasium.Env, *, seed: int, noisy: bool = True) -> dict[str, np.ndarray]:
    """One episode: `observations` (T, 17) and `actions` (T, 6), `rewards` (T,), float32; `terminals` and `timeouts` (T,), bool.

    `seed` decides the start and the noise of the actions; `noisy=False` takes the mean's action.
    """
    noise = np.random.default_rng([seed, 1])  # a stream of its own: the environment's start uses the seed itself
    observation, _ = env.reset(seed=seed)
    observations, actions, rewards, terminal, timeout = [], [], [], False, False
    while not (terminal or timeout):
        observations.append(observation.astype(np.float32))
        actions.append(actor.act(observations[-1], noise.standard_normal(env.action_space.shape) if noisy else 0.0))
        observation, reward, terminal, timeout, _ = env.step(actions[-1])
        rewards.append(reward)
    ends = np.arange(1, len(rewards) + 1) == len(rewards)
    return {
        "observations": np.stack(observations),
        "actions": np.stack(actions),
        "rewards": np.array(rewards, np.float32),
        "terminals": ends & terminal,
        "timeouts": ends & timeout,
    }


def roll_outs(
    actors: Sequence[Actor], count: int, *, seed: int = 0, env: gymnasium.Env | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """`count` episodes with sampled actions, shared evenly among the actors in the order of learning.

    Episode i is rolled out with the seed 10^6 seed + i, so that sets of different seeds share no episode.

    Raises:
        ValueError: gymnasium or mujoco is not installed.
    """
    with contextlib.closing(make_env(NAME, engine=ENGINE) if env is None else env) as env:
        for index in range(count):
            yield roll_out(actors[index * len(actors) // count], env, seed=seed * 1_000_000 + index)


def make(path: Path, *, episodes: int = EPISODES, seed: int = 0, actors: Path = ACTORS) -> Path:
    """Roll out the stored actors into an HDF5 file in D4RL's schema; equal arguments give equal bytes on one machine.

    Args:
        path: the file to write, replaced only when the new one is whole.
        episodes: of 1,000 steps each, which take about 0.15 s; the dataset that ships has 110.
        seed: of starts and actions; 0 is the dataset that ships.
        actors: file of the actors.

    Raises:
        ValueError: an argument is out of range, the actors do not read, or a package of the extra `rl` is missing.
        OSError: the file cannot be written.
    """
    episodes = check_number(episodes, name="episodes", low=1, high=10**6, integer=True)
    seed = check_number(seed, name="seed", low=0, integer=True)
    done = list(tqdm(roll_outs(load_actors(actors), episodes, seed=seed), total=episodes, disable=None, unit="episode"))
    write_hdf5(path, {key: np.concatenate([episode[key] for episode in done]) for key in done[0]})
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the HDF5 file to write")
    parser.add_argument("--episodes", type=int, default=EPISODES, help=f"of 1,000 steps each (default {EPISODES})")
    parser.add_argument("--seed", type=int, default=0, help="of starts and actions (default 0)")
    arguments = parser.parse_args()
    try:
        path = make(arguments.out, episodes=arguments.episodes, seed=arguments.seed)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    digest = sha256_of(path)
    same = digest == manifest()[f"{NAME}.hdf5"].sha256
    verdict = "the file that ships" if same else "other bytes than ship (so may compression and rounding on another machine be)"
    print(f"{path}: SHA-256 {digest}, {verdict}")


if __name__ == "__main__":
    main()
