"""Offline reinforcement learning as energy guidance: E = -Q."""

from cepkit.rl.engine_check import EngineDifference, engine_differences
from cepkit.rl.engines import ENGINES, make_env
from cepkit.rl.evaluate import Evaluation, bootstrap_interval, evaluate
from cepkit.rl.rollouts import Policy, Rollout, rollout

__all__ = [
    "ENGINES",
    "EngineDifference",
    "Evaluation",
    "Policy",
    "Rollout",
    "bootstrap_interval",
    "engine_differences",
    "evaluate",
    "make_env",
    "rollout",
]
