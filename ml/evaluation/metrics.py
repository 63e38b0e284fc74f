"""Ranking and calibration metrics of one vector of predictions; files and populations belong in evaluate.py."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

# A float32 sigmoid comes no closer to 1: a smaller clip would punish float32 models for their number format.
LOG_LOSS_CLIP = 1e-7

FloatArray = NDArray[np.float64]


class Measured(BaseModel):
    """A metric that the rows could answer; `value` is always finite."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["measured"] = "measured"
    value: FiniteFloat


class NotMeasurable(BaseModel):
    """A metric that the rows cannot answer, and why, in words such as "0 conversions in 1,200 rows"."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["not_measurable"] = "not_measurable"
    reason: str


Measurement = Annotated[Measured | NotMeasurable, Field(discriminator="kind")]


def checked(*, labels: ArrayLike, scores: ArrayLike) -> tuple[FloatArray, FloatArray, str | None]:
    """Labels and scores as float64 [n], and why nothing can be measured on them (None where something can).

    Raises ValueError on shapes that differ or labels that are not 0 or 1: the caller's faults, not the day's.
    """
    label_array = np.asarray(labels, dtype=np.float64)
    score_array = np.asarray(scores, dtype=np.float64)
    if label_array.ndim != 1 or label_array.shape != score_array.shape:
        raise ValueError(f"labels {label_array.shape} and scores {score_array.shape} must be two vectors of one length")
    if not np.all((label_array == 0) | (label_array == 1)):
        raise ValueError("labels must be 0 or 1")
    if label_array.size == 0:
        return label_array, score_array, "0 rows"
    unusable = int(np.count_nonzero(~np.isfinite(score_array)))
    if unusable:
        return label_array, score_array, f"{unusable:,} of {score_array.size:,} predictions are not finite"
    return label_array, score_array, None


def one_class_reason(*, positives: float, rows: int, outcome: str) -> str | None:
    """Why a metric that needs both classes has no answer; None where both are there."""
    if positives == 0:
        return f"0 {outcome} in {rows:,} rows"
    if positives == rows:
        return f"all {rows:,} rows are {outcome}: none to tell them from"
    return None


def auc(*, labels: ArrayLike, scores: ArrayLike, outcome: str = "positives") -> Measurement:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counted half (Mann-Whitney).

    labels [n] of 0/1, scores [n] in any monotone unit (logits or probabilities). `outcome` names the positives.
    """
    label_array, score_array, reason = checked(labels=labels, scores=scores)
    reason = reason or one_class_reason(positives=label_array.sum(), rows=label_array.size, outcome=outcome)
    if reason:
        return NotMeasurable(reason=reason)
    order = np.argsort(score_array)
    return Measured(
        value=_area(positives=label_array[order], negatives=1 - label_array[order], scores=score_array[order])
    )


def weighted_auc(
    *, labels: ArrayLike, scores: ArrayLike, weights: ArrayLike, outcome: str = "positives"
) -> Measurement:
    """AUC with row i counted weights[i] ≥ 0 times (a bootstrap replicate is such a weighting)."""
    label_array, score_array, reason = checked(labels=labels, scores=scores)
    weight_array = np.asarray(weights, dtype=np.float64)
    if weight_array.shape != label_array.shape or not np.all(np.isfinite(weight_array) & (weight_array >= 0)):
        raise ValueError(
            f"weights {weight_array.shape} must be finite, ≥ 0 and as many as the labels {label_array.shape}"
        )
    positives, negatives = weight_array * label_array, weight_array * (1 - label_array)
    if reason is None and (positives.sum() == 0 or negatives.sum() == 0):
        reason = f"weighted count of {outcome} is {positives.sum():g} and of the others {negatives.sum():g}"
    if reason:
        return NotMeasurable(reason=reason)
    order = np.argsort(score_array)
    return Measured(value=_area(positives=positives[order], negatives=negatives[order], scores=score_array[order]))


def tie_group_starts(sorted_scores: FloatArray) -> NDArray[np.int64]:
    """The positions at which a new value begins in ascending scores [n]; the first is 0."""
    return np.flatnonzero(np.concatenate(([True], sorted_scores[1:] != sorted_scores[:-1])))


def _area(*, positives: FloatArray, negatives: FloatArray, scores: FloatArray) -> float:
    starts = tie_group_starts(scores)
    positives_by_group = np.add.reduceat(positives, starts)
    negatives_by_group = np.add.reduceat(negatives, starts)
    negatives_below = np.cumsum(negatives_by_group) - negatives_by_group
    won = positives_by_group @ (negatives_below + negatives_by_group / 2)
    return float(won / (positives_by_group.sum() * negatives_by_group.sum()))


