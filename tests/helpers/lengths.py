"""Parametrisations of which the short suite takes a part."""

import itertools

import pytest


def slow(*values):
    """These values as slow tests: ``parametrize("t", [0.5, *slow(0.2, 0.8)])``."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def grid(one, other, *short):
    """Every pair of two lists of values; those that are not in `short` are slow tests."""
    return [pytest.param(*pair, marks=() if pair in short else pytest.mark.slow) for pair in itertools.product(one, other)]
