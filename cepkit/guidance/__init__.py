"""Guidance: one interface for the exact intermediate energy and for what people use in its place.

A guidance is an estimate of E_t(x_t) = -log E[exp(-beta E(x_0)) | x_t]; beta is inside. ``g.energy(x_t, t)`` is the
estimate and ``g(x_t, t)`` is minus its gradient, of the shape of x_t.

    exact         Theorem 3.1 of Lu et al. (2023), in closed form
    mean energy   beta E[E(x_0) | x_t], what regression learns (Diffuser, Janner et al. 2022); never below exact (Jensen)
    DPS           beta E(x0_hat(x_t)) (Chung et al. 2023)
    LGD-MC        -log mean_j exp(-beta E(x0_hat + r_t z_j)) (Song et al. 2023)
    learned       an energy net, trained by contrastive energy prediction or otherwise (`cepkit.training`)

`Guided(denoiser, guidance, scale)` is again a denoiser. The scale multiplies -grad E_t; only scale 1 samples the target.
"""

from cepkit.guidance.base import Guidance, Guided, ScaledGuidance, SumGuidance, ZeroGuidance
from cepkit.guidance.estimators import DPSGuidance, ExactGuidance, LGDGuidance, MeanEnergyGuidance, toy_estimators
from cepkit.guidance.learned import LearnedGuidance, NormalizedGuidance

__all__ = [
    "DPSGuidance",
    "ExactGuidance",
    "Guidance",
    "Guided",
    "LGDGuidance",
    "LearnedGuidance",
    "MeanEnergyGuidance",
    "NormalizedGuidance",
    "ScaledGuidance",
    "SumGuidance",
    "ZeroGuidance",
    "toy_estimators",
]
