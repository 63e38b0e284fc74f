"""Renders the review page of a day that fell short, as one offline HTML file; it judges nothing and reads no file."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic import BaseModel, ConfigDict, Field

from data_checks.decisions import Decision, Standing, standing
from data_checks.receipts import Receipt, RuleResult
from data_checks.review import OFFENDING, WHERE, failed_by_weight, rules_to_blame, where
from data_checks.review_chart import describe, draw
from data_checks.review_commands import review_commands
from data_checks.review_trends import TREND_DAYS, day_trends, rule_trend

PAGE_FILE = "review.html"
DATA_DOCS_FILE = "data_docs.html"

_EFFECTS = {"refuse": "refuses the day", "warn": "warning", "quarantine": "rows quarantined"}


class AffectedModel(BaseModel):
    """A model as of a day that the reviewed day has to do with, and how; without model_id, one not trained yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    how: Literal["trained", "trained_on_other_receipt", "left_out", "in_window"]
    model_id: str | None = None
    model: str | None = None
    champion: bool = False


class Reviewed(BaseModel):
    """All that the page of one day is made of: the same content gives the same page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    receipt: Receipt
    history: tuple[Receipt, ...] = Field(description="receipts of earlier days, for the trends")
    decisions: tuple[Decision, ...] = Field(description="all ever made on the day, oldest first")
    models: tuple[AffectedModel, ...]
    dataset: str = Field(description="what `--dataset` is given on the command line: a name or a path")
    store: str = Field(description="address of the store, so that nobody decides in another one")
    quarantine: str | None = Field(description="address of the day's quarantined rows")
    data_docs: bool = Field(description="whether Great Expectations' page lies beside this one")


def fell_short(receipt: Receipt) -> bool:
    """Whether someone should look at the day: it was refused, or a rule that refuses or warns failed."""
    return receipt.verdict == "refused" or any(
        result.failed and result.effect in ("refuse", "warn") for result in receipt.rules
    )


def render_review(reviewed: Reviewed) -> str:
    """The page. Everything is inline and escaped; it asks the network for nothing and shows no time of its own."""
    receipt = reviewed.receipt
    stands = standing(receipt, reviewed.decisions)
    failed = failed_by_weight(receipt)
    trends = [(result, rule_trend(result, receipt, reviewed.history)) for result in failed]
    return (
        _environment()
        .get_template("review.html.jinja")
        .render(
            reviewed=reviewed,
            receipt=receipt,
            headline=headline(receipt, stands),
            tone=_tone(receipt, stands),
            stands_why="" if stands.why == standing(receipt, ()).why else stands.why,
            blamed=rules_to_blame(receipt),
            failed=failed,
            passed=[result for result in receipt.rules if not result.failed],
            day_trends=day_trends(receipt, reviewed.history),
            rule_trends=trends,
            trend_days=TREND_DAYS,
            sign=OFFENDING,
            known_days=_known_days(reviewed),
            sampled=[result for result in failed if result.samples],
            models=[model for model in reviewed.models if model.model_id is not None],
            coming=[model.as_of for model in reviewed.models if model.model_id is None],
            decisions=decision_states(receipt, reviewed.decisions),
            commands=review_commands(
                dataset=reviewed.dataset,
                day=receipt.day,
                decided=any(decision.decision != "revoke" for decision in reviewed.decisions[-1:]),
                retrain=[m.as_of for m in reviewed.models if m.how in ("trained", "trained_on_other_receipt")],
            ),
        )
    )


def headline(receipt: Receipt, stands: Standing) -> str:
    """The verdict and how the day stands, in a few words."""
    if stands.decision is not None and stands.decision.decision == "exclude":
        return f"Excluded by {stands.decision.reviewer}: not trained on"
    if receipt.verdict == "refused":
        if stands.admitted and stands.decision is not None:
            return f"Refused by the rules, accepted by {stands.decision.reviewer}: trained on"
        return "Refused: not trained on"
    if not stands.admitted:
        return "Empty: there is nothing to train on"
    return "Admitted with warnings: trained on" if fell_short(receipt) else "Admitted: trained on"


def decision_states(receipt: Receipt, decisions: Sequence[Decision]) -> list[tuple[Decision, str]]:
    """Each decision, newest first, and what it means now: in force, revoked, superseded, or for another receipt."""
    in_force = standing(receipt, decisions).decision
    states: list[tuple[Decision, str]] = []
    revoked = False
    for decision in sorted(decisions, key=lambda d: d.decided_at)[::-1]:
        if decision.decision == "revoke":
            state = "revoked all before it"
        elif revoked:
            state = "revoked"
        elif decision is in_force:
            state = "in force"
        elif decision.decision == "accept" and decision.receipt_id != receipt.receipt_id:
            state = "does not count: it was for an earlier receipt"
        else:
            state = "superseded"
        revoked = revoked or decision.decision == "revoke"
        states.append((decision, state))
    return states


def cells(result: RuleResult) -> list[str]:
    """The columns of a rule's sample rows beside those that say where they came from: offending ones first."""
    columns = dict.fromkeys(name for sample in result.samples for name in sample if name not in WHERE)
    return sorted(columns, key=lambda name: name not in result.offending)


def _tone(receipt: Receipt, stands: Standing) -> str:
    if not stands.admitted:
        return "bad"
    return "doubtful" if fell_short(receipt) else "good"


def _known_days(reviewed: Reviewed) -> int:
    oldest = reviewed.receipt.day.toordinal() - TREND_DAYS
    return sum(oldest < past.day.toordinal() < reviewed.receipt.day.toordinal() for past in reviewed.history)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("data_checks"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        breakable=_breakable,
        cells=cells,
        chart=draw,
        days=_days,
        describe=describe,
        effect=_EFFECTS.__getitem__,
        moment=_moment,
        percent=_percent,
        value=_value,
        where=where,
    )
    return environment


def _breakable(identifier: str) -> Markup:
    """An id that narrow screens may break after its dots and underscores."""
    return Markup(re.sub(r"([._])(?=.)", r"\1<wbr>", str(escape(identifier))))


def _days(days: Sequence[date]) -> str:
    """Days as ranges: 2026-01-10 .. 2026-01-12, 2026-01-14."""
    ranges: list[list[date]] = []
    for day in sorted(days):
        if ranges and (day - ranges[-1][-1]).days == 1:
            ranges[-1].append(day)
        else:
            ranges.append([day])
    return ", ".join(f"{run[0]} .. {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in ranges)


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _value(value: int | float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
