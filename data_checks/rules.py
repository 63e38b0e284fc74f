"""What a rule is: an id, an SQL mask over the joined table, and the expectation that judges the same; no rule."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from great_expectations.expectations.expectation import Expectation

from data_checks.receipts import Effect
from ml.data.dataset import DatasetSpec

Level = Literal["row", "day"]
T = TypeVar("T")
#: Rules on labels, times and duplicates judge impressions only; orphan events have rules of their own.
IS_IMPRESSION = "row_kind = 'impression'"


@dataclass(frozen=True, kw_only=True)
class TrailingVolume:
    """The impressions of the admitted trailing days: their median, or why there is none to judge by."""

    median: float | None
    days: int
    why_not_judged: str = ""


@dataclass(frozen=True, kw_only=True)
class RuleContext:
    """What the rules know of one day beside its rows."""

    spec: DatasetSpec
    day: date
    impressions: int
    trailing: TrailingVolume

    @property
    def thresholds(self) -> dict[str, Any]:
        """The SQL parameters that come from the dataset spec: the same on every day."""
        attribution, validation = self.spec.attribution, self.spec.validation
        return {
            "clock_skew_seconds": validation.clock_skew_seconds,
            "click_window_seconds": attribution.click_window_seconds,
            "conversion_window_seconds": attribution.conversion_window_seconds,
            "allow_empty_days": validation.allow_empty_days,
            "volume_low_ratio": validation.volume_low_ratio,
            "volume_high_ratio": validation.volume_high_ratio,
        }

    @property
    def parameters(self) -> dict[str, Any]:
        """Every SQL parameter by name: the thresholds and the day's own facts."""
        start, end = day_bounds(self.day, self.spec.timezone)
        return self.thresholds | {
            "day_start": start,
            "day_end": end,
            "impressions": self.impressions,
            "trailing_median": None if self.trailing.why_not_judged else self.trailing.median,
        }


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number derived from a row (or, for a rule on the day, from the day), NULL where there is nothing to judge.

    Great Expectations skips nulls and cannot tell NaN from null, so `sql` has to map what must be seen to a number.
    """

    name: str
    sql: Callable[[DatasetSpec], str]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule.

    `mask_sql(spec)` is a boolean SQL expression over the joined table, TRUE for a bad row (NULL counts as FALSE); a
    rule of level `day` is TRUE for all rows or for none. `expectation(context)` judges the quantity's column. The SQL
    sees thresholds and the day's facts as the parameters in `RuleContext.parameters`: its text depends on the spec
    alone, so that one rules version covers every day.
    """

    id: str
    effect: Effect
    description: str
    mask_sql: Callable[[DatasetSpec], str]
    quantity: Quantity
    expectation: Callable[[RuleContext], Expectation]
    unjudged: str
    level: Level = "row"
    threshold: Callable[[DatasetSpec], float | None] = lambda spec: spec.validation.max_bad_share
    observed: Callable[[RuleContext], float | None] = lambda context: None
    sample_columns: Callable[[DatasetSpec], tuple[str, ...]] = lambda spec: ()

    @property
    def family(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]


def always(part: T) -> Callable[[DatasetSpec], T]:
    """A part of a rule that is the same for every dataset."""
    return lambda spec: part


def parameters_used(sql: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that occur in `sql` as `$name`: DuckDB refuses a statement that is given more than it uses."""
    used = set(re.findall(r"\$(\w+)", sql))
    return {name: value for name, value in parameters.items() if name in used}


def day_bounds(day: date, timezone: str) -> tuple[datetime, datetime]:
    """Start (inclusive) and end (exclusive) of `day` in `timezone`, as naive UTC times."""
    zone = ZoneInfo(timezone)
    start, end = (datetime.combine(d, time(), zone).astimezone(UTC) for d in (day, day + timedelta(days=1)))
    return start.replace(tzinfo=None), end.replace(tzinfo=None)
