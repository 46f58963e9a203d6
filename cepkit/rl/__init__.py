"""Offline reinforcement learning as energy guidance: E(a) = -Q(s, a) over a behaviour policy's actions (QGPO, Lu et al. 2023)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data.datasets": ["load_dataset"],
        "data.transitions": ["Transitions", "qlearning_transitions"],
        "data.rewards": ["training_rewards"],
        "data.scores": ["REFERENCE_SCORES", "family_of", "normalized_score"],
        "envs.engines": ["ENGINES", "make_env"],
        "envs.engine_check": ["engine_differences"],
        "envs.rollouts": ["rollout"],
        "agent.qgpo_config": ["PRESETS", "QGPOConfig"],
        "agent.qgpo": ["QGPO"],
        "agent.qgpo_run": ["load_run", "resume_run", "start_run"],
        "study.evaluate": ["Evaluation", "bootstrap_interval", "evaluate"],
        "study.maze_lab": ["MazeLab"],
    },
)
