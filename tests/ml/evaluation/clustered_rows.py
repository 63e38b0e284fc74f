"""Rows of users who differ, for the tests of the bootstrap; it tests nothing."""

import numpy as np


def clustered_rows(seed, *, rows=240, units=70, rate=0.3):
    """Labels, units, and two equally good scores with ties; rows of one unit share part of their score."""
    generator = np.random.default_rng(seed)
    unit = generator.integers(0, units, rows)
    truth = generator.normal(size=units)[unit] + generator.normal(size=rows)
    labels = (generator.random(rows) < 1 / (1 + np.exp(-truth - np.log(rate / (1 - rate))))).astype(int)
    first, second = (np.round(1 / (1 + np.exp(-truth - generator.normal(size=rows))), 2) for _ in range(2))
    return labels, unit, first, second