def row_log_losses(*, labels: FloatArray, probabilities: FloatArray) -> FloatArray:
    """Binary cross-entropy of every row in nats, [n]; probabilities clipped to [LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP]."""
    clipped = np.clip(probabilities, LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    return -np.where(labels == 1, np.log(clipped), np.log1p(-clipped))


def log_loss(*, labels: ArrayLike, probabilities: ArrayLike) -> Measurement:
    """Mean binary cross-entropy in nats, probabilities clipped at LOG_LOSS_CLIP; one class alone is measurable."""
    label_array, probability_array, reason = checked(labels=labels, scores=probabilities)
    if reason:
        return NotMeasurable(reason=reason)
    return Measured(value=float(row_log_losses(labels=label_array, probabilities=probability_array).mean()))


def normalised_entropy(*, labels: ArrayLike, probabilities: ArrayLike, outcome: str = "positives") -> Measurement:
    """Log loss over the entropy of the rows' own base rate (He et al. 2014, eq. 1); below 1 beats a constant."""
    label_array, probability_array, reason = checked(labels=labels, scores=probabilities)
    reason = reason or one_class_reason(positives=label_array.sum(), rows=label_array.size, outcome=outcome)
    if reason:
        return NotMeasurable(reason=reason)
    base_rate = label_array.mean()
    entropy = -(base_rate * np.log(base_rate) + (1 - base_rate) * np.log1p(-base_rate))
    losses = row_log_losses(labels=label_array, probabilities=probability_array)
    return Measured(value=float(losses.mean() / entropy))


def pcoc(*, labels: ArrayLike, probabilities: ArrayLike, outcome: str = "positives") -> Measurement:
    """Predicted count over observed count: 1 is calibrated on average, above 1 over-estimates."""
    label_array, probability_array, reason = checked(labels=labels, scores=probabilities)
    if reason is None and label_array.sum() == 0:
        reason = f"0 {outcome} in {label_array.size:,} rows"
    if reason:
        return NotMeasurable(reason=reason)
    return Measured(value=float(probability_array.sum() / label_array.sum()))


class CalibrationBin(BaseModel):
    """One bin of a reliability diagram: rows, mean predicted probability, share of positives."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rows: int
    predicted: FiniteFloat
    observed: FiniteFloat


def calibration_bins(*, labels: ArrayLike, probabilities: ArrayLike, bins: int = 20) -> tuple[CalibrationBin, ...]:
    """At most `bins` bins of equal mass in ascending probability; empty where nothing is measurable.

    Tied probabilities are never split over two bins (the answer would depend on the order of rows), so bins may be
    fewer and unequal.
    """
    label_array, probability_array, reason = checked(labels=labels, scores=probabilities)
    if reason:
        return ()
    order = np.argsort(probability_array, kind="stable")
    ascending = probability_array[order]
    wished = (np.arange(bins) * ascending.size) // bins
    starts = np.unique(np.searchsorted(ascending, ascending[wished], side="left"))
    rows = np.diff(np.append(starts, ascending.size))
    predicted = np.add.reduceat(ascending, starts) / rows
    observed = np.add.reduceat(label_array[order], starts) / rows
    return tuple(
        CalibrationBin(rows=int(count), predicted=float(mean), observed=float(share))
        for count, mean, share in zip(rows, predicted, observed, strict=True)
    )


def expected_calibration_error(*, labels: ArrayLike, probabilities: ArrayLike, bins: int = 20) -> Measurement:
    """ECE: mean over rows of |predicted − observed| of the row's equal-mass bin (Naeini et al. 2015), a probability."""
    *_, reason = checked(labels=labels, scores=probabilities)
    if reason:
        return NotMeasurable(reason=reason)
    parts = calibration_bins(labels=labels, probabilities=probabilities, bins=bins)
    rows = sum(part.rows for part in parts)
    return Measured(value=sum(part.rows * abs(part.predicted - part.observed) for part in parts) / rows)


def roc_curve(
    *, labels: ArrayLike, scores: ArrayLike, points: int = 200
) -> tuple[FloatArray, FloatArray] | NotMeasurable:
    """False and true positive rates from (0, 0) to (1, 1), at most `points` of them, spread evenly along the curve."""
    label_array, score_array, reason = checked(labels=labels, scores=scores)
    reason = reason or one_class_reason(positives=label_array.sum(), rows=label_array.size, outcome="positives")
    if reason:
        return NotMeasurable(reason=reason)
    order = np.argsort(-score_array)
    starts = tie_group_starts(-score_array[order])
    found = np.add.reduceat(label_array[order], starts).cumsum()
    passed = np.append(starts[1:], label_array.size) - found
    true_rate = np.concatenate(([0.0], found / found[-1]))
    false_rate = np.concatenate(([0.0], passed / passed[-1]))
    wished = np.linspace(0.0, 2.0, points)
    kept = np.unique(np.clip(np.searchsorted(true_rate + false_rate, wished), 0, true_rate.size - 1))
    return false_rate[kept], true_rate[kept]
