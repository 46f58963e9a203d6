"""Offline reinforcement learning as energy guidance: E = -Q."""

from cepkit.rl.engines import ENGINES, make_env

__all__ = ["ENGINES", "make_env"]
