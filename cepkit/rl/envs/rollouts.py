"""Acting: what a policy is, its answers checked, and one stretch of acting recorded to be looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cepkit.rl.envs import maze
from cepkit.rl.envs.engines import find_environment
from cepkit.validation import check_number

if TYPE_CHECKING:
    import gymnasium

Policy = Callable[[Tensor], Tensor]  # observations (B, S) float32 -> actions (B, A)


class Rollout(NamedTuple):
    """T steps of acting: states (T, S) as they were acted upon, actions (T, A) as applied and rewards (T,), float32.

    Where several starts were given, a leading dimension runs over them.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor


def ask(
    policy: Policy, observations: np.ndarray, space: gymnasium.spaces.Box, *, device: torch.device | str = "cpu"
) -> np.ndarray:
    """The policy's actions (B, A) for observations (B, S), checked and clipped to the bounds of `space`.

    Raises:
        ValueError: the policy raised, or returned something other than finite numbers of shape (B, A); the message names the
        policy.
    """
    name = getattr(policy, "__qualname__", type(policy).__name__)
    wanted = (len(observations), *space.shape)
    try:
        actions = policy(torch.as_tensor(observations, dtype=torch.float32, device=device))
    except Exception as error:
        raise ValueError(f"policy: {name} raised {type(error).__name__} on {wanted[0]} observations: {error}") from error
    if not isinstance(actions, Tensor):
        raise ValueError(f"policy: expected {name} to return a torch.Tensor of shape {wanted}, got {type(actions).__name__}")
    if tuple(actions.shape) != wanted:
        raise ValueError(f"policy: expected {name} to return actions of shape {wanted}, got {tuple(actions.shape)}")
    values = actions.detach().to("cpu", torch.float32).numpy()
    if not np.isfinite(values).all():
        raise ValueError(f"policy: expected finite actions of {name}, got {int((~np.isfinite(values)).sum())} NaN or infinite")
    return np.clip(values, space.low, space.high)


def rollout(
    policy: Policy,
    name: str,
    *,
    start_state: Tensor | None = None,
    steps: int | None = None,
    seed: int = 0,
    engine: str | None = None,
    device: torch.device | str = "cpu",
) -> Rollout:
    """Act once, or in the course's maze once from each of several chosen states, all at once, and keep every step.

    Args:
        policy: observations (B, S) float32 -> actions (B, A).
        name, engine: as `cepkit.rl.make_env`.
        start_state: where to start, (S,) or (B, S); the course's maze alone can be put into a state. By default the environment's
            own start, decided by `seed`. Randomness of the policy is the policy's own.
        steps: how many at most; by default until the episode ends.
        seed: of the environment.
        device: where the policy receives observations.

    Returns:
        A `Rollout`, its leading dimension that of `start_state`; shorter than `steps` where the episode ended.

    Raises:
        ValueError: as `make_env`, `ask` and `cepkit.rl.envs.maze.check_state`; a start state for another environment; more steps
            than the time limit.
    """
    environment = find_environment(name, engine)
    environment.warn(stacklevel=2)
    starts: list[np.ndarray | None] = [None]
    if start_state is not None:
        starts = _starts(start_state, name)
    envs = [environment.build() for _ in starts]
    limit = envs[0].spec.max_episode_steps
    steps = limit if steps is None else check_number(steps, name="steps", low=1, high=limit, integer=True)
    options = [None if start is None else {"state": start} for start in starts]
    states = np.stack([env.reset(seed=seed, options=option)[0] for env, option in zip(envs, options, strict=True)])
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for _ in range(steps):
        actions = ask(policy, states, envs[0].action_space, device=device)
        results = [env.step(action) for env, action in zip(envs, actions, strict=True)]
        kept.append((states, actions, np.array([result[1] for result in results])))
        states = np.stack([result[0] for result in results])
        if any(result[2] or result[3] for result in results):  # several starts end together, at the time limit
            break
    for env in envs:
        env.close()
    whole = (torch.from_numpy(np.stack(part, 1)).to(torch.float32) for part in zip(*kept, strict=True))
    single = start_state is None or np.ndim(start_state) == 1
    return Rollout(*((part[0] if single else part) for part in whole))


def _starts(start_state: Tensor, name: str) -> list[np.ndarray]:
    if name != maze.NAME:
        raise ValueError(f"start_state: expected none for {name}, only {maze.NAME} can be put into a state")
    rows = np.asarray(start_state.detach().cpu() if isinstance(start_state, Tensor) else start_state)
    if rows.ndim not in (1, 2) or rows.shape[-1] != 4 or not len(rows):
        raise ValueError(f"start_state: expected shape (4,) or (B, 4), got {rows.shape}")
    return [maze.check_state(row, name="start_state") for row in np.atleast_2d(rows)]
