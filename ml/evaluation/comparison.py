"""The paired bootstrap by unit: what a day shows of one model's AUC and two models' difference; it decides nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from ml.evaluation.intervals import Difference, DifferenceAnswer, Interval, IntervalAnswer, Spread
from ml.evaluation.metrics import (
    FloatArray,
    Measured,
    NotMeasurable,
    auc,
    checked,
    one_class_reason,
    row_log_losses,
    tie_group_starts,
)

# One chunk of replicates holds at most this many (replicate, row) cells: about 50 MB whatever the day's size.
CHUNK_CELLS = 2_000_000

IntArray = NDArray[np.int64]


class BootstrapAnswer(BaseModel):
    """What one population's rows say; the champion's answers are absent where there is no champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    auc: IntervalAnswer
    champion_auc: IntervalAnswer | None = None
    auc_difference: DifferenceAnswer | None = None
    log_loss_difference: DifferenceAnswer | None = None


def resampled_counts(*, units: int, replicates: int, generator: np.random.Generator) -> IntArray:
    """How often each unit is drawn, int64 [replicates, units]; every row sums to `units`.

    Multinomial counts are the bootstrap itself (n units out of n, with replacement). Poisson counts only approximate
    it, are dearer to draw, and pay where the number of units is not known beforehand; here it is.
    """
    draws = generator.integers(0, units, size=(replicates, units))
    draws += np.arange(replicates)[:, None] * units
    return np.bincount(draws.ravel(), minlength=replicates * units).reshape(replicates, units)


def bootstrap(
    *,
    labels: ArrayLike,
    units: ArrayLike,
    challenger: ArrayLike,
    champion: ArrayLike | None = None,
    replicates: int,
    confidence: float,
    seed: int,
    outcome: str = "positives",
) -> BootstrapAnswer:
    """Intervals of the AUC and, against a champion, of the AUC's and log loss's differences (challenger − champion).

    labels [n] of 0/1, challenger and champion [n] probabilities of the same rows, units [n] integer codes: rows of one
    unit are drawn together (Efron & Tibshirani 1993, ch. 8), so that rows of one user do not count as independent. Both
    models meet the same draws (paired). Same arguments, same answer. Raises ValueError for arrays of different lengths.
    """
    label_array, challenger_array, reason = checked(labels=labels, scores=challenger)
    champion_array = None
    if champion is not None:
        _, champion_array, champion_reason = checked(labels=labels, scores=champion)
        reason = reason or champion_reason
    codes, unit_count = _compact(np.asarray(units), rows=label_array.size)
    if reason is None and unit_count < 2:
        reason = f"{unit_count} unit: nothing to resample"
    one_class = one_class_reason(positives=label_array.sum(), rows=label_array.size, outcome=outcome)
    if reason or (one_class and champion_array is None):
        return _nothing(reason or one_class or "", paired=champion_array is not None)

    scores = [challenger_array] if champion_array is None else [challenger_array, champion_array]
    # One class has no area, yet its log losses still differ.
    ranked = [] if one_class else [_RankedRows(labels=label_array, scores=score, codes=codes) for score in scores]
    losses = _UnitLosses(labels=label_array, scores=scores, codes=codes, units=unit_count) if len(scores) > 1 else None
    areas, loss_differences = np.empty((len(ranked), replicates)), np.empty(replicates)
    generator = np.random.default_rng(seed)
    for chunk, counts in _chunks(units=unit_count, rows=label_array.size, replicates=replicates, generator=generator):
        for model, rows in enumerate(ranked):
            areas[model, chunk] = rows.areas(counts)
        if losses is not None:
            loss_differences[chunk] = losses.differences(counts)

    spread = Spread(confidence=confidence, units=unit_count)
    answers: dict[str, Interval | Difference | NotMeasurable]
    if one_class:
        answers = dict.fromkeys(("auc", "champion_auc", "auc_difference"), NotMeasurable(reason=one_class))
    else:
        estimates = [_estimate(label_array, score) for score in scores]
        answers = {"auc": spread.interval(estimates[0], areas[0])}
        if losses is not None:
            answers["champion_auc"] = spread.interval(estimates[1], areas[1])
            answers["auc_difference"] = spread.difference(estimates[0] - estimates[1], areas[0] - areas[1])
    if losses is not None:
        answers["log_loss_difference"] = spread.difference(losses.estimate, loss_differences)
    return BootstrapAnswer.model_validate(answers)


