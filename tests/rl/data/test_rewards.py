"""Reward conventions on numbers one can check by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cepkit.rl.data.rewards import REWARD_CONVENTIONS, training_rewards
from cepkit.rl.data.scores import FAMILIES
from cepkit.rl.data.transitions import qlearning_transitions


def steps(rewards, timeouts):
    n = len(rewards)
    raw = {"observations": np.arange(n, dtype=np.float32)[:, None], "actions": np.zeros((n, 1), np.float32)}
    raw |= {"rewards": np.array(rewards, np.float32), "terminals": np.zeros(n, bool)}
    raw["timeouts"] = np.isin(np.arange(n), timeouts)
    return qlearning_transitions(raw, name="steps")


def test_locomotion_spans_a_thousand_between_whole_episodes():
    """Episodes of return 1 + 2 + 3 = 6 and 10 + 10 + 6 = 26, the steps that are dropped included; the open one not."""
    made = steps([1, 2, 3, 10, 10, 6, 900], [2, 5])
    assert made.rewards.tolist() == [1, 2, 10, 10]
    assert training_rewards(made, "locomotion").tolist() == [50, 100, 500, 500]


def test_locomotion_does_not_feel_the_scale_of_the_rewards():
    made, larger = steps([1, 2, 3, 4, 5], [1, 3]), steps([7, 14, 21, 28, 35], [1, 3])
    torch.testing.assert_close(training_rewards(made, "locomotion"), training_rewards(larger, "locomotion"))


def test_antmaze_is_minus_one_on_the_way_and_zero_at_the_goal():
    assert training_rewards(steps([0, 0, 1, 0], [1]), "antmaze").tolist() == [-1, 0]


def test_antmaze_rewards_that_are_shifted_already_are_refused():
    with pytest.raises(ValueError, match="steps: rewards: expected AntMaze's 0 on the way and 1 .*; the family maze leaves"):
        training_rewards(steps([-1, -1, 0, -1], [1]), "antmaze")


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ("locomotion", "antmaze")])
def test_other_families_keep_their_rewards_in_a_copy(family):
    made = steps([0, 3, 1, 0], [1])
    rewards = training_rewards(made, family)
    assert rewards.tolist() == made.rewards.tolist() and REWARD_CONVENTIONS[family] == "as recorded"
    rewards.zero_()
    assert made.rewards.tolist() == [0, 1]


def test_what_cannot_be_scaled_and_unknown_families_are_refused():
    with pytest.raises(ValueError, match="steps: expected whole episodes of different returns .* got 2 episodes spanning 0"):
        training_rewards(steps([1, 1, 1, 1, 1], [1, 3]), "locomotion")
    with pytest.raises(ValueError, match="got 0 episodes"):
        training_rewards(steps([1, 1], []), "locomotion")
    with pytest.raises(ValueError, match="family: expected one of locomotion, .*did you mean 'antmaze'"):
        training_rewards(steps([1, 1], []), "ant-maze")
