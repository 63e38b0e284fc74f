"""The job `review_day`: a reviewer's decision by a form in the launchpad; what a decision does is `review`'s."""

from datetime import UTC, date, datetime
from enum import Enum
from typing import get_args

import dagster as dg
from pydantic import Field

from assets.resources import DataRefused, Platform
from data_checks.decisions import DecisionKind
from ml.data.dataset import DatasetSpec
from orchestration.review import review_day, this_user

REVIEW_DAY = "review_day"

#: What the launchpad is filled in with. As it is, the run refuses it; whoever forgets the decision excludes the day,
#: which harms no model.
_BLANK = {"day": "", "decision": "exclude", "reason": "", "reviewer": None}

DecisionName = Enum("DecisionName", {name: name for name in get_args(DecisionKind)})


class ReviewForm(dg.Config):
    """The form of `review_day`."""

    day: str = Field(description="the day that was reviewed, such as 2026-01-31")
    decision: DecisionName = Field(  # pyright: ignore[reportInvalidTypeForm]
        description="accept: train on the admitted rows of this receipt; exclude: never train on the day; revoke: undo "
        "every decision made on it so far"
    )
    reason: str = Field(description="why; kept with the decision, for the next on call")
    reviewer: str | None = Field(default=None, description="who decides; the user that the run runs as if absent")


def build_review_job(spec: DatasetSpec) -> dg.JobDefinition:
    """The job of a dataset: one op, not partitioned, so that its form alone names the day."""

    @dg.op(name="decide", description="Appends the decision to the day's record and writes its review page anew.")
    def decide(context: dg.OpExecutionContext, config: ReviewForm, platform: dg.ResourceParam[Platform]) -> None:
        try:
            recorded = review_day(
                platform,
                spec,
                context.instance,
                day=day_of_log(config.day, spec),
                decision=config.decision.value,
                reason=config.reason,
                reviewer=this_user() if config.reviewer is None else config.reviewer,
                decided_at=datetime.now(UTC),
            )
        except DataRefused as refusal:
            raise dg.Failure(description=str(refusal), allow_retries=False) from refusal
        context.log.info(f"{recorded.day}: {recorded.decision} by {recorded.reviewer}: {recorded.reason}")

    @dg.job(
        name=REVIEW_DAY,
        config={"ops": {"decide": {"config": _BLANK}}},
        description="Accept or exclude a day of samples, or revoke what was decided: fill in the form in the "
        "Launchpad. Decisions are only ever appended, with who, when and why; the same as `postclick review`.",
    )
    def review() -> None:
        decide()

    return review


def day_of_log(text: str, spec: DatasetSpec) -> date:
    """The day that `text` names; DataRefused where it names none, or none of the log."""
    try:
        day = date.fromisoformat(text.strip())
    except ValueError as error:
        raise DataRefused(f"{text!r} is no day: {error}; write it like 2026-01-31") from error
    if not spec.days.contains(day):
        raise DataRefused(
            f"{day} lies outside dataset {spec.name}, which covers {spec.days.first} .. {spec.days.last or 'now'}"
        )
    return day
