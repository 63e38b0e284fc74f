"""Puts evaluations of made-up numbers and the decisions on them into a store, for the tests of what shows them."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from assets.resources import Platform
from ml.data.policy import GateSpec
from ml.evaluation.evaluate import Evaluation
from ml.evaluation.evaluated_day import ModelFacts
from ml.evaluation.gate import GateDecision
from tests.ml.evaluation.gate_days import GOOD_FACTS, comparison, evaluated_day

StoreEvaluation = Callable[..., None]


def evaluation(day: date, *, model_id: str, decision: str, champion: str | None, **changes: Any) -> Evaluation:
    """An evaluation of good numbers that ended in `decision`, whatever the gate would have said."""
    judged = evaluated_day(as_of=day, **changes)
    compared = None
    if champion is not None:
        compared = {"champion": _named(judged, champion), "comparison": comparison()}
    return Evaluation(
        judged_day=day,
        challenger=_named(judged, model_id),
        **(compared or {"champion": None, "comparison": None}),
        ceilings=None,
        gate=GateSpec(),
        facts=GOOD_FACTS,
        base_rates={},
        seed=0,
        decision=GateDecision.model_validate(
            {"decision": decision, "first_model": champion is None, "rules": (), "reasons": ("It is so.",)}
        ),
    )


def store_evaluation(
    platform: Platform, folder: Path, day: date, *, model_id: str, decision: str, champion: str | None = None
) -> None:
    """Publish the evaluation with a report beside it, as `evaluation_report` does."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"evaluation.json": folder / "evaluation.json", "report.html": folder / "report.html"}
    found = evaluation(day, model_id=model_id, decision=decision, champion=champion)
    files["evaluation.json"].write_text(found.to_json(), encoding="utf-8")
    files["report.html"].write_text(f"report of {day}", encoding="utf-8")
    facts = {"model_id": model_id, "decision": decision}
    platform.artifacts.publish(f"evaluation_report/{day}", files, metadata=facts)


def _named(day: Any, model_id: str) -> Any:
    return day.model_copy(update={"model": ModelFacts(model_id=model_id, model="esmm", as_of=day.model.as_of)})
