"""The numbers of one model's judged rows, by task and as a whole; comparison and decision belong in evaluate.py."""

from __future__ import annotations

from datetime import date

import numpy as np

from ml.evaluation.evaluated_day import OUTCOMES, POPULATIONS, EvaluatedDay, ModelFacts, Task, TaskMetrics
from ml.evaluation.grouped_auc import grouped_auc
from ml.evaluation.intervals import IntervalAnswer
from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.measurement import UNKNOWN, NotMeasurable
from ml.evaluation.metrics import constant_log_loss, order_violations
from ml.evaluation.ranked_scores import RankedScores
from ml.evaluation.value_metrics import ValueMetrics, value_metrics


def task_metrics(
    rows: JudgedRows,
    task: Task,
    *,
    base_rate: float | None,
    interval: IntervalAnswer,
    grouped: IntervalAnswer,
    level: IntervalAnswer = UNKNOWN,
) -> TaskMetrics:
    """One task's metrics on its population, from one sort of its scores; the intervals of AUC (`interval`), GAUC
    (`grouped`) and PCOC (`level`) are given."""
    chosen, outcome = rows.chosen(task), OUTCOMES[task]
    labels, scores = rows.labels(task)[chosen], rows.probabilities[task][chosen]
    ranked = RankedScores(labels=labels, scores=scores, outcome=outcome)
    by_unit = grouped_auc(labels=labels, scores=scores, groups=rows.units[chosen], outcome=outcome)
    positives = int(labels.sum(dtype=np.int64))
    return TaskMetrics(
        task=task,
        population=POPULATIONS[task],
        rows=labels.size,
        positives=positives,
        auc=ranked.auc(),
        auc_interval=interval,
        log_loss=ranked.log_loss(),
        base_rate_log_loss=NotMeasurable(reason="no base rate of the training days was given")
        if base_rate is None
        else constant_log_loss(positives=positives, rows=labels.size, probability=base_rate),
        normalised_entropy=ranked.normalised_entropy(),
        pcoc=ranked.pcoc(),
        ece=ranked.expected_calibration_error(),
        ece_by_chance=ranked.chance_calibration_error(),
        pr_auc=ranked.average_precision(),
        gauc=by_unit.gauc,
        gauc_interval=grouped,
        gauc_left_out=by_unit.left_out,
        pcoc_interval=level,
    )


def evaluated_day(rows: JudgedRows, model: ModelFacts, *, day: date, tasks: dict[Task, TaskMetrics]) -> EvaluatedDay:
    """The day as a whole: its counts, what is wrong with its predictions, and its order values."""
    usable = np.ones(rows.click.size, dtype=bool)
    for probabilities in rows.probabilities.values():
        usable &= (probabilities >= 0) & (probabilities <= 1)
    return EvaluatedDay(
        model=model,
        day=day,
        impressions=rows.click.size,
        clicks=int(rows.click.sum(dtype=np.int64)),
        conversions=int(rows.conversion.sum(dtype=np.int64)),
        units=int(np.count_nonzero(np.bincount(rows.units))),
        unusable_predictions=int(np.count_nonzero(~usable)),
        tasks=tasks,
        order_violations=order_violations(p_ctr=rows.probabilities["ctr"], p_ctcvr=rows.probabilities["ctcvr"]),
        values=_values(rows),
    )


def _values(rows: JudgedRows) -> tuple[ValueMetrics, ...]:
    if not rows.values:
        return ()
    converted = rows.conversion == 1
    # A click without a conversion has no order, whatever its value column holds.
    observed = np.where(converted, rows.values["value"], 0.0)
    return (
        value_metrics(
            observed=observed[converted],
            predicted=rows.values["value_given_conversion"][converted],
            population="converted impressions",
        ),
        value_metrics(observed=observed, predicted=rows.values["expected_value"], population="impressions"),
    )
