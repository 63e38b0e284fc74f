"""What the page across days is made of: days with verdict and numbers, decisions; it gathers and draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from ml.evaluation.evaluate import Evaluation
from ml.evaluation.evaluated_day import EvaluatedDay, Task, TaskMetrics
from ml.evaluation.intervals import Difference, Interval
from ml.evaluation.measurement import Measurement, NotMeasurable

DayVerdict = Literal[
    "promoted",
    "rejected",
    "insufficient_evidence",
    "unchanged",
    "not_carried_out",
    "unreadable",
    "data_refused",
    "not_run",
]
DataState = Literal["admitted", "refused", "accepted", "excluded", "empty", "unreadable", "none"]

#: How the verdicts are told on the page and on the command line.
VERDICTS: dict[DayVerdict, str] = {
    "promoted": "Promoted",
    "rejected": "Rejected",
    "insufficient_evidence": "Not enough evidence",
    "unchanged": "Champion, unchanged",
    "not_carried_out": "Passed, not promoted",
    "unreadable": "Unreadable",
    "data_refused": "Data refused",
    "not_run": "No model",
}
#: More than a year of days is no page any more.
MOST_DAYS = 400


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Record):
    """A number and, where there is one, its interval."""

    value: FiniteFloat
    lower: FiniteFloat | None = None
    upper: FiniteFloat | None = None


class TaskNumbers(_Record):
    """One task's numbers of a model on a day; None: not measurable, the day's report says why."""

    auc: Estimate | None
    log_loss: FiniteFloat | None
    pcoc: FiniteFloat | None


class ModelNumbers(_Record):
    """One model on one judged day."""

    model_id: str
    model: str
    as_of: date
    tasks: dict[Task, TaskNumbers]


class HistoryDay(_Record):
    """One as-of day: what became of its model, what its data was, and the numbers of both models judged on it.

    verdict "not_carried_out": the gate passed the model, and the champion's history knows of no promotion by it;
    "unreadable": there is an evaluation, and not even its decision is known.
    """

    day: date
    verdict: DayVerdict
    reasons: tuple[str, ...] = ()
    data: DataState = Field(description="the verdict of the day's receipt under the review decisions on it")
    data_why: str = ""
    note: str = Field(default="", description="what is odd about the row: numbers that cannot be read, …")
    impressions: int | None = None
    clicks: int | None = None
    conversions: int | None = None
    mature: bool | None = Field(default=None, description="whether the day's labels were final when it was judged")
    challenger: ModelNumbers | None = None
    champion: ModelNumbers | None = None
    auc_difference: Estimate | None = Field(default=None, description="CTCVR AUC, challenger minus champion")
    report: str | None = Field(default=None, description="address of the day's report, relative to the store")
    review: str | None = Field(default=None, description="address of the day's review page, relative to the store")


class HistoryDecision(_Record):
    """One decision of the registry; `took_effect` is None where the champion was not to change."""

    decision_id: str
    kind: Literal["promoted", "rejected", "insufficient_evidence", "rolled_back"]
    model_id: str
    as_of: date
    at: datetime
    who: str
    reason: str
    champion_id: str | None
    took_effect: bool | None = None


class Reign(_Record):
    """Who was champion from when to when (None: still), by which decision."""

    decision: HistoryDecision
    until: datetime | None


def evaluated(evaluation: Evaluation) -> dict[str, object]:
    """The fields of a HistoryDay that an evaluation knows, by name."""
    challenger, comparison = evaluation.challenger, evaluation.comparison or {}
    difference = comparison["ctcvr"].auc_difference if "ctcvr" in comparison else None
    return {
        "reasons": evaluation.decision.reasons,
        "impressions": challenger.impressions,
        "clicks": challenger.clicks,
        "conversions": challenger.conversions,
        "mature": evaluation.facts.mature,
        "challenger": _model(challenger),
        "champion": _model(evaluation.champion) if evaluation.champion else None,
        "auc_difference": _bounded(difference) if isinstance(difference, Difference) else None,
    }


def reigns(decisions: Sequence[HistoryDecision]) -> list[Reign]:
    """The champions one after another, oldest first, from the decisions that took effect."""
    moves = sorted((d for d in decisions if d.took_effect), key=lambda decision: decision.decision_id)
    ends = [later.at for later in moves[1:]]
    return [Reign(decision=move, until=end) for move, end in zip(moves, [*ends, None], strict=False)]


def _model(day: EvaluatedDay) -> ModelNumbers:
    return ModelNumbers(
        model_id=day.model.model_id,
        model=day.model.model,
        as_of=day.model.as_of,
        tasks={task: _numbers(metrics) for task, metrics in day.tasks.items()},
    )


def _numbers(metrics: TaskMetrics) -> TaskNumbers:
    value, interval = _value(metrics.auc), metrics.auc_interval
    bounds = {"lower": interval.lower, "upper": interval.upper} if isinstance(interval, Interval) else {}
    return TaskNumbers(
        auc=None if value is None else Estimate(value=value, **bounds),
        log_loss=_value(metrics.log_loss),
        pcoc=_value(metrics.pcoc),
    )


def _bounded(difference: Difference) -> Estimate:
    return Estimate(value=difference.estimate, lower=difference.lower, upper=difference.upper)


def _value(answer: Measurement) -> float | None:
    return None if isinstance(answer, NotMeasurable) else answer.value
