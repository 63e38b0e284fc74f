"""The paired bootstrap by unit: what a day shows of a model's metrics and of two models' differences; it decides
nothing, and how replicates become intervals belongs in intervals.py."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from ml.evaluation.grouped_auc import mean_area
from ml.evaluation.intervals import Difference, DifferenceAnswer, Interval, IntervalAnswer, Spread
from ml.evaluation.measurement import FloatArray, IntArray, Measured, NotMeasurable, checked, one_class_reason
from ml.evaluation.metrics import auc
from ml.evaluation.replicated_metrics import Counts, RankedRows, UnitAreas, UnitLosses, UnitTotals

# One chunk of replicates holds at most this many (replicate, row) cells: about 50 MB whatever the day's size.
CHUNK_CELLS = 4_000_000


class BootstrapAnswer(BaseModel):
    """What one population's rows say; the champion's answers are absent where there is no champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    auc: IntervalAnswer
    gauc: IntervalAnswer
    pcoc: IntervalAnswer
    champion_auc: IntervalAnswer | None = None
    champion_gauc: IntervalAnswer | None = None
    champion_pcoc: IntervalAnswer | None = None
    auc_difference: DifferenceAnswer | None = None
    gauc_difference: DifferenceAnswer | None = None
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
    """Intervals of AUC, GAUC and PCOC and, against a champion, of the differences in AUC, GAUC and log loss.

    labels [n] of 0/1, challenger and champion [n] probabilities of the same rows, units [n] integer codes: rows of one
    unit are drawn together (Efron & Tibshirani 1993, ch. 8), so that rows of one user do not count as independent, and
    GAUC is within units. Both models meet the same draws (paired); differences are challenger − champion. Every
    replicate is exact: AUC costs it a gather and a cumulative sum over rows sorted once, GAUC, PCOC and log loss a
    sum over units. Same arguments, same answer. Raises ValueError for arrays of different lengths.
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
    paired = champion_array is not None
    if reason or (not label_array.any() and not paired):
        return BootstrapAnswer.model_validate(_nothing(reason or one_class or "", paired=paired))

    scores = [challenger_array] if champion_array is None else [challenger_array, champion_array]
    rows = {"labels": label_array, "codes": codes}
    # One class has no area, yet its log losses still differ, and positives alone have a PCOC.
    ranked = [] if one_class else [RankedRows(scores=score, **rows) for score in scores]
    grouped = [] if one_class else [UnitAreas(scores=score, **rows) for score in scores]
    totals = [UnitTotals(scores=score, units=unit_count, **rows) for score in scores if label_array.any()]
    losses = UnitLosses(scores=scores, units=unit_count, **rows) if paired else None
    areas, unit_areas = np.empty((len(ranked), replicates)), np.empty((len(ranked), replicates))
    ratios, loss_differences = np.empty((len(totals), replicates)), np.empty(replicates)
    generator = np.random.default_rng(seed)
    for chunk, counts in _chunks(units=unit_count, rows=label_array.size, replicates=replicates, generator=generator):
        for model in range(len(ranked)):
            areas[model, chunk] = ranked[model].areas(counts)
            unit_areas[model, chunk] = grouped[model].means(counts)
        for model, total in enumerate(totals):
            ratios[model, chunk] = total.ratios(counts)
        if losses is not None:
            loss_differences[chunk] = losses.differences(counts)

    spread = Spread(confidence=confidence, units=unit_count)
    answers = _nothing(one_class or "", paired=paired)
    if not one_class:
        estimates = [auc(labels=label_array, scores=score) for score in scores]
        answers |= _areas("auc", estimates, areas, spread=spread)
        estimates = [mean_area(units.found, outcome=outcome) for units in grouped]
        answers |= _areas("gauc", estimates, unit_areas, spread=spread)
    for name, total, replicated in zip(("pcoc", "champion_pcoc"), totals, ratios, strict=False):
        answers[name] = spread.interval(total.estimate, replicated)
    if losses is not None:
        answers["log_loss_difference"] = spread.difference(losses.estimate, loss_differences)
    return BootstrapAnswer.model_validate(answers)


def _areas(
    name: str, estimates: list[Measured | NotMeasurable], replicates: FloatArray, *, spread: Spread
) -> dict[str, Interval | Difference | NotMeasurable]:
    """The challenger's interval and, where there is a champion, its own and the difference's."""
    names = (name, f"champion_{name}", f"{name}_difference")[: 2 * len(estimates) - 1]
    values = [answer.value for answer in estimates if isinstance(answer, Measured)]
    for answer in estimates:
        if isinstance(answer, NotMeasurable):
            return dict.fromkeys(names, answer)
    answers: dict[str, Interval | Difference | NotMeasurable] = {name: spread.interval(values[0], replicates[0])}
    if len(values) > 1:
        answers[names[1]] = spread.interval(values[1], replicates[1])
        answers[names[2]] = spread.difference(values[0] - values[1], replicates[0] - replicates[1])
    return answers


def _nothing(reason: str, *, paired: bool) -> dict[str, Interval | Difference | NotMeasurable]:
    names = [name for name, field in BootstrapAnswer.model_fields.items() if paired or field.is_required()]
    return dict.fromkeys(names, NotMeasurable(reason=reason))


def _compact(units: NDArray[np.generic], *, rows: int) -> tuple[IntArray, int]:
    """Codes 0..U−1 without gaps: a population may lack some of the day's units, and those must not be drawn."""
    if units.shape != (rows,):
        raise ValueError(f"units {units.shape} must be as many as the {rows} labels")
    present, codes = np.unique(units, return_inverse=True)
    return codes.astype(np.int64), int(present.size)


def _chunks(
    *, units: int, rows: int, replicates: int, generator: np.random.Generator
) -> Iterator[tuple[slice, Counts]]:
    size = max(1, CHUNK_CELLS // max(rows, units))
    for start in range(0, replicates, size):
        chunk = slice(start, min(start + size, replicates))
        yield chunk, Counts(resampled_counts(units=units, replicates=chunk.stop - start, generator=generator))
