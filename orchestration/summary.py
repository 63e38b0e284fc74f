"""What a run came to, read from what is stored: a row a day, a row a model, as JSON or as tables; it runs nothing."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.evaluation import EVALUATION_FILE, REPORT_FILE
from assets.evaluation import NAME as EVALUATION
from assets.receipts import read_decisions, read_receipt
from assets.resources import Platform
from assets.review_pages import review_address
from assets.training_runs import read_json
from data_checks.decisions import standing
from data_checks.review import failed_by_weight

_PLAIN_WIDTH = 160


class DaySummary(BaseModel):
    """A day of data. `verdict` is the receipt's, `usable` whether it is trained on, `decision` the one in force.

    `top_rule` is the failed rule that weighs most: to blame for the refusal, else a warning, else the most bad rows.
    """

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
    top_rule: str | None = None
    failed_rules: int = 0
    decision: str | None = None
    decided_by: str | None = None
    decided_why: str | None = None
    review_page: str | None = None


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
    stands = standing(receipt, read_decisions(platform, day))
    failed = failed_by_weight(receipt) if receipt else []
    return DaySummary(
        day=day.isoformat(),
        rows_in=receipt.rows_in if receipt else 0,
        admitted=receipt.admitted if receipt else 0,
        quarantined=receipt.quarantined if receipt else 0,
        by_rule=receipt.by_rule() if receipt else {},
        verdict=receipt.verdict if receipt else "no receipt",
        mature=receipt.labels_mature if receipt else False,
        standing=stands.why,
        usable=stands.admitted,
        reasons=list(receipt.reasons) if receipt else [],
        top_rule=failed[0].rule if failed else None,
        failed_rules=len(failed),
        decision=stands.decision.decision if stands.decision else None,
        decided_by=stands.decision.reviewer if stands.decision else None,
        decided_why=stands.decision.reason if stands.decision else None,
        review_page=review_address(platform, day),
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
    for name in ("day", "rows in", "admitted", "quarantined", "top rule", "verdict", "labels", "decision", "standing"):
        # A rule's id has no spaces to break at, and its end is what tells rules apart.
        table.add_column(
            name,
            justify="right" if name in ("rows in", "admitted", "quarantined") else "left",
            overflow="fold" if name == "top rule" else "ellipsis",
        )
    for day in days:
        table.add_row(
            day.day,
            f"{day.rows_in:,}",
            f"{day.admitted:,}",
            f"{day.quarantined:,}",
            _top_rule(day),
            day.verdict,
            ("mature" if day.mature else "provisional") if day.admitted else "–",
            escape(f"{day.decision} by {day.decided_by}") if day.decision else "–",
            escape(day.standing),
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
            console.print(f"  {reason}", highlight=False, markup=False)
        if model.report:
            console.print(f"  report: {model.report}", soft_wrap=True, highlight=False)


def as_json(days: Sequence[DaySummary], models: Sequence[ModelSummary]) -> dict[str, Any]:
    """The summary for machines; keys are only ever added."""
    return {
        "days": [day.model_dump(mode="json") for day in days],
        "models": [model.model_dump(mode="json") for model in models],
    }


def _top_rule(day: DaySummary) -> str:
    if day.top_rule is None:
        return "–"
    rows = f" {day.by_rule[day.top_rule]:,}" if day.top_rule in day.by_rule else ""
    more = f" (+{day.failed_rules - 1} more)" if day.failed_rules > 1 else ""
    return f"{day.top_rule}{rows}{more}"


def _auc(value: float | None, ceiling: float | None) -> str:
    if value is None:
        return "not measurable"
    return f"{value:.4f}" if ceiling is None else f"{value:.4f} of {ceiling:.4f}"


def table_console() -> Console:
    """The console for tables; a log file is as wide as its lines, and 80 columns would cut every cell."""
    console = Console()
    return console if console.is_terminal else Console(width=_PLAIN_WIDTH)
