"""The five files to read first, in this order: schedules, process, denoisers, guidance, sampling."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "schedules": ["Schedule", "VPCosine", "VPLinear"],
        "process": ["convert", "perturb"],
        "denoisers": ["Denoiser", "FunctionDenoiser", "predict"],
        "guidance": ["DPSGuidance", "Guidance", "Guided", "LGDGuidance", "LearnedGuidance", "ZeroGuidance"],
        "sampling": ["METHODS", "ancestral_step", "ddim_step", "initial_noise", "sample", "sampling_steps", "time_grid", "walk"],
    },
)
