"""One state of a task with two-dimensional actions, as arrays to draw: behaviour, Q, and the energy over noisy actions.

The behaviour's K draws in this state are a finite support set. With E = -Q on them the intermediate energy and its field are
known exactly (`cepkit.rl.agent.support_truth.exact_answer`), so the energy net stands beside what it should be.
Both energies are known up
to a constant for each t; here their mean over the noisy support is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.diffusion.process import perturb
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.support_truth import exact_answer
from cepkit.truth.exact import Mixture
from cepkit.truth.metrics import relative_error
from cepkit.validation import check_number

REACH = 2.2  # noisy actions are drawn on [-REACH, REACH]^2
_BLUR = 0.1  # of the behaviour's draws, to make a density of them
_DEPTH = 8.0  # below exp(-_DEPTH) of its peak the noisy density counts as nothing
_NOISES = 64


@dataclass(frozen=True, eq=False)
class ActionView:
    """Actions in one state.

    Attributes:
        state: (S,).
        draws: (n, 2), from the behaviour.
        support: (K, 2), the first K of them, and `support_q` (K,).
        density: (side, side) over [-1, 1]^2, the root of the behaviour's density over its largest value; rows run upwards.
        q: (side, side), the least Q over the same square.
    """

    state: Tensor
    draws: Tensor
    support: Tensor
    support_q: Tensor
    density: Tensor
    q: Tensor


@dataclass(frozen=True, eq=False)
class EnergyView:
    """The intermediate energy over noisy actions at one noise level, exact and learned, on [-REACH, REACH]^2.

    Attributes:
        t: the noise level.
        exact, learned: (side, side), NaN where no noisy action lies.
        points: (arrows, arrows, 2), where the fields are.
        exact_field, learned_field: (arrows, arrows, 2), -grad E_t.
        error: of the learned field at noisy support actions, relative: 1 is as bad as none.
    """

    t: float
    exact: Tensor
    learned: Tensor
    points: Tensor
    exact_field: Tensor
    learned_field: Tensor
    error: float


def action_grid(side: int, reach: float = 1.0) -> Tensor:
    """The points of a side x side picture of [-reach, reach]^2, (side, side, 2), rows from bottom to top."""
    side = check_number(side, name="side", low=2, integer=True)
    along = torch.linspace(-reach, reach, side)
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), -1)


def look(qgpo: QGPO, state: Tensor, *, draws: int = 600, side: int = 49, generator: torch.Generator | None = None) -> ActionView:
    """What the behaviour does in a state (S,), and what the critic thinks of it.

    Raises:
        ValueError: actions that are not two-dimensional, fewer draws than the support has actions, or a state of another size.
    """
    if qgpo.action_dim != 2:
        raise ValueError(f"qgpo: expected two-dimensional actions to draw, got {qgpo.action_dim}")
    draws = check_number(draws, name="draws", low=qgpo.config.support_actions, integer=True)
    a = qgpo.draw(state.expand(draws, -1), generator=generator)
    grid, support = action_grid(side).to(a), a[: qgpo.config.support_actions]
    apart = torch.cdist(grid.reshape(-1, 2), a).square().reshape(side, side, -1)
    density = (-apart / (2 * _BLUR**2)).exp().sum(-1).sqrt()
    return ActionView(state, a, support, qgpo.q(state, support), density / density.max(), qgpo.q(state, grid))


def look_at_energy(
    qgpo: QGPO,
    state: Tensor,
    support: Tensor,
    t: float,
    *,
    side: int = 49,
    arrows: int = 15,
    generator: torch.Generator | None = None,
) -> EnergyView:
    """The intermediate energy at noise level t in a state (S,) with support actions (K, 2).

    Raises:
        ValueError: t outside (0, 1], or shapes that do not fit.
    """
    t = check_number(t, name="t", low=1e-3, high=1.0)
    beta, schedule = qgpo.config.beta, qgpo.config.schedule
    truth, learned = exact_answer(qgpo, state, support), qgpo.guidance(state)
    grid, points = action_grid(side, REACH).to(support), action_grid(arrows, 0.93 * REACH).to(support)
    noisy = perturb(support.repeat(_NOISES, 1), t, schedule, generator=generator).x_t
    seen = _seen(truth, grid, t, qgpo)

    def pictured(energy: Tensor, at_noisy: Tensor) -> Tensor:
        return torch.where(seen, energy - at_noisy.mean(), torch.nan)

    with torch.no_grad():
        exact = pictured(truth.energy_t(grid, t, beta, schedule), truth.energy_t(noisy, t, beta, schedule))
        found = pictured(learned.energy(grid, t), learned.energy(noisy, t))
    error = relative_error(learned(noisy, t), truth.guidance(noisy, t, beta, schedule))
    shown = _seen(truth, points, t, qgpo)[..., None]
    exact_field, learned_field = shown * truth.guidance(points, t, beta, schedule), shown * learned(points, t)
    return EnergyView(t, exact, found, points, exact_field, learned_field, float(error))


def _seen(truth: Mixture, points: Tensor, t: float, qgpo: QGPO) -> Tensor:
    """Where the noisy density is within exp(-_DEPTH) of what it is around the support."""
    schedule = qgpo.config.schedule
    centres = schedule.alpha(torch.tensor(t, dtype=torch.float64)) * truth.components().mean
    return truth.log_q(points, t, schedule) > truth.log_q(centres, t, schedule).max() - _DEPTH
