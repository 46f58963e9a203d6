"""The nodes integrate what they should, and are spaced evenly along their curves."""

import math

import numpy as np
import pytest
from scipy import special

from cepkit.truth.quadrature import circle_nodes, interval_nodes, spacing, spiral_nodes


@pytest.mark.parametrize("step", [1.0, 0.1, 0.02])
def test_interval_nodes_integrate_a_smooth_function(step):
    nodes, weights = interval_nodes(-1.0, 2.0, step)
    assert weights @ np.exp(nodes) == pytest.approx(math.e**2 - 1 / math.e, rel=1e-13)


@pytest.mark.parametrize("step", [1.0, 0.1])
def test_circle_nodes_integrate_a_periodic_function(step):
    angles, weights = circle_nodes(2.0, step)
    assert weights @ np.exp(np.cos(angles)) == pytest.approx(2 * math.pi * special.i0(1.0), rel=1e-13)


@pytest.mark.parametrize(("low", "high"), [(0.0, 3 * math.pi), (1.5 * math.pi, 4.5 * math.pi)])
def test_spiral_nodes_integrate_over_the_angle(low, high):
    angles, weights = spiral_nodes(low, high, 0.1)
    assert weights @ np.cos(angles / 4) == pytest.approx(4 * (math.sin(high / 4) - math.sin(low / 4)), rel=1e-8)


@pytest.mark.parametrize("step", [0.3, 0.05])
def test_spiral_nodes_are_never_further_apart_than_gauss_legendre_needs(step):
    n, _ = spiral_nodes(0.0, 3 * math.pi, step)
    curve = np.stack([n * np.cos(n), n * np.sin(n)], -1)
    assert np.linalg.norm(np.diff(curve, axis=0), axis=1).max() <= step * math.pi / 2


def test_more_blur_needs_fewer_nodes():
    steps = [spacing(blur, 0.1, 2.0) for blur in (0.1, 0.2, 0.5, 2.0)]
    assert steps == sorted(steps)


def test_blur_below_the_curve_s_own_noise_needs_no_more_nodes():
    assert spacing(1e-3, 0.1, 2.0) == spacing(0.1, 0.1, 2.0)
