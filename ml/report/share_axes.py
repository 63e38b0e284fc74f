"""Axes of shares and probabilities: ticks in percent, linear or logarithmic, and what chance does to a share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ml.evaluation.measurement import FloatArray

_CONFIDENCE = 1.96
_MANTISSAS = ((1, 2, 5), (1, 3), (1,))


def percent(share: float) -> str:
    """Three significant digits: `12.5 %`, `0.02 %`."""
    return f"{100 * share:.3g} %"


def linear_shares(axis: Axis, *, ticks: int = 5) -> None:
    """At most `ticks` steps, in percent."""
    axis.set_major_locator(MaxNLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))


def log_shares(axis: Axis, *, low: float, high: float, ticks: int = 6) -> None:
    """Marks of round numbers in percent on an axis that its caller has made logarithmic, 0 < low < high."""
    axis.set_major_locator(FixedLocator(log_marks(low, high, ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))


def log_marks(low: float, high: float, ticks: int) -> list[float]:
    """Round numbers between low and high, at most `ticks`; both ends where there are not two."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks: list[float] = []
    for mantissas in _MANTISSAS:
        marks = [float(f"{digit}e{decade}") for decade in decades for digit in mantissas]
        marks = [mark for mark in marks if low <= mark <= high]
        if len(marks) <= ticks:
            break
    if len(marks) < 2:
        return [low, high]
    return marks[:: -(-len(marks) // ticks)]


def chance_interval(share: FloatArray, rows: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """The 95 % score interval of each share [n] of `rows` rows (Wilson 1927): it has a width where the share is 0."""
    counts = np.asarray(rows, dtype=np.float64)
    squared = _CONFIDENCE**2
    centre = (share + squared / (2 * counts)) / (1 + squared / counts)
    half = _CONFIDENCE / (1 + squared / counts) * np.sqrt(share * (1 - share) / counts + squared / (4 * counts**2))
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)
