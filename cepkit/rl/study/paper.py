"""What papers report on D4RL's data sets, to stand beside what runs here earn.

Normalised scores as in the tables of Lu et al., Contrastive Energy Prediction for Exact Energy-Guided Diffusion Sampling in
Offline Reinforcement Learning (ICML 2023, arXiv 2304.12824), and of the papers of the other methods, as other papers restate
them: QGPO; behaviour cloning (BC); CQL (Kumar et al. 2020); IQL (Kostrikov et al. 2022); Diffuser (Janner et al. 2022);
DD, Decision Diffuser (Ajay et al. 2023); Diffusion-QL (Wang et al. 2023); IDQL (Hansen-Estruch et al. 2023);
SfBC (Chen et al. 2023); SRPO (Chen et al. 2024). None was measured here. Their own protocols differ (checkpoint, selection
of the guidance scale, number of seeds).
"""

from __future__ import annotations

SOURCE = "Lu et al. 2023 (arXiv 2304.12824) and the papers of the other methods, as restated by others; not measured here"
_LOCOMOTION_METHODS = ("QGPO", "BC", "CQL", "IQL", "Diffuser", "DD", "Diffusion-QL", "IDQL", "SfBC", "SRPO")
_LOCOMOTION = {
    "halfcheetah-medium-expert-v2": (93.5, 55.2, 91.6, 86.7, 79.8, 90.6, 96.1, 95.9, 92.6, 92.2),
    "hopper-medium-expert-v2": (108.0, 52.5, 105.4, 91.5, 107.2, 111.8, 110.7, 108.6, 108.6, 100.1),
    "walker2d-medium-expert-v2": (110.7, 107.5, 108.8, 109.6, 108.4, 108.8, 109.7, 112.7, 109.8, 114.0),
    "halfcheetah-medium-v2": (54.1, 42.6, 44.0, 47.4, 44.2, 49.1, 50.6, 51.0, 45.9, 60.4),
    "hopper-medium-v2": (98.0, 52.9, 58.5, 66.3, 58.5, 79.3, 82.4, 65.4, 57.1, 95.5),
    "walker2d-medium-v2": (86.0, 75.3, 72.5, 78.3, 79.7, 82.5, 85.1, 82.5, 77.9, 84.4),
    "halfcheetah-medium-replay-v2": (47.6, 36.6, 45.5, 44.2, 42.2, 39.3, 47.5, 45.8, 37.1, 51.4),
    "hopper-medium-replay-v2": (96.9, 18.1, 95.0, 94.7, 96.8, 100.0, 100.7, 92.1, 86.2, 101.2),
    "walker2d-medium-replay-v2": (84.4, 26.0, 77.2, 73.9, 61.2, 75.0, 94.3, 85.1, 65.1, 84.6),
}
_ANTMAZE = ("umaze", "umaze-diverse", "medium-play", "medium-diverse", "large-play", "large-diverse")
_ANTMAZE_METHODS = {
    "QGPO": (96.4, 74.4, 83.6, 83.8, 66.6, 64.8),
    "IDQL": (94.0, 80.2, 84.5, 84.8, 63.5, 67.9),
    "SRPO": (97.1, 82.1, 80.7, 75.0, 53.6, 53.6),
    "SfBC": (92.0, 85.3, 81.3, 82.0, 59.3, 64.8),
}
QGPO_SPREAD = dict(zip(_LOCOMOTION, (0.3, 2.5, 0.6, 0.4, 2.6, 0.7, 1.4, 2.6, 4.1), strict=True))
"""The +- that the paper gives for QGPO on locomotion."""
PAPER_SCORES: dict[str, dict[str, float]] = {
    name: dict(zip(_LOCOMOTION_METHODS, scores, strict=True)) for name, scores in _LOCOMOTION.items()
} | {
    f"antmaze-{maze}-v2": {method: scores[index] for method, scores in _ANTMAZE_METHODS.items()}
    for index, maze in enumerate(_ANTMAZE)
}
"""Normalised scores by data set, then by method."""


def paper_text(name: str, method: str) -> str:
    """The reported score as "93.5 ± 0.3" or "92.6"; empty where there is none."""
    score = PAPER_SCORES.get(name, {}).get(method)
    if score is None:
        return ""
    spread = QGPO_SPREAD.get(name) if method == "QGPO" else None
    return f"{score:.1f}" if spread is None else f"{score:.1f} ± {spread:.1f}"
