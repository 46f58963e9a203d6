"""Energy-guided diffusion, measured against the exact answer.

    from cepkit import ExactDenoiser, ExactGuidance, Guided, VPLinear, make_toy, sample

Read the five files of `cepkit.diffusion` first, in this order: schedules, process, denoisers, guidance, sampling. `cepkit.truth`
is the closed form that every field is compared with; `cepkit.learning` trains networks against
it. The other rooms build on these three.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "diffusion.schedules": ["VPCosine", "VPLinear"],
        "diffusion.process": ["perturb"],
        "diffusion.guidance": ["DPSGuidance", "Guided", "LGDGuidance", "LearnedGuidance"],
        "diffusion.sampling": ["sample"],
        "truth.toys": ["TOYS", "make_toy"],
        "truth.own_points": ["from_points"],
        "truth.fields": ["ExactDenoiser", "ExactGuidance", "MeanEnergyGuidance", "toy_estimators"],
        "truth.metrics": ["guidance_error"],
        "learning.loop": ["Training", "TrainingConfig"],
        "learning.points_run": ["load_run"],
    },
)
