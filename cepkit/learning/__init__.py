"""Networks, losses and training: `Training` in memory, `start_run` in a folder, `load_run` to use the result."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data_source": ["DataSource"],
        "history": ["History"],
        "log": ["read_log"],
        "loop": ["NonFiniteLoss", "Training", "TrainingConfig", "TrainingStep"],
        "points_run": ["LoadedRun", "load_run", "resume_run", "start_run"],
        "run": ["Run"],
        "networks": ["MLPDenoiser", "MLPEnergy"],
        "losses": ["cep_loss", "denoising_loss", "effective_sample_size", "exp_energy_loss", "mean_energy_loss", "pooled_energy"],
    },
)
