"""Trends of a reviewed day: volume, label rates and failed rules over the days before it; drawing is elsewhere."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict

from data_checks.receipts import Receipt, RuleResult, Verdict

#: A month shows the week's rhythm four times, and whether a fault is new.
TREND_DAYS = 30

Unit = Literal["count", "share", "value"]


class TrendPoint(BaseModel):
    """One day of a trend. `verdict` is None for a day without receipt; `value` is None where nothing was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    value: float | None
    verdict: Verdict | None


class Trend(BaseModel):
    """A number over TREND_DAYS days, oldest first, held to `bound`; the last point is the reviewed day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    unit: Unit
    points: tuple[TrendPoint, ...]
    bound: float | None = None

    @property
    def today(self) -> float | None:
        """The reviewed day's own value."""
        return self.points[-1].value

    @property
    def usual(self) -> float | None:
        """Median of the earlier days that have a value."""
        earlier = [point.value for point in self.points[:-1] if point.value is not None]
        return median(earlier) if earlier else None


def day_trends(receipt: Receipt, history: Sequence[Receipt]) -> tuple[Trend, ...]:
    """Impressions, click rate (clicks / admitted rows) and conversion rate (conversions / clicks), up to the day.

    `history` holds receipts of other days in any order; days out of reach, and the reviewed day's own, are ignored.
    """
    return (
        _trend("impressions", "count", receipt, history, lambda r: r.impressions),
        _trend("click rate", "share", receipt, history, lambda r: _share(r.clicks, r.admitted)),
        _trend("conversion rate", "share", receipt, history, lambda r: _share(r.conversions, r.clicks)),
    )


def rule_trend(result: RuleResult, receipt: Receipt, history: Sequence[Receipt]) -> Trend:
    """What the rule found on each day: the share of bad rows, or what a rule on the day observed."""
    on_day = result.observed is not None

    def value(past: Receipt) -> float | None:
        found = next((other for other in past.rules if other.rule == result.rule), None)
        if found is None or not found.judged:
            return None
        return found.observed if on_day else found.share

    return _trend(result.rule, "value" if on_day else "share", receipt, history, value, bound=result.threshold)


def _trend(
    title: str,
    unit: Unit,
    receipt: Receipt,
    history: Sequence[Receipt],
    value: Callable[[Receipt], float | None],
    *,
    bound: float | None = None,
) -> Trend:
    by_day = {past.day: past for past in history} | {receipt.day: receipt}
    days = [receipt.day - timedelta(days=age) for age in range(TREND_DAYS - 1, -1, -1)]
    points = []
    for day in days:
        past = by_day.get(day)
        points.append(TrendPoint(day=day, value=value(past) if past else None, verdict=past.verdict if past else None))
    return Trend(title=title, unit=unit, points=tuple(points), bound=bound)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
