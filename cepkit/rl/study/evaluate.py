"""Evaluation of a policy: seeded episodes, and the mean return with its uncertainty.

Episode i of seed s starts from a state that s and i alone decide, whatever the policy and however many episodes run at once.
Episodes run side by side, so one call of the policy answers many states.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student_t
from torch import Tensor

from cepkit.rl.data.scores import normalized_score
from cepkit.rl.envs.engines import Environment, find_environment
from cepkit.rl.envs.rollouts import Policy, act
from cepkit.validation import check_number


@dataclass(frozen=True)
class Evaluation:
    """The episodes of one policy in one environment.

    Attributes:
        environment: the task, its engine, and Gymnasium's name of the environment.
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
    def score(self) -> float | None:
        """D4RL's normalised score of the mean return, 0 for random and 100 for expert; None for mazes, which are not D4RL's."""
        return float(normalized_score(self.environment.name, self.mean)) if self.environment.body else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean return over episodes; see `mean_interval`."""
        return mean_interval(self.returns)

    def __str__(self) -> str:
        low, high = self.interval
        success = "" if self.success is None else f", success {float(self.success.double().mean()):.0%}"
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
    at_once: int = 64,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Run whole episodes and return what they earned.

    Args:
        policy: observations (B, S) float32 -> actions (B, A). B is the number of episodes still running. Actions are clipped to
            the environment's bounds. Randomness of the policy is the policy's own.
        name: of a dataset or environment, as `cepkit.rl.make_env`.
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
    environment.warn()
    with environment.opened(at_once) as envs:
        return _play(policy, environment, envs, episodes, seed, device)


def episode_seed(seed: int, episode: int) -> int:
    """The environment's seed for one episode; neighbouring values of `seed` share no episode."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0])


def mean_interval(returns: Tensor) -> tuple[float, float]:
    """95 % confidence interval of the mean return by Student's t: (low, high).

    Episodes of one trained network vary together. So with R runs of E episodes each the interval is that of the mean of the R run
    means, and says what another training would change. With one run it is over its episodes, and says nothing of other trainings.

    It covers the true mean in 95 % of cases where the averaged numbers are roughly normal, however few they are. For episodes in
    two humps, many of them 0, ten cover it in 91 to 94 % and fifty in 94 %.

    Args:
        returns: (R, E), or (E,) for one run; a single number, whose spread is unknown, gives NaN.

    Raises:
        ValueError: `returns` is empty, has another shape or is not finite.
    """
    values = torch.as_tensor(returns, dtype=torch.float64, device="cpu").detach()
    if values.ndim not in (1, 2) or not values.numel() or not bool(torch.isfinite(values).all()):
        raise ValueError(f"returns: expected finite numbers of shape (E,) or (R, E), got shape {tuple(values.shape)}")
    values = values.mean(1) if values.ndim == 2 and len(values) > 1 else values.flatten()
    if len(values) == 1:
        return math.nan, math.nan
    mean, error = float(values.mean()), float(values.std()) / math.sqrt(len(values))
    half = float(student_t.ppf(0.975, len(values) - 1)) * error
    return mean - half, mean + half


def _play(policy: Policy, environment: Environment, envs: list, episodes: int, seed: int, device) -> Evaluation:
    """Play all episodes; an environment whose episode has ended takes the next one that nobody has played yet."""
    returns, lengths, success = np.zeros(episodes), np.zeros(episodes, np.int64), np.zeros(episodes, bool)
    waiting = iter(range(len(envs), episodes))
    playing = dict(enumerate(range(len(envs))))  # environment -> episode
    states = [env.reset(seed=episode_seed(seed, episode))[0] for episode, env in enumerate(envs)]
    while active := list(playing):
        actions = act(policy, np.stack([states[index] for index in active]), envs[0].action_space, device=device)
        for index, action in zip(active, actions, strict=True):
            episode = playing[index]
            states[index], reward, terminated, truncated, info = envs[index].step(action)
            returns[episode] += reward
            lengths[episode] += 1
            success[episode] |= bool(info.get("success"))
            if terminated or truncated:
                playing[index] = next(waiting, None)
                if playing[index] is None:
                    del playing[index]
                else:
                    states[index], _ = envs[index].reset(seed=episode_seed(seed, playing[index]))
    reached = None if environment.body else torch.from_numpy(success)
    return Evaluation(environment, seed, torch.from_numpy(returns), torch.from_numpy(lengths), reached)
