"""Offline reinforcement learning as energy guidance: E(a) = -Q(s, a) over a behaviour policy's actions (QGPO, Lu et al. 2023)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data.catalogue": ["CATALOGUE"],
        "data.datasets": ["SHIPPED_FOLDER", "checked_file", "load_dataset"],
        "data.hdf5": ["read_hdf5"],
        "data.transitions": ["Transitions", "qlearning_transitions"],
        "data.rewards": ["training_rewards"],
        "data.scores": ["REFERENCE_SCORES", "family_of", "normalized_score"],
        "envs.engines": ["ENGINES", "find_environment", "inertia", "make_env"],
        "envs.engine_check": ["engine_differences"],
        "envs.rollouts": ["rollout"],
        "agent.estimate": ["estimate"],
        "agent.qgpo_config": ["PRESETS", "QGPOConfig"],
        "agent.qgpo": ["QGPO"],
        "agent.qgpo_run": ["load_run", "resume_run", "start_run"],
        "agent.prepared": ["prepare"],
        "agent.critic": ["softmax_backup"],
        "agent.baselines": ["guided_policy"],
        "agent.support_truth": ["TRUTH_TIMES", "exact_answer", "guidance_errors"],
        "study": ["figures"],
        "study.action_slices": ["action_slice", "energy_slice"],
        "study.evaluate": ["Evaluation", "evaluate", "mean_interval"],
        "study.results": ["evaluate_run", "policies_of"],
        "study.leaderboard": ["PAPER_SCORES", "find_experiments", "leaderboard"],
        "study.maze_lab": ["MazeLab"],
    },
)
