"""Rows in buckets of equal mass by one value each; what is measured by bucket belongs in calibration_effect.py."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.measurement import FloatArray
from ml.evaluation.sample_fields import MISSING

# Rows whose codes are held as 64-bit integers at once.
_BLOCK = 1_000_000


@dataclass(frozen=True)
class EqualMassBuckets:
    """Buckets that hold a row at least, ascending: their ranges in words, and each row's, uint8 [n], into them."""

    names: tuple[str, ...]
    codes: NDArray[np.uint8]


def equal_mass_buckets(values: FloatArray, buckets: int) -> EqualMassBuckets:
    """At most `buckets` ≤ 254 half-open ranges of about equally many rows, the last one closed, of values [n].

    Equal values are never split over two buckets (the answer would depend on the order of rows), so buckets may be
    fewer and unequal. Values that are not finite are a bucket of their own, the last.
    """
    finite = np.isfinite(values)
    known = values[finite]
    lowest, names = _ranges(known, buckets) if known.size else (known, [])
    codes = np.empty(values.size, dtype=np.uint8)
    for start in range(0, values.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        codes[block] = np.searchsorted(lowest[1:], values[block], side="right")
    if known.size < values.size:
        codes[~finite] = len(names)
        names.append(MISSING)
    return EqualMassBuckets(names=tuple(names), codes=codes)


def _ranges(known: FloatArray, buckets: int) -> tuple[FloatArray, list[str]]:
    """Each range's lower end, ascending, and its words; `known` [n > 0] is reordered."""
    ranks = [part * known.size // buckets for part in range(buckets)]
    known.partition([*ranks, known.size - 1])
    lowest, highest = np.unique(known[ranks]), known[-1]
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(lowest)]
    names.append(f"{lowest[-1]:.4g} to {highest:.4g}" if lowest[-1] < highest else f"{highest:.4g}")
    return lowest, names
