"""How a task's predictions are spread over probabilities, by class, for a picture; it judges nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.evaluation.evaluated_day import OUTCOMES, Task
from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.measurement import FloatArray, NotMeasurable, no_number_reason, one_class_reason

# Predictions below this quantile stretch a logarithmic axis over decades in which next to nothing lies.
LOWEST_QUANTILE = 0.001


@dataclass(frozen=True)
class ScoreHistogram:
    """Shares of each class by range of predicted probability: edges float64 [k + 1], ascending and evenly spaced in
    logarithm; positives, negatives float64 [k], each of sum 1, of which the first holds what lies below too."""

    edges: FloatArray
    positives: FloatArray
    negatives: FloatArray


def score_histograms(rows: JudgedRows, task: Task, bins: int = 40) -> ScoreHistogram | NotMeasurable:
    """The calibrated predictions of the task's population in `bins` ranges, from their 0.1 % quantile to the largest.

    Not measurable without rows of both classes, and with predictions that are not finite or none above 0.
    """
    chosen = rows.chosen(task)
    scores, positive = rows.probabilities[task][chosen], rows.labels(task)[chosen] == 1
    reason = no_number_reason(scores) or one_class_reason(
        positives=int(np.count_nonzero(positive)), rows=scores.size, outcome=OUTCOMES[task]
    )
    if reason is None and scores.max() <= 0:
        reason = f"none of {scores.size:,} predictions is above 0"
    if reason:
        return NotMeasurable(reason=reason)
    edges = _edges(scores, bins)
    inner = edges[1:-1]
    ranges = (np.searchsorted(inner, side, side="right") for side in (scores[positive], scores[~positive]))
    positives, negatives = (np.bincount(found, minlength=bins) / found.size for found in ranges)
    return ScoreHistogram(edges=edges, positives=positives, negatives=negatives)


def _edges(scores: FloatArray, bins: int) -> FloatArray:
    above = scores[scores > 0]
    rank = int(LOWEST_QUANTILE * above.size)
    above.partition(rank)
    low, high = float(above[rank]), float(scores.max())
    # Of one prediction alone, a range around it.
    return np.geomspace(low, high, bins + 1) if low < high else np.geomspace(low / 1.1, high * 1.1, bins + 1)
