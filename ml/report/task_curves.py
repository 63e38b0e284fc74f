"""The points of one task's curves, of one sort of its scores; drawing them belongs in the pictures' modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ml.evaluation.evaluated_day import OUTCOMES, TASKS, EvaluatedDay, Task, TaskMetrics
from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.measurement import FloatArray, NotMeasurable
from ml.evaluation.ranked_scores import CalibrationBin, RankedScores

Curve = tuple[FloatArray, FloatArray] | NotMeasurable


@dataclass(frozen=True)
class TaskCurves:
    """One task of one model: the evaluation's numbers and the curves behind them.

    roc: false and true positive rates; precision_recall: recall and precision. bins, and those of the probabilities
    before calibration, `uncalibrated`, are empty where there is nothing to show.
    """

    metrics: TaskMetrics
    roc: Curve
    precision_recall: Curve
    bins: tuple[CalibrationBin, ...]
    uncalibrated: tuple[CalibrationBin, ...] = ()


def task_curves(rows: JudgedRows, task: Task, *, metrics: TaskMetrics) -> TaskCurves:
    """The curves of a task's population; `metrics` are the same rows' numbers, which are not computed again."""
    chosen = rows.chosen(task)
    labels = rows.labels(task)[chosen]
    ranked = RankedScores(labels=labels, scores=rows.probabilities[task][chosen], outcome=OUTCOMES[task])
    uncalibrated = rows.uncalibrated.get(task)
    return TaskCurves(
        metrics=metrics,
        roc=ranked.roc_curve(),
        precision_recall=ranked.precision_recall_curve(),
        bins=ranked.calibration_bins(),
        uncalibrated=()
        if uncalibrated is None
        else RankedScores(labels=labels, scores=uncalibrated[chosen]).calibration_bins(),
    )


def day_curves(rows: JudgedRows, *, day: EvaluatedDay) -> Mapping[Task, TaskCurves]:
    """All tasks' curves of one model's day."""
    return {task: task_curves(rows, task, metrics=day.tasks[task]) for task in TASKS}
