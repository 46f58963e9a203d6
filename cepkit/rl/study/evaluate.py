"""What a policy earns: seeded episodes in Gymnasium's vector environments, the mean with its uncertainty, D4RL's normalised
score.

Episode i of seed s starts from a state that s and i alone decide, whatever the policy and however many episodes run at once.
Episodes run side by side so that the policy answers many states in one call; the environments are never reset behind our back
(`AutoresetMode.DISABLED`), so no step of a finished episode is counted and none is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cepkit.rl.data.scores import REFERENCE_SCORES, normalized_score
from cepkit.rl.envs.engines import Environment, find_environment
from cepkit.rl.envs.rollouts import Policy, ask
from cepkit.validation import check_number, import_extra

AT_ONCE = 64


@dataclass(frozen=True)
class Evaluation:
    """The episodes of one policy in one environment.

    Attributes:
        environment: what was run: the name asked for, the engine, and Gymnasium's name of the environment.
        seed: of the episodes' starts.
        returns: undiscounted sum of rewards of each episode, (E,) float64.
        lengths: steps of each episode, (E,) int64.
        success: for mazes, whether the goal was reached at any step, (E,) bool; None for locomotion.
    """

    environment: Environment
    seed: int
    returns: Tensor
    lengths: Tensor
    success: Tensor | None

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def median(self) -> float:
        """Median return: in a maze returns have two humps, and the mean alone says little."""
        return float(self.returns.quantile(0.5))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean return; NaN for a single episode."""
        return float(self.returns.std()) / math.sqrt(len(self.returns)) if len(self.returns) > 1 else math.nan

    @property
    def success_rate(self) -> float | None:
        """Share of episodes that reached the goal; None for locomotion."""
        return None if self.success is None else float(self.success.double().mean())

    @property
    def score(self) -> float | None:
        """D4RL's normalised score of the mean return, 0 for random and 100 for expert; None where D4RL has none."""
        name = self.environment.name
        return float(normalized_score(name, self.mean)) if self.environment.is_d4rls and name in REFERENCE_SCORES else None

    def interval(self, level: float = 0.95, *, seed: int = 0) -> tuple[float, float]:
        """Bootstrap interval of the mean return over episodes; see `bootstrap_interval`."""
        return bootstrap_interval(self.returns, level, seed=seed)

    def __str__(self) -> str:
        low, high = self.interval()
        success = "" if self.success is None else f", success {self.success_rate:.0%}"
        return (
            f"{self.environment.gymnasium_id} on {self.environment.engine}: return {self.mean:.1f} "
            f"(95 % interval {low:.1f} to {high:.1f}, {len(self.returns)} episodes of seed {self.seed}){success}"
        )


def evaluate(
    policy: Policy,
    name: str,
    *,
    episodes: int = 10,
    engine: str | None = None,
    seed: int = 0,
    at_once: int = AT_ONCE,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Run whole episodes and report what they earned.

    Args:
        policy: observations (B, S) float32 -> actions (B, A). B is the number of episodes still running. Actions are clipped to
            the environment's bounds. Randomness of the policy is the policy's own.
        name: of a data set or environment, as `cepkit.rl.make_env`.
        episodes: how many.
        engine: one of `cepkit.rl.ENGINES`; by default "d4rl-v2" for D4RL's locomotion names.
        seed: decides, with an episode's number, its start.
        at_once: how many environments are held and stepped side by side, at most.
        device: where the policy receives observations.

    Raises:
        ValueError: a number out of range; an unknown name or engine or a missing package (as `make_env`); a policy that raised or
            returned a wrong shape, NaN or infinity.
    """
    episodes = check_number(episodes, name="episodes", low=1, high=10**6, integer=True)
    seed = check_number(seed, name="seed", low=0, high=2**53, integer=True)
    at_once = min(check_number(at_once, name="at_once", low=1, integer=True), episodes)
    environment = find_environment(name, engine)
    environment.warn(stacklevel=2)
    vector = import_extra("gymnasium.vector")
    envs = vector.SyncVectorEnv([environment.build] * at_once, autoreset_mode=vector.AutoresetMode.DISABLED)
    try:
        return _play(policy, environment, envs, episodes, seed, device)
    finally:
        envs.close()


def episode_seed(seed: int, episode: int) -> int:
    """The environment's seed for one episode; those of neighbouring `seed` have nothing in common."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0])


def bootstrap_interval(values: Tensor, level: float = 0.95, *, resamples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean: (low, high), the same for the same seed.

    Values that vary together (episodes of one training run) belong into the interval as their mean; with one value it has no
    width.

    Raises:
        ValueError: `values` is not a non-empty vector of finite numbers, or a number is out of range.
    """
    level = check_number(level, name="level", low=1e-6, high=1.0 - 1e-6)
    resamples = check_number(resamples, name="resamples", low=100, integer=True)
    values = torch.as_tensor(values, dtype=torch.float64, device="cpu").detach()
    if values.ndim != 1 or not len(values) or not bool(torch.isfinite(values).all()):
        raise ValueError(f"values: expected a non-empty vector of finite numbers, got shape {tuple(values.shape)}")
    generator = torch.Generator().manual_seed(check_number(seed, name="seed", low=0, integer=True))
    chosen = torch.randint(len(values), (resamples, len(values)), generator=generator)
    low, high = values[chosen].mean(1).quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64))
    return float(low), float(high)


def _play(policy: Policy, environment: Environment, envs, episodes: int, seed: int, device: torch.device | str) -> Evaluation:
    """Each environment plays episodes one after the other; one that has none left (episode -1) is stepped along and ignored."""
    returns, lengths, success = np.zeros(episodes), np.zeros(episodes, np.int64), np.zeros(episodes, bool)
    playing, following, has_success = np.arange(envs.num_envs), envs.num_envs, False
    observations, _ = envs.reset(seed=[episode_seed(seed, episode) for episode in range(envs.num_envs)])
    actions = np.zeros(envs.action_space.shape, np.float32)
    while (active := playing >= 0).any():
        actions[active] = ask(policy, observations[active], envs.single_action_space, device=device)
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        returns[playing[active]] += rewards[active]
        lengths[playing[active]] += 1
        if "success" in infos:
            has_success = True
            success[playing[active]] |= infos["success"][active]
        finished = terminated | truncated
        if finished.any():
            for index in np.flatnonzero(finished):
                playing[index], following = (following, following + 1) if following < episodes else (-1, following)
            seeds = [episode_seed(seed, max(int(episode), 0)) for episode in playing]
            observations, _ = envs.reset(seed=seeds, options={"reset_mask": finished})
    return Evaluation(
        environment,
        seed,
        torch.from_numpy(returns),
        torch.from_numpy(lengths),
        torch.from_numpy(success) if has_success else None,
    )
