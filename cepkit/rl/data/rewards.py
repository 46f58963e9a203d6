"""What Q-learning is trained on: the recorded rewards, by the convention of each family of tasks.

Locomotion: r -> 1000 r / (highest - lowest return of a whole episode), so that returns of different robots span the same
1,000 and one beta serves all. AntMaze: r -> r - 1, that is -1 for every step on the way and 0 at the goal, so that Q differs
between near and far states. Every other family: unchanged. (Kostrikov et al. 2022, arXiv 2110.06169, appendix; the code of
Lu et al. 2023 does the same, but finds its returns after `qlearning_dataset` has dropped the steps before time-outs, so that
its episodes of 1,000 steps run over into the next; we sum whole episodes.)
"""

from __future__ import annotations

from torch import Tensor

from cepkit.rl.data.scores import FAMILIES
from cepkit.rl.data.transitions import Transitions
from cepkit.validation import check_name

_SPAN = 1000.0
REWARD_CONVENTIONS = dict.fromkeys(FAMILIES, "as recorded") | {
    "locomotion": "times 1000 / (highest - lowest episode return)",
    "antmaze": "minus 1",
}


def training_rewards(transitions: Transitions, family: str) -> Tensor:
    """The rewards (N,) to train on, of the dtype and device of the recorded ones.

    Args:
        transitions: with the returns of its whole episodes.
        family: as `cepkit.rl.data.scores.family_of` names it.

    Raises:
        ValueError: an unknown family; locomotion without two episodes of different returns, by which nothing can be scaled.
    """
    check_name(family, FAMILIES, name="family")
    if family == "antmaze":
        return transitions.rewards - 1.0
    if family != "locomotion":
        return transitions.rewards.clone()
    returns = transitions.episode_returns
    span = float(returns.max() - returns.min()) if len(returns) else 0.0
    if not span > 0.0:
        raise ValueError(
            f"{transitions.name or 'transitions'}: expected whole episodes of different returns to scale locomotion rewards by, "
            f"got {len(returns)} episode{'s' if len(returns) != 1 else ''} spanning {span:g}"
        )
    return transitions.rewards * (_SPAN / span)
