"""The closed form: mixtures whose noisy densities, scores and intermediate energies are known exactly."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "exact": ["Mixture"],
        "toys": ["TOYS", "Toy", "make_toy"],
        "own_points": ["from_points"],
        "fields": ["ExactDenoiser", "ExactGuidance", "MeanEnergyGuidance", "toy_estimators"],
        "metrics": [
            "ErrorProbe",
            "guidance_error",
            "kernel_bandwidths",
            "mmd2",
            "mmd2_null_band",
            "mode_masses",
            "relative_error",
            "sliced_wasserstein",
            "total_variation",
        ],
    },
)
