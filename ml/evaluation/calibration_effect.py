"""What a bundle's calibration did on the judged day: each task's level before and after it, as a whole and by bucket
of score and of value; the gate judges what came after, in performance_rules.py and guard_rules.py."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ml.evaluation.equal_mass import equal_mass_buckets
from ml.evaluation.evaluated_day import OUTCOMES, TASKS, Task, TaskMetrics
from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.measurement import FloatArray, Measured, Measurement, NotMeasurable
from ml.evaluation.ranked_scores import RankedScores

BUCKETS = 10
SCORE = "score"
#: The prediction of an order's value that every row of a model of order values has, converted or not.
PREDICTED_VALUE = "value_given_conversion"


class BeforeAfter(BaseModel):
    """One metric of the uncalibrated and of the calibrated probabilities, on the same rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    before: Measurement
    after: Measurement


class BucketBias(BaseModel):
    """Predicted over observed (PCOC) in one bucket; `observed` is the share of positives.

    by: `score`, the uncalibrated prediction, or the name of the value that rows are bucketed by. bucket: its range in
    words, of which the upper end belongs to the next bucket, but for the last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    by: str
    bucket: str
    rows: int
    positives: int
    observed: Measurement
    before: Measurement
    after: Measurement


class CalibrationEffect(BaseModel):
    """One task's probabilities before and after calibration on its population; buckets ascend within each `by`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: Task
    rows: int
    positives: int
    log_loss: BeforeAfter
    pcoc: BeforeAfter
    ece: BeforeAfter
    buckets: tuple[BucketBias, ...]


def calibration_effects(
    rows: JudgedRows, *, tasks: Mapping[Task, TaskMetrics], values: Mapping[str, FloatArray]
) -> tuple[CalibrationEffect, ...]:
    """The effect on each task that has uncalibrated probabilities (`JudgedRows.uncalibrated`).

    tasks: the metrics of the calibrated probabilities of the same rows, which are not computed again. values: by name,
    what rows are bucketed by beside the score, float64 [n], NaN where absent; the predicted order value is one where
    the model has it. An unconverted row has no order, so it takes a value that every row has: MODELS.md, CTR + CVR +
    GMV, whose source found CTCVR too high on samples of few orders and does not say how it bucketed them [reading].
    """
    predicted = {PREDICTED_VALUE: rows.values[PREDICTED_VALUE]} if PREDICTED_VALUE in rows.values else {}
    chosen = {task: rows.chosen(task) for task in TASKS if task in rows.uncalibrated}
    return tuple(
        _effect(rows, chosen[task], metrics=tasks[task], values={**predicted, **values})
        for task in TASKS
        if task in chosen
    )


def _effect(
    rows: JudgedRows, chosen: NDArray[np.bool_], *, metrics: TaskMetrics, values: Mapping[str, FloatArray]
) -> CalibrationEffect:
    task = metrics.task
    labels, before, after = rows.labels(task)[chosen], rows.uncalibrated[task][chosen], rows.probabilities[task][chosen]
    buckets = [
        bias
        for name, value in ((SCORE, before), *((name, value[chosen]) for name, value in values.items()))
        for bias in _biases(name, value, labels=labels, before=before, after=after, outcome=OUTCOMES[task])
    ]
    ranked = RankedScores(labels=labels, scores=before, outcome=OUTCOMES[task])
    return CalibrationEffect(
        task=task,
        rows=metrics.rows,
        positives=metrics.positives,
        log_loss=BeforeAfter(before=ranked.log_loss(), after=metrics.log_loss),
        pcoc=BeforeAfter(before=ranked.pcoc(), after=metrics.pcoc),
        ece=BeforeAfter(before=ranked.expected_calibration_error(), after=metrics.ece),
        buckets=tuple(buckets),
    )


def _biases(
    name: str, value: FloatArray, *, labels: NDArray[np.uint8], before: FloatArray, after: FloatArray, outcome: str
) -> list[BucketBias]:
    """One pass over the rows: their buckets, and by bucket the counts and the sums that all answers are made of."""
    found = equal_mass_buckets(value, BUCKETS)
    size = len(found.names)
    rows = np.bincount(found.codes, minlength=size)
    positives = np.bincount(found.codes[labels == 1], minlength=size)
    sums = [np.bincount(found.codes, weights=side, minlength=size) for side in (before, after)]
    return [
        BucketBias(
            by=name,
            bucket=found.names[code],
            rows=int(rows[code]),
            positives=int(positives[code]),
            observed=Measured(value=float(positives[code] / rows[code])),
            before=_pcoc(sums[0][code], positives=int(positives[code]), rows=int(rows[code]), outcome=outcome),
            after=_pcoc(sums[1][code], positives=int(positives[code]), rows=int(rows[code]), outcome=outcome),
        )
        for code in range(size)
    ]


def _pcoc(predicted: float, *, positives: int, rows: int, outcome: str) -> Measurement:
    if positives == 0:
        return NotMeasurable(reason=f"0 {outcome} in {rows:,} rows")
    # A sum over a prediction that is no number is none either.
    if not np.isfinite(predicted):
        return NotMeasurable(reason=f"some of {rows:,} predictions are not finite")
    return Measured(value=float(predicted / positives))
