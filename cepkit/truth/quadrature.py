"""Nodes and weights along the curves that the toys are drawn from.

Nodes are spaced evenly in arc length (Gauss-Legendre on arcs, equally spaced on closed circles), so that one number,
the blur that smooths the curve, decides how many are needed. Seen from a point at distance R, a curve of radius r
looks sharper than its blur by the factor sqrt(1 + R / (alpha r)); the spacing allows for that over the plotted square.
"""

import math

import numpy as np

SPACING = 0.8  # in units of the sharpened blur; chosen so that doubling the nodes changes nothing beyond 1e-7
REACH = 8.5  # the corner of the square [-6, 6]^2
_PANEL, _PANEL_WEIGHT = np.polynomial.legendre.leggauss(48)


def spacing(blur: float, std: float, radius: float) -> float:
    """Node spacing for a curve of this radius of curvature and own noise `std`, seen through `blur`, all in x_0 units."""
    blur = max(blur, std)
    inverse_alpha = math.sqrt(1 + blur**2 - std**2)
    return SPACING * blur / math.sqrt(1 + REACH / radius * inverse_alpha)


def interval_nodes(low: float, high: float, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [low, high] in panels of 48, with a mean spacing of at most `step`."""
    panels = math.ceil((high - low) / (step * len(_PANEL))) + 1
    half = (high - low) / (2 * panels)
    centres = low + half * (2 * np.arange(panels) + 1)
    return (centres[:, None] + half * _PANEL).ravel(), np.tile(half * _PANEL_WEIGHT, panels)


def circle_nodes(radius: float, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Equally spaced angles and weights (summing to 2 pi) with the given arc spacing; spectrally accurate."""
    count = math.ceil(2 * math.pi * radius / (1.8 * step)) + 24
    return 2 * math.pi * np.arange(count) / count, np.full(count, 2 * math.pi / count)


def _arc_length(angle: np.ndarray | float) -> np.ndarray:
    """Length of the spiral (n cos n, n sin n) from 0 to n."""
    return (angle * np.sqrt(1 + angle**2) + np.arcsinh(angle)) / 2


def spiral_nodes(low: float, high: float, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Angles n and weights dn along (n cos n, n sin n), spaced evenly in arc length by `step`."""
    length, weight = interval_nodes(float(_arc_length(low)), float(_arc_length(high)), step)
    angle = np.sqrt(2 * length)
    for _ in range(60):
        angle = angle - (_arc_length(angle) - length) / np.sqrt(1 + angle**2)
    return angle, weight / np.sqrt(1 + angle**2)
