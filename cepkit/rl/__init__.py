"""Offline reinforcement learning as energy guidance: E(a) = -Q(s, a) over the actions of a behaviour policy."""

from cepkit.rl.datasets import load_dataset
from cepkit.rl.rewards import training_rewards
from cepkit.rl.scores import REFERENCE_SCORES, family_of, normalized_score
from cepkit.rl.transitions import Transitions, qlearning_transitions

__all__ = [
    "REFERENCE_SCORES",
    "Transitions",
    "family_of",
    "load_dataset",
    "normalized_score",
    "qlearning_transitions",
    "training_rewards",
]
