"""Evaluates a model on its judged day from files: metrics by task, comparison, ceilings, decision; it draws nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ml.data.policy import GateSpec
from ml.evaluation.calibration_effect import CalibrationEffect, calibration_effects
from ml.evaluation.ceilings import ceilings
from ml.evaluation.comparison import BootstrapAnswer, bootstrap
from ml.evaluation.evaluated_day import (
    OUTCOMES,
    TASKS,
    Ceiling,
    EvaluatedDay,
    ModelFacts,
    Task,
    TaskComparison,
    TaskMetrics,
)
from ml.evaluation.gate import GateDecision, GateFacts, judge
from ml.evaluation.judged_rows import JudgedRows, read_predictions, read_truth, require_same_rows
from ml.evaluation.sample_fields import read_fields, read_number
from ml.evaluation.slices import SliceMetrics, slice_metrics
from ml.evaluation.task_metrics import evaluated_day, task_metrics


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
    slices: tuple[SliceMetrics, ...] = ()
    calibration: tuple[CalibrationEffect, ...] = ()

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
    samples: Path | None = None,
    fields: Sequence[str] = (),
    seed: int = 0,
) -> Evaluation:
    """Judge `model`'s predictions of its as-of day, against the champion's of the same rows where there is a champion.

    base_rates: share of positives by task over the TRAINING days (clicks per impression, conversions per click,
    conversions per impression); one that is absent is insufficient evidence for a first model. truth: true
    probabilities, for synthetic logs. Intervals take confidence and replicates from `gate`, their
    draws from `seed`. samples: the judged day's samples.parquet, of which `gate.slice_fields`, or else those of
    `fields` that have few values, are sliced, and `gate.value_field`, by which calibration's effect is shown; without
    it there is neither.
    Raises JudgedRowsMismatch where files hold other rows than they should, ValueError for a base rate outside [0, 1].
    """
    for task, rate in base_rates.items():
        if not 0 <= rate <= 1:
            raise ValueError(f"the base rate of {task} is {rate}, a share between 0 and 1 is needed")
    rows = read_predictions(predictions)
    champion_rows = read_predictions(champion[1]) if champion else None
    if champion_rows is not None:
        require_same_rows(challenger=rows, champion=champion_rows)
    challenger_day, champion_day, comparison = compared(
        rows, model, champion_rows, champion[0] if champion else None, gate=gate, base_rates=base_rates, seed=seed
    )
    name = gate.value_field
    values = {} if samples is None or name is None else {name: read_number(samples, rows=rows, name=name)}
    slices = () if samples is None else _slices(rows, champion_rows, samples=samples, fields=fields, gate=gate)
    return Evaluation(
        judged_day=model.as_of,
        challenger=challenger_day,
        champion=champion_day,
        comparison=comparison,
        ceilings=None if truth is None else ceilings(rows, read_truth(truth, rows=rows), challenger_day),
        gate=gate,
        facts=facts,
        base_rates=dict(base_rates),
        seed=seed,
        decision=judge(
            challenger=challenger_day,
            champion=champion_day,
            comparison=comparison,
            gate=gate,
            facts=facts,
            slices=slices,
        ),
        slices=slices,
        calibration=calibration_effects(rows, tasks=challenger_day.tasks, values=values),
    )


def _slices(
    rows: JudgedRows, champion: JudgedRows | None, *, samples: Path, fields: Sequence[str], gate: GateSpec
) -> tuple[SliceMetrics, ...]:
    found = read_fields(
        samples,
        rows=rows,
        names=fields if gate.slice_fields is None else gate.slice_fields,
        most_values=gate.slice_values,
        only_small=gate.slice_fields is None,
    )
    return slice_metrics(rows=rows, champion=champion, fields=found, gate=gate)


def compared(
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
        challenger_tasks[task] = task_metrics(
            rows, task, base_rate=rate, interval=answer.auc, grouped=answer.gauc, level=answer.pcoc
        )
        if champion_rows is None:
            continue
        assert answer.champion_auc is not None
        assert answer.champion_gauc is not None
        assert answer.champion_pcoc is not None
        assert answer.auc_difference is not None
        assert answer.gauc_difference is not None
        assert answer.log_loss_difference is not None
        champion_tasks[task] = task_metrics(
            champion_rows,
            task,
            base_rate=rate,
            interval=answer.champion_auc,
            grouped=answer.champion_gauc,
            level=answer.champion_pcoc,
        )
        comparison[task] = TaskComparison(
            task=task,
            auc_difference=answer.auc_difference,
            log_loss_difference=answer.log_loss_difference,
            gauc_difference=answer.gauc_difference,
        )
    challenger_day = evaluated_day(rows, model, day=model.as_of, tasks=challenger_tasks)
    if champion_rows is None or champion is None:
        return challenger_day, None, None
    return challenger_day, evaluated_day(champion_rows, champion, day=model.as_of, tasks=champion_tasks), comparison


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
