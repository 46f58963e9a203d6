"""Offline reinforcement learning as energy guidance with E = -Q (QGPO, Lu et al. 2023)."""
