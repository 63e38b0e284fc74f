"""Metrics of many replicates at once, from how often each unit was drawn; drawing belongs in comparison.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.grouped_auc import group_areas
from ml.evaluation.measurement import FloatArray, IntArray, tie_group_starts
from ml.evaluation.metrics import row_log_losses

_UINT8_MAX = 255
_INT32_MAX = 2**31 - 1


class Counts:
    """How often each unit was drawn, [replicates, units], as integers of the fewest bytes.

    A gather by row is what a replicate costs most, and counts of one byte stay in the processor's cache.
    """

    def __init__(self, drawn: IntArray) -> None:
        self._most = int(drawn.max(initial=0))
        self.values: NDArray[np.integer] = drawn.astype(np.uint8) if self._most <= _UINT8_MAX else drawn

    def of_rows(self, units: NDArray[np.integer]) -> NDArray[np.integer]:
        """How often each row was drawn, given its unit's code [n]: [replicates, n]."""
        return np.take(self.values, units, axis=1)

    def total_dtype(self, rows: int) -> type[np.integer]:
        """An integer type that no sum over `rows` rows of a replicate overflows."""
        return np.int32 if self._most * rows <= _INT32_MAX else np.int64


class RankedRows:
    """One model's rows in ascending score, sorted once; a replicate then costs one gather and one cumulative sum."""

    def __init__(self, *, labels: FloatArray, scores: FloatArray, codes: IntArray) -> None:
        order = np.argsort(scores, kind="stable")
        starts = tie_group_starts(scores[order])
        group_of_row = np.repeat(np.arange(starts.size), np.diff(np.append(starts, order.size)))
        positives = np.flatnonzero(labels[order] == 1)
        # Only tie groups with a positive in them add to the area.
        groups, first_positives = np.unique(group_of_row[positives], return_index=True)
        self._units = codes[order].astype(np.int32)
        self._positive_units = self._units[positives]
        self._first_positives = first_positives
        self._starts = starts[groups]
        self._ends = np.append(starts, order.size)[groups + 1]

    def areas(self, counts: Counts) -> FloatArray:
        """Weighted AUC of every replicate, [replicates]; NaN where a replicate drew one class only."""
        dtype = counts.total_dtype(self._units.size)
        below = np.zeros((counts.values.shape[0], self._units.size + 1), dtype=dtype)
        np.cumsum(counts.of_rows(self._units), axis=1, dtype=dtype, out=below[:, 1:])
        positives = np.add.reduceat(counts.of_rows(self._positive_units), self._first_positives, axis=1, dtype=dtype)
        rows_below = below[:, self._starts]
        negatives = below[:, self._ends] - rows_below - positives
        positives_through = np.cumsum(positives, axis=1, dtype=dtype)
        negatives_below = rows_below - (positives_through - positives)
        won = (positives * (negatives_below + negatives / 2)).sum(axis=1)
        positive_total = positives_through[:, -1].astype(np.float64)
        pairs = positive_total * (below[:, -1] - positive_total)
        return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


class UnitAreas:
    """One model's AUC within each unit; GAUC weighs whole units, so a replicate is a sum over units."""

    def __init__(self, *, labels: FloatArray, scores: FloatArray, codes: IntArray) -> None:
        self.found = group_areas(labels=labels, scores=scores, codes=codes)

    def means(self, counts: Counts) -> FloatArray:
        """GAUC of every replicate, [replicates]; NaN where none of the units drawn holds both classes."""
        drawn = counts.values[:, self.found.codes]
        rows = np.einsum("ru,u->r", drawn, self.found.rows)
        won = np.einsum("ru,u->r", drawn, self.found.rows * self.found.areas)
        return np.divide(won, rows, out=np.full(rows.shape, np.nan), where=rows > 0)


class UnitLosses:
    """Two models' log losses summed within units, which is all a replicate's mean needs."""

    def __init__(self, *, labels: FloatArray, scores: list[FloatArray], codes: IntArray, units: int) -> None:
        challenger, champion = (row_log_losses(labels=labels, probabilities=score) for score in scores)
        self._sums = np.bincount(codes, weights=challenger - champion, minlength=units)
        self._rows = np.bincount(codes, minlength=units).astype(np.float64)
        self.estimate = float((challenger - champion).mean())

    def differences(self, counts: Counts) -> FloatArray:
        """Mean log-loss difference of every replicate, [replicates]."""
        # einsum, because the last bits of a BLAS product depend on its threads.
        drawn = np.einsum("ru,u->r", counts.values, self._sums)
        return drawn / np.einsum("ru,u->r", counts.values, self._rows)


class UnitTotals:
    """One model's predicted and observed counts summed within units, which is all a replicate's PCOC needs."""

    def __init__(self, *, labels: FloatArray, scores: FloatArray, codes: IntArray, units: int) -> None:
        self._predicted = np.bincount(codes, weights=scores, minlength=units)
        self._observed = np.bincount(codes, weights=labels, minlength=units)
        self.estimate = float(scores.sum() / labels.sum()) if labels.any() else float("nan")

    def ratios(self, counts: Counts) -> FloatArray:
        """PCOC of every replicate, [replicates]; NaN where a replicate drew no positive."""
        predicted = np.einsum("ru,u->r", counts.values, self._predicted)
        observed = np.einsum("ru,u->r", counts.values, self._observed)
        return np.divide(predicted, observed, out=np.full(observed.shape, np.nan), where=observed > 0)
