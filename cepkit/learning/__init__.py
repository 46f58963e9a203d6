"""Networks, losses and training: `Training` in memory, `Run` in a folder, `load_run` to use the result."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["TrainingConfig"],
        "data_source": ["DataSource"],
        "history": ["History"],
        "loop": ["NonFiniteLoss", "Training", "TrainingStep"],
        "normalized": ["NormalizedGuidance"],
        "run": ["LoadedRun", "Run", "load_run", "resume_run", "start_run"],
        "networks": ["MLPDenoiser", "MLPEnergy"],
        "losses": ["cep_loss", "denoising_loss", "exp_energy_loss", "mean_energy_loss", "pooled_energy"],
    },
)
