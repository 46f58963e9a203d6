"""The rewards that Q-learning is trained on: the recorded ones, by the convention of each family of tasks.

Locomotion: r -> 1000 r / (highest - lowest return of a whole episode). The returns of every robot then span the same 1,000, and
one beta serves all. AntMaze: r -> r - 1, that is -1 for every step on the way and 0 at the goal, so that Q differs between near
and far states. Every other family: unchanged (Kostrikov et al. 2022, arXiv 2110.06169, appendix). The code of Lu et al. 2023
does the same, but sums returns after `qlearning_dataset` has dropped the steps before time-outs: its episodes of 1,000 steps run
over into the next. Whole episodes are summed here.
"""

from torch import Tensor

from cepkit.rl.data.scores import FAMILIES
from cepkit.rl.data.transitions import Transitions
from cepkit.validation import check_name

REWARD_CONVENTIONS = dict.fromkeys(FAMILIES, "as recorded") | {
    "locomotion": "times 1000 / (highest - lowest episode return)",
    "antmaze": "minus 1",
}


def training_rewards(transitions: Transitions, family: str) -> Tensor:
    """The rewards (N,) that a family, one of `FAMILIES`, is trained on: a new tensor like that of the recorded ones.

    Raises:
        ValueError: an unknown family; AntMaze rewards that are shifted already; locomotion without two different returns.
    """
    check_name(family, FAMILIES, name="family")
    name, rewards, returns = transitions.name or "transitions", transitions.rewards, transitions.episode_returns
    if family == "antmaze":
        if bool((rewards < 0.0).any()):
            wanted = "expected AntMaze's 0 on the way and 1 at the goal, got values below 0"
            raise ValueError(f"{name}: rewards: {wanted}; the family maze leaves rewards that are shifted already as they are")
        return rewards - 1.0
    if family != "locomotion":
        return rewards.clone()
    span = float(returns.max() - returns.min()) if len(returns) else 0.0
    if not span > 0.0:
        found = f"{len(returns)} episode{'s' if len(returns) != 1 else ''} spanning {span:g}"
        raise ValueError(f"{name}: expected whole episodes of different returns to scale locomotion rewards by, got {found}")
    return rewards * (1000.0 / span)
