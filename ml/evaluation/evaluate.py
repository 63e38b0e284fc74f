"""Evaluates a model on its judged day from files: metrics by task, comparison, ceilings, decision; it draws nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from ml.data.policy import GateSpec
from ml.evaluation.comparison import BootstrapAnswer, bootstrap
from ml.evaluation.evaluated_day import (
    OUTCOMES,
    POPULATIONS,
    TASKS,
    Ceiling,
    EvaluatedDay,
    ModelFacts,
    Task,
    TaskComparison,
    TaskMetrics,
)
from ml.evaluation.gate import GateDecision, GateFacts, judge
from ml.evaluation.intervals import IntervalAnswer
from ml.evaluation.judged_rows import JudgedRows, read_predictions, read_truth, require_same_rows
from ml.evaluation.metrics import (
    FloatArray,
    Measured,
    Measurement,
    NotMeasurable,
    auc,
    expected_calibration_error,
    log_loss,
    normalised_entropy,
    pcoc,
)


class Evaluation(BaseModel):
    """Everything the report shows and promotion reads. Same files and arguments, same bytes of `to_json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    judged_day: date
    challenger: EvaluatedDay
    champion: EvaluatedDay | None
    comparison: dict[Task, TaskComparison] | None
    ceilings: dict[Task, Ceiling] | None
    gate: GateSpec
    facts: GateFacts
    base_rates: dict[Task, float]
    seed: int
    decision: GateDecision

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, two spaces, no NaN."""
        return (
            json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False)
            + "\n"
        )

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """The evaluation that `to_json` wrote."""
        return cls.model_validate_json(text)


def evaluate(
    *,
    predictions: Path,
    model: ModelFacts,
    champion: tuple[ModelFacts, Path] | None,
    truth: Path | None,
    gate: GateSpec,
    facts: GateFacts,
    base_rates: Mapping[Task, float],
    seed: int = 0,
) -> Evaluation:
    """Judge `model`'s predictions of its as-of day, against the champion's of the same rows where there is a champion.

    base_rates: share of positives by task over the TRAINING days (clicks per impression, conversions per click,
    conversions per impression); one that is absent is insufficient evidence for a first model. truth: true
    probabilities, for synthetic logs. Intervals take confidence and replicates from `gate`, their draws from `seed`.
    Raises JudgedRowsMismatch where files hold other rows than they should, ValueError for a base rate outside [0, 1].
    """
    for task, rate in base_rates.items():
        if not 0 <= rate <= 1:
            raise ValueError(f"the base rate of {task} is {rate}, a share between 0 and 1 is needed")
    rows = read_predictions(predictions)
    champion_rows = read_predictions(champion[1]) if champion else None
    if champion_rows is not None:
        require_same_rows(challenger=rows, champion=champion_rows)
    challenger_day, champion_day, comparison = _compared(
        rows, model, champion_rows, champion[0] if champion else None, gate=gate, base_rates=base_rates, seed=seed
    )
    return Evaluation(
        judged_day=model.as_of,
        challenger=challenger_day,
        champion=champion_day,
        comparison=comparison,
        ceilings=None if truth is None else _ceilings(rows, read_truth(truth, rows=rows), challenger_day),
        gate=gate,
        facts=facts,
        base_rates=dict(base_rates),
        seed=seed,
        decision=judge(challenger=challenger_day, champion=champion_day, comparison=comparison, gate=gate, facts=facts),
    )


def _compared(
    rows: JudgedRows,
    model: ModelFacts,
    champion_rows: JudgedRows | None,
    champion: ModelFacts | None,
    *,
    gate: GateSpec,
    base_rates: Mapping[Task, float],
    seed: int,
) -> tuple[EvaluatedDay, EvaluatedDay | None, dict[Task, TaskComparison] | None]:
    challenger_tasks: dict[Task, TaskMetrics] = {}
    champion_tasks: dict[Task, TaskMetrics] = {}
    comparison: dict[Task, TaskComparison] = {}
    for task in TASKS:
        answer = _bootstrap(rows, champion_rows, task=task, gate=gate, seed=seed)
        rate = base_rates.get(task)
        challenger_tasks[task] = _task_metrics(rows, task, base_rate=rate, interval=answer.auc)
        if champion_rows is None:
            continue
        assert answer.champion_auc is not None
        assert answer.auc_difference is not None
        assert answer.log_loss_difference is not None
        champion_tasks[task] = _task_metrics(champion_rows, task, base_rate=rate, interval=answer.champion_auc)
        comparison[task] = TaskComparison(
            task=task, auc_difference=answer.auc_difference, log_loss_difference=answer.log_loss_difference
        )
    challenger_day = _evaluated_day(rows, model, day=model.as_of, tasks=challenger_tasks)
    if champion_rows is None or champion is None:
        return challenger_day, None, None
    return challenger_day, _evaluated_day(champion_rows, champion, day=model.as_of, tasks=champion_tasks), comparison


def _bootstrap(
    rows: JudgedRows, champion: JudgedRows | None, *, task: Task, gate: GateSpec, seed: int
) -> BootstrapAnswer:
    chosen = rows.chosen(task)
    return bootstrap(
        labels=rows.labels(task)[chosen],
        units=rows.units[chosen],
        challenger=rows.probabilities[task][chosen],
        champion=None if champion is None else champion.probabilities[task][chosen],
        replicates=gate.replicates,
        confidence=gate.confidence,
        seed=seed,
        outcome=OUTCOMES[task],
    )


def _evaluated_day(
    rows: JudgedRows,
    model: ModelFacts,
    *,
    day: date,
    tasks: dict[Task, TaskMetrics],
) -> EvaluatedDay:
    usable = np.ones(rows.click.size, dtype=bool)
    for probabilities in rows.probabilities.values():
        usable &= (probabilities >= 0) & (probabilities <= 1)
    return EvaluatedDay(
        model=model,
        day=day,
        impressions=rows.click.size,
        clicks=int(rows.click.sum(dtype=np.int64)),
        conversions=int(rows.conversion.sum(dtype=np.int64)),
        units=int(np.unique(rows.units).size),
        unusable_predictions=int(np.count_nonzero(~usable)),
        tasks=tasks,
    )


def _task_metrics(rows: JudgedRows, task: Task, *, base_rate: float | None, interval: IntervalAnswer) -> TaskMetrics:
    chosen, outcome = rows.chosen(task), OUTCOMES[task]
    labels, scores = rows.labels(task)[chosen], rows.probabilities[task][chosen]
    return TaskMetrics(
        task=task,
        population=POPULATIONS[task],
        rows=labels.size,
        positives=int(labels.sum(dtype=np.int64)),
        auc=auc(labels=labels, scores=scores, outcome=outcome),
        auc_interval=interval,
        log_loss=log_loss(labels=labels, probabilities=scores),
        base_rate_log_loss=NotMeasurable(reason="no base rate of the training days was given")
        if base_rate is None
        else log_loss(labels=labels, probabilities=np.full(labels.shape, base_rate)),
        normalised_entropy=normalised_entropy(labels=labels, probabilities=scores, outcome=outcome),
        pcoc=pcoc(labels=labels, probabilities=scores, outcome=outcome),
        ece=expected_calibration_error(labels=labels, probabilities=scores),
    )


def _ceilings(rows: JudgedRows, truth: Mapping[Task, FloatArray], challenger: EvaluatedDay) -> dict[Task, Ceiling]:
    ceilings: dict[Task, Ceiling] = {}
    for task in TASKS:
        chosen = rows.chosen(task)
        ceiling = auc(labels=rows.labels(task)[chosen], scores=truth[task][chosen], outcome=OUTCOMES[task])
        ours = challenger.tasks[task].auc
        ceilings[task] = Ceiling(
            task=task,
            auc=ceiling,
            share=_share(ours, ceiling, chance=0.0),
            share_above_chance=_share(ours, ceiling, chance=0.5),
        )
    return ceilings


def _share(ours: Measurement, ceiling: Measurement, *, chance: float) -> Measurement:
    for answer in (ours, ceiling):
        if isinstance(answer, NotMeasurable):
            return answer
    assert isinstance(ours, Measured)
    assert isinstance(ceiling, Measured)
    if ceiling.value <= chance:
        return NotMeasurable(reason=f"the ceiling {ceiling.value:.4f} does not exceed {chance:g}")
    return Measured(value=(ours.value - chance) / (ceiling.value - chance))
