"""cepkit: energy-guided diffusion, measured against the exact answer.

The package follows one idea: on two-dimensional toys the intermediate energy of
Lu et al., *Contrastive Energy Prediction* (ICML 2023, arXiv 2304.12824) is closed-form,
so every estimator, sampler and picture is compared with the truth.
"""

__version__ = "0.1.0"