def _estimate(labels: FloatArray, scores: FloatArray) -> float:
    answer = auc(labels=labels, scores=scores)
    assert isinstance(answer, Measured), answer
    return answer.value


def _nothing(reason: str, *, paired: bool) -> BootstrapAnswer:
    answer = NotMeasurable(reason=reason)
    if not paired:
        return BootstrapAnswer(auc=answer)
    return BootstrapAnswer(auc=answer, champion_auc=answer, auc_difference=answer, log_loss_difference=answer)


def _compact(units: NDArray[np.generic], *, rows: int) -> tuple[IntArray, int]:
    """Codes 0..U−1 without gaps: a population may lack some of the day's units, and those must not be drawn."""
    if units.shape != (rows,):
        raise ValueError(f"units {units.shape} must be as many as the {rows} labels")
    present, codes = np.unique(units, return_inverse=True)
    return codes.astype(np.int64), int(present.size)


def _chunks(
    *, units: int, rows: int, replicates: int, generator: np.random.Generator
) -> Iterator[tuple[slice, IntArray]]:
    size = max(1, CHUNK_CELLS // max(rows, units))
    for start in range(0, replicates, size):
        chunk = slice(start, min(start + size, replicates))
        yield chunk, resampled_counts(units=units, replicates=chunk.stop - start, generator=generator)


class _RankedRows:
    """One model's rows in ascending score, sorted once; a replicate then costs one gather and one cumulative sum."""

    def __init__(self, *, labels: FloatArray, scores: FloatArray, codes: IntArray) -> None:
        order = np.argsort(scores, kind="stable")
        starts = tie_group_starts(scores[order])
        group_of_row = np.repeat(np.arange(starts.size), np.diff(np.append(starts, order.size)))
        positives = np.flatnonzero(labels[order] == 1)
        # Only tie groups with a positive in them add to the area.
        groups, first_positives = np.unique(group_of_row[positives], return_index=True)
        self._units = codes[order]
        self._positive_units = self._units[positives]
        self._first_positives = first_positives
        self._starts = starts[groups]
        self._ends = np.append(starts, order.size)[groups + 1]

    def areas(self, counts: IntArray) -> FloatArray:
        """Weighted AUC of every replicate, [replicates]; NaN where a replicate drew one class only."""
        below = np.zeros((counts.shape[0], self._units.size + 1), dtype=np.int64)
        np.cumsum(np.take(counts, self._units, axis=1), axis=1, out=below[:, 1:])
        positives = np.add.reduceat(np.take(counts, self._positive_units, axis=1), self._first_positives, axis=1)
        rows_below = below[:, self._starts]
        negatives = below[:, self._ends] - rows_below - positives
        positives_through = np.cumsum(positives, axis=1)
        negatives_below = rows_below - (positives_through - positives)
        won = (positives * (negatives_below + negatives / 2)).sum(axis=1)
        positive_total = positives_through[:, -1].astype(np.float64)
        pairs = positive_total * (below[:, -1] - positive_total)
        return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


class _UnitLosses:
    """Two models' log losses summed within units, which is all a replicate's mean needs."""

    def __init__(self, *, labels: FloatArray, scores: list[FloatArray], codes: IntArray, units: int) -> None:
        challenger, champion = (row_log_losses(labels=labels, probabilities=score) for score in scores)
        self._sums = np.bincount(codes, weights=challenger - champion, minlength=units)
        self._rows = np.bincount(codes, minlength=units).astype(np.float64)
        self.estimate = float((challenger - champion).mean())

    def differences(self, counts: IntArray) -> FloatArray:
        """Mean log-loss difference of every replicate, [replicates]."""
        # einsum, because the last bits of a BLAS product depend on its threads.
        return np.einsum("ru,u->r", counts, self._sums) / np.einsum("ru,u->r", counts, self._rows)
