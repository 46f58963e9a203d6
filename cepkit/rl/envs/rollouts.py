"""Acting in an environment: policies, their actions checked, and one episode recorded."""

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
    """T steps of acting: states (T, S) before each action, actions (T, A) as applied and rewards (T,), float32.

    Where several starts were given, a leading dimension runs over them.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor


def act(
    policy: Policy, observations: np.ndarray, space: "gymnasium.spaces.Box", *, device: torch.device | str = "cpu"
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
    """Act for one episode, or in the course's maze from each of several chosen states side by side, and keep every step.

    Args:
        policy: observations (B, S) float32 -> actions (B, A). Its randomness is its own.
        name, engine: as `cepkit.rl.make_env`.
        start_state: where to start, (S,) or (B, S), in the course's maze alone; by default `seed` decides.
        steps: how many at most; by default until the episode ends.
        seed: of the environment.
        device: where the policy receives observations.

    Returns:
        A `Rollout`, its leading dimension that of `start_state`; shorter than `steps` where the episode ended.

    Raises:
        ValueError: as `make_env`, `act` and `cepkit.rl.envs.maze.check_state`; a start state for another environment; more steps
            than the time limit.
    """
    environment = find_environment(name, engine)
    environment.warn()
    options: list[dict | None] = [None] if start_state is None else [{"state": start} for start in _starts(start_state, name)]
    recorded: list[tuple[np.ndarray, np.ndarray, list[float]]] = []
    with environment.opened(len(options)) as envs:
        limit = envs[0].spec.max_episode_steps
        steps = limit if steps is None else check_number(steps, name="steps", low=1, high=limit, integer=True)
        states = np.stack([env.reset(seed=seed, options=option)[0] for env, option in zip(envs, options, strict=True)])
        ended = False
        while not ended and len(recorded) < steps:
            actions = act(policy, states, envs[0].action_space, device=device)
            results = [env.step(action) for env, action in zip(envs, actions, strict=True)]
            recorded.append((states, actions, [result[1] for result in results]))
            states = np.stack([result[0] for result in results])
            ended = any(result[2] or result[3] for result in results)  # several starts end together, at the time limit
    whole = (torch.from_numpy(np.stack(part, 1)).to(torch.float32) for part in zip(*recorded, strict=True))
    single = start_state is None or np.ndim(start_state) == 1
    return Rollout(*((part[0] if single else part) for part in whole))


def _starts(start_state: Tensor, name: str) -> list[np.ndarray]:
    if name != maze.NAME:
        raise ValueError(f"start_state: expected none for {name}, only {maze.NAME} can be put into a state")
    rows = np.asarray(start_state.detach().cpu() if isinstance(start_state, Tensor) else start_state)
    if rows.ndim not in (1, 2) or rows.shape[-1] != 4 or not len(rows):
        raise ValueError(f"start_state: expected shape (4,) or (B, 4), got {rows.shape}")
    return [maze.check_state(row, name="start_state") for row in np.atleast_2d(rows)]
