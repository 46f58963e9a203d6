"""Evaluation of a policy: seeded episodes, and what the mean return of several trainings says of another one.

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

LEAST_RUNS = 3  # that say something of the spread over trainings


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

    def __str__(self) -> str:
        success = "" if self.success is None else f", success {float(self.success.double().mean()):.0%}"
        return (
            f"{self.environment.gymnasium_id} on {self.environment.engine}: mean return {self.mean:.1f} of {len(self.returns)} "
            f"episodes of seed {self.seed}, from {float(self.returns.min()):.1f} to {float(self.returns.max()):.1f}{success}"
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
    """95 % confidence interval of the mean return over trainings, by Student's t over the means of the runs: (low, high).

    It says where the mean of very many trainings lies, and so counts every run once, however long it plays. It takes the means of
    the runs to be roughly normal. Then three to five runs of ten to sixty episodes cover the true mean in 94 to 96 % of cases,
    whether their episodes are normal, skewed, in two humps or successes, and whether the trainings differ much or little
    (`make bench` prints the table). Three numbers cannot show whether they are normal. Where one training in five fails
    altogether, three to five runs cover in 70 to 78 %. So show the means of the runs beside the interval. (Successes counted over
    ten episodes of trainings that do not differ at all are on a coarse grid, and an interval that is given covers up to 99.8 %.)

    Fewer than three runs, or runs that agree to the last digit, say nothing of the spread over trainings: NaN. Show the means
    themselves instead. Over the episodes of a single run there is no interval: ten to sixty episodes that fail now and then
    would cover in 65 to 96 %.

    Args:
        returns: (R, E), R runs of E episodes each, or their means (R, 1).

    Raises:
        ValueError: `returns` is empty, has another shape or is not finite.
    """
    values = torch.as_tensor(returns, dtype=torch.float64, device="cpu").detach()
    if values.ndim != 2 or not values.numel() or not bool(torch.isfinite(values).all()):
        raise ValueError(f"returns: expected finite numbers of shape (R, E), R runs of E episodes, got {tuple(values.shape)}")
    means = values.mean(1)
    if len(means) < LEAST_RUNS or torch.allclose(means, means[:1], rtol=1e-12, atol=0):
        return math.nan, math.nan
    mean, error = float(means.mean()), float(means.std()) / math.sqrt(len(means))
    half = float(student_t.ppf(0.975, len(means) - 1)) * error
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
