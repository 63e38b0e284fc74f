"""Which days a model as of a day is trained on, or why none can be; it judges standings and reads no data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from pydantic import BaseModel, ConfigDict, model_validator

from ml.data.policy import WindowPolicy

NEVER_VALIDATED = "no receipt: the day was never validated, or lies before the dataset's first day"


class WindowRefused(ValueError):
    """Too few of a window's days are admitted; the message names each missing day, the counts and the remedy."""


class DayStanding(BaseModel):
    """Whether a day's samples may be trained on, by its receipt and the review decisions that bind to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    admitted: bool
    receipt_id: str | None
    why: str

    @model_validator(mode="after")
    def _admitted_has_receipt(self) -> DayStanding:
        if self.admitted and self.receipt_id is None:
            raise ValueError(f"{self.day} is admitted without a receipt: validate the day first")
        return self


class TrainingWindow(BaseModel):
    """The admitted days, oldest first, with their receipts, and the days that the model goes without, with why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    days: tuple[tuple[date, str], ...]
    missing: tuple[tuple[date, str], ...]


def choose_window(*, as_of: date, policy: WindowPolicy, standings: Mapping[date, DayStanding]) -> TrainingWindow:
    """The training days of a model as of ``as_of``: the admitted ones of ``as_of`` − window_days .. ``as_of`` − 1.

    ``as_of`` itself, the day the model is judged on, is never among them, whatever ``standings`` holds. A day
    without a standing is missing: the window does not shrink at the start of history.
    Raises ``WindowRefused`` if fewer than ``min_days`` are admitted or more than ``max_missing_days`` missing,
    and ``ValueError`` if a standing is filed under another day than its own.
    """
    days: list[tuple[date, str]] = []
    missing: list[tuple[date, str]] = []
    for age in range(policy.window_days, 0, -1):
        day = as_of - timedelta(days=age)
        standing = standings.get(day)
        if standing is not None and standing.day != day:
            raise ValueError(f"the standing filed under {day} is that of {standing.day}: file it under its own day")
        if standing is None:
            missing.append((day, NEVER_VALIDATED))
        elif standing.admitted and standing.receipt_id is not None:
            days.append((day, standing.receipt_id))
        else:
            missing.append((day, standing.why))
    if len(days) < policy.min_days or len(missing) > policy.max_missing_days:
        raise WindowRefused(_refusal(as_of, policy, admitted=len(days), missing=missing))
    return TrainingWindow(as_of=as_of, days=tuple(days), missing=tuple(missing))


def _refusal(as_of: date, policy: WindowPolicy, *, admitted: int, missing: list[tuple[date, str]]) -> str:
    first, last = as_of - timedelta(days=policy.window_days), as_of - timedelta(days=1)
    return "\n".join(
        [
            f"no model as of {as_of}: of its window {first} .. {last} ({policy.window_days} days), {admitted} days are "
            f"admitted (min_days {policy.min_days}) and {len(missing)} missing "
            f"(max_missing_days {policy.max_missing_days})",
            *(f"  {day}: {why}" for day, why in missing),
            "materialize validated_samples for these days, review and accept refused ones, or change the dataset "
            "spec's window policy (window_days, min_days, max_missing_days)",
        ]
    )
