"""One state of a task with two-dimensional actions, as arrays to draw: behaviour, Q, and the energy over noisy actions.

The behaviour's K draws in this state are a finite support set. With E = -Q on them the intermediate energy and its field are
known exactly (`cepkit.rl.agent.support_truth.exact_answer`), so the energy net is shown beside the ground truth. Both energies
are known up to a constant for each t; here their mean over the noisy support is 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.diffusion.process import perturb
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.support_truth import exact_answer
from cepkit.truth.metrics import relative_error
from cepkit.validation import check_number

REACH = 2.2  # noisy actions are drawn on [-REACH, REACH]^2
SIDE, ARROWS = 49, 15  # points along one side of a picture, and of its field
_BLUR = 0.1  # width of the kernel that makes a density of the behaviour's draws
_DEPTH = 8.0  # a noisy density below exp(-_DEPTH) of its peak is left blank
_NOISES = 64


@dataclass(frozen=True, eq=False)
class ActionSlice:
    """Actions in one state; pictures are of [-1, 1]^2, and their rows run upwards."""

    draws: Tensor  # (n, 2), from the behaviour
    support: Tensor  # (K, 2), the first K of them
    support_q: Tensor  # (K,)
    density: Tensor  # (SIDE, SIDE), the root of the behaviour's density over its largest value
    q: Tensor  # (SIDE, SIDE), the least Q


@dataclass(frozen=True, eq=False)
class EnergySlice:
    """The intermediate energy over noisy actions at one noise level, exact and learned; pictures are of [-REACH, REACH]^2."""

    t: float
    exact: Tensor  # (SIDE, SIDE), NaN where no noisy action lies
    learned: Tensor  # likewise
    points: Tensor  # (ARROWS, ARROWS, 2), where the fields are
    exact_field: Tensor  # (ARROWS, ARROWS, 2), -grad E_t; 0 where no noisy action lies
    learned_field: Tensor  # likewise
    error: float  # of the learned field at noisy support actions, relative: 1 is as bad as none


def action_grid(side: int, reach: float = 1.0) -> Tensor:
    """The points of a side x side picture of [-reach, reach]^2, (side, side, 2), rows from bottom to top."""
    along = torch.linspace(-reach, reach, side)
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), -1)


def action_slice(qgpo: QGPO, state: Tensor, *, draws: int = 600, generator: torch.Generator | None = None) -> ActionSlice:
    """The behaviour's actions in a state (S,), and Q over all actions.

    Raises:
        ValueError: actions that are not two-dimensional, fewer draws than the support has actions, or a state of another size.
    """
    if qgpo.action_dim != 2:
        raise ValueError(f"qgpo: expected two-dimensional actions to draw, got {qgpo.action_dim}")
    k = qgpo.config.support_actions
    draws = check_number(draws, name="draws", low=k, integer=True)
    actions = qgpo.draw(state.expand(draws, -1), generator=generator)
    grid, support = action_grid(SIDE).to(actions), actions[:k]
    squared = torch.cdist(grid.reshape(-1, 2), actions).square().reshape(SIDE, SIDE, -1)
    density = (-squared / (2 * _BLUR**2)).exp().sum(-1).sqrt()
    return ActionSlice(actions, support, qgpo.q(state, support), density / density.max(), qgpo.q(state, grid))


def energy_slice(
    qgpo: QGPO, state: Tensor, support: Tensor, t: float, *, generator: torch.Generator | None = None
) -> EnergySlice:
    """The intermediate energy at noise level t in a state (S,) with support actions (K, 2).

    Raises:
        ValueError: t outside (0, 1], or shapes that do not fit.
    """
    t = check_number(t, name="t", low=1e-3, high=1.0)
    beta, schedule = qgpo.config.beta, qgpo.config.schedule
    truth, learned = exact_answer(qgpo, state, support), qgpo.guidance(state)
    grid, points = action_grid(SIDE, REACH).to(support), action_grid(ARROWS, 0.93 * REACH).to(support)
    noisy = perturb(support.repeat(_NOISES, 1), t, schedule, generator=generator).x_t
    centres = schedule.alpha(torch.tensor(t, dtype=torch.float64)) * truth.components().mean
    least = truth.log_q(centres, t, schedule).max() - _DEPTH

    def visible(a_t: Tensor) -> Tensor:
        return truth.log_q(a_t, t, schedule) > least

    def picture(on_grid: Tensor, at_noisy: Tensor) -> Tensor:
        return torch.where(visible(grid), on_grid - at_noisy.mean(), torch.nan)

    with torch.no_grad():
        exact = picture(truth.energy_t(grid, t, beta, schedule), truth.energy_t(noisy, t, beta, schedule))
        found = picture(learned.energy(grid, t), learned.energy(noisy, t))
    there = truth.fields(noisy, t, beta, schedule)
    error = relative_error(learned(noisy, t), there.guidance, there.score)
    shown = visible(points)[..., None]
    fields = shown * truth.guidance(points, t, beta, schedule), shown * learned(points, t)
    return EnergySlice(t, exact, found, points, *fields, float(error))
