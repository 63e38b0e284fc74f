"""What a run came to, read from what is stored: a row a day, a row a model, as JSON or as tables; it runs nothing."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from assets.evaluation import EVALUATION_FILE, REPORT_FILE
from assets.evaluation import NAME as EVALUATION
from assets.receipts import day_standing, read_receipt
from assets.resources import Platform
from assets.training_runs import read_json


class DaySummary(BaseModel):
    """A day of data. `verdict` is the receipt's; `admitted_by_review` tells of a reviewer's acceptance."""

    model_config = ConfigDict(frozen=True)

    day: str
    rows_in: int
    admitted: int
    quarantined: int
    by_rule: dict[str, int]
    verdict: str
    mature: bool
    standing: str
    usable: bool
    reasons: list[str]


class ModelSummary(BaseModel):
    """A model as of a day and the decision on it; AUCs are None where not measurable. `ceilings` of synthetic logs."""

    model_config = ConfigDict(frozen=True)

    as_of: str
    model: str | None
    model_id: str | None
    auc_ctr: float | None
    auc_cvr: float | None
    auc_ctcvr: float | None
    ceilings: dict[str, float | None] | None
    decision: str
    reasons: list[str]
    report: str | None


def summarize_day(platform: Platform, day: date) -> DaySummary:
    """The day's receipt in short; a day without one says so."""
    receipt = read_receipt(platform, day)
    standing = day_standing(platform, day)
    return DaySummary(
        day=day.isoformat(),
        rows_in=receipt.rows_in if receipt else 0,
        admitted=receipt.admitted if receipt else 0,
        quarantined=receipt.quarantined if receipt else 0,
        by_rule=receipt.by_rule() if receipt else {},
        verdict=receipt.verdict if receipt else "no receipt",
        mature=receipt.labels_mature if receipt else False,
        standing=standing.why,
        usable=standing.admitted,
        reasons=list(receipt.reasons) if receipt else [],
    )


def summarize_model(platform: Platform, as_of: date) -> ModelSummary:
    """The evaluation as of a day in short."""
    artifact = platform.artifacts.open(f"{EVALUATION}/{as_of.isoformat()}")
    evaluation = read_json(artifact.path(EVALUATION_FILE))
    judged, ceilings = evaluation["challenger"], evaluation["ceilings"]
    return ModelSummary(
        as_of=as_of.isoformat(),
        model=judged["model"]["model"],
        model_id=judged["model"]["model_id"],
        **{f"auc_{task}": judged["tasks"][task]["auc"].get("value") for task in ("ctr", "cvr", "ctcvr")},
        ceilings={task: ceiling["auc"].get("value") for task, ceiling in ceilings.items()} if ceilings else None,
        decision=evaluation["decision"]["decision"],
        reasons=list(evaluation["decision"]["reasons"]),
        report=str(artifact.path(REPORT_FILE)),
    )


def refused_model(as_of: date, model: str | None, why: str, *, decision: str) -> ModelSummary:
    """A model that was not trained or judged, and why."""
    return ModelSummary(
        as_of=as_of.isoformat(),
        model=model,
        model_id=None,
        auc_ctr=None,
        auc_cvr=None,
        auc_ctcvr=None,
        ceilings=None,
        decision=decision,
        reasons=[why],
        report=None,
    )


def print_days(console: Console, days: Sequence[DaySummary]) -> None:
    """Days as a table."""
    table = Table(title="Days", title_justify="left")
    for name in ("day", "rows in", "admitted", "quarantined", "by rule", "verdict", "labels", "standing"):
        table.add_column(name, justify="right" if name in ("rows in", "admitted", "quarantined") else "left")
    for day in days:
        table.add_row(
            day.day,
            f"{day.rows_in:,}",
            f"{day.admitted:,}",
            f"{day.quarantined:,}",
            "\n".join(f"{rule} {rows:,}" for rule, rows in day.by_rule.items()) or "–",
            day.verdict,
            ("mature" if day.mature else "provisional") if day.admitted else "–",
            day.standing,
            style=None if day.usable or day.verdict == "empty" else "red",
        )
    console.print(table)


def print_models(console: Console, models: Sequence[ModelSummary]) -> None:
    """Models as a table, then each decision's reasons and report."""
    table = Table(title="Models", title_justify="left")
    for name in ("as of", "model", "model id", "AUC CTR", "AUC CVR", "AUC CTCVR", "decision"):
        table.add_column(name)
    for model in models:
        ceilings = model.ceilings or {}
        aucs = [
            _auc(value, ceilings.get(task))
            for task, value in (("ctr", model.auc_ctr), ("cvr", model.auc_cvr), ("ctcvr", model.auc_ctcvr))
        ]
        table.add_row(model.as_of, model.model or "–", (model.model_id or "–")[:12], *aucs, model.decision)
    console.print(table)
    for model in models:
        console.print(f"{model.as_of}: {model.decision}")
        for reason in model.reasons:
            console.print(f"  {reason}", highlight=False)
        if model.report:
            console.print(f"  report: {model.report}", soft_wrap=True, highlight=False)


def as_json(days: Sequence[DaySummary], models: Sequence[ModelSummary]) -> dict[str, Any]:
    """The summary for machines; keys are only ever added."""
    return {
        "days": [day.model_dump(mode="json") for day in days],
        "models": [model.model_dump(mode="json") for model in models],
    }


def _auc(value: float | None, ceiling: float | None) -> str:
    if value is None:
        return "not measurable"
    return f"{value:.4f}" if ceiling is None else f"{value:.4f} of {ceiling:.4f}"
