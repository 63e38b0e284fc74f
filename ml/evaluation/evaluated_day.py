"""The record of one model on one judged day: who it is and its numbers by task; it computes and decides nothing."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ml.evaluation.intervals import DifferenceAnswer, IntervalAnswer
from ml.evaluation.measurement import UNKNOWN, Measurement
from ml.evaluation.value_metrics import ValueMetrics

Task = Literal["ctr", "cvr", "ctcvr"]
TASKS: tuple[Task, ...] = ("ctr", "cvr", "ctcvr")

# "CVR AUC" means three different things in the field, so a number is never shown without its population.
POPULATIONS: dict[Task, str] = {"ctr": "impressions", "cvr": "clicked impressions", "ctcvr": "impressions"}
OUTCOMES: dict[Task, str] = {"ctr": "clicks", "cvr": "conversions", "ctcvr": "conversions"}


class ModelFacts(BaseModel):
    """Which model was judged. Trained on days before `as_of` and judged on `as_of` itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model_id: str
    model: str
    as_of: date
    training_days: tuple[date, ...] = ()


class TaskMetrics(BaseModel):
    """One task's numbers; `base_rate_log_loss` is that of always predicting the training days' base rate.

    gauc is within units and gauc_left_out the share of rows in units of one class, which it cannot use; ece_by_chance
    is the ECE to be expected of a perfectly calibrated model, by the noise of the labels alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: Task
    population: str
    rows: int
    positives: int
    auc: Measurement
    auc_interval: IntervalAnswer
    log_loss: Measurement
    base_rate_log_loss: Measurement
    normalised_entropy: Measurement
    pcoc: Measurement
    ece: Measurement
    ece_by_chance: Measurement = UNKNOWN
    pr_auc: Measurement = UNKNOWN
    gauc: Measurement = UNKNOWN
    gauc_interval: IntervalAnswer = UNKNOWN
    gauc_left_out: Measurement = UNKNOWN
    pcoc_interval: IntervalAnswer = UNKNOWN


class EvaluatedDay(BaseModel):
    """One model's numbers on one day; `unusable_predictions`: rows with a probability that is NaN or outside [0, 1].

    order_violations: share of rows with p_ctcvr > p_ctr. values: of a model that predicts order values, on converted
    rows and on impressions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: ModelFacts
    day: date
    impressions: int
    clicks: int
    conversions: int
    units: int
    unusable_predictions: int
    tasks: dict[Task, TaskMetrics]
    order_violations: Measurement = UNKNOWN
    values: tuple[ValueMetrics, ...] = ()


class TaskComparison(BaseModel):
    """Challenger minus champion on one task's population, paired by unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: Task
    auc_difference: DifferenceAnswer
    log_loss_difference: DifferenceAnswer
    gauc_difference: DifferenceAnswer = UNKNOWN


class Ceiling(BaseModel):
    """What the true probabilities reach on the same rows (synthetic logs only), and how much of it the model has.

    `share_above_chance` = (AUC − 0.5) / (ceiling − 0.5), `share` = AUC / ceiling.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: Task
    auc: Measurement
    share: Measurement
    share_above_chance: Measurement
