"""Offline reinforcement learning as energy guidance: E(a) = -Q(s, a) over a behaviour policy's actions (QGPO, Lu et al. 2023)."""

from cepkit.rl.config import PRESETS, QGPOConfig
from cepkit.rl.datasets import load_dataset
from cepkit.rl.engine_check import engine_differences
from cepkit.rl.engines import ENGINES, make_env
from cepkit.rl.evaluate import Evaluation, bootstrap_interval, evaluate
from cepkit.rl.qgpo import QGPO
from cepkit.rl.rewards import training_rewards
from cepkit.rl.rollouts import rollout
from cepkit.rl.run import load_run, resume_run, start_run
from cepkit.rl.scores import REFERENCE_SCORES, family_of, normalized_score
from cepkit.rl.transitions import Transitions, qlearning_transitions

__all__ = [
    "ENGINES",
    "PRESETS",
    "QGPO",
    "REFERENCE_SCORES",
    "Evaluation",
    "QGPOConfig",
    "Transitions",
    "bootstrap_interval",
    "engine_differences",
    "evaluate",
    "family_of",
    "load_dataset",
    "load_run",
    "make_env",
    "normalized_score",
    "qlearning_transitions",
    "resume_run",
    "rollout",
    "start_run",
    "training_rewards",
]
