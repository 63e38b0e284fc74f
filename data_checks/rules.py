"""What a rule is: an id, an SQL mask over the joined table, and the expectation that judges the same; no rule."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
#: How the cell of a sample row is written that holds nothing.
NULL_CELL = "NULL"
#: Where a row came from: the columns by which a reviewer finds it again.
WHERE_FROM = ("source_file", "source_row", "source_line")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that rules on the day hold against their bounds, or why there is none.

    `evidence` are at most ten records that show what the number rests on, worst first; `usual` is what the trailing
    days make one expect, `bound` what the day is held to where that is more than a threshold of the spec.
    """

    value: float | None = None
    why: str = ""
    bound: float | None = None
    usual: float | None = None
    evidence: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class RuleContext:
    """What the rules know of one day beside its rows.

    `bot_bound` is the impressions a day above which a user is a bot; `rare_labels` those that no user has on every
    impression by chance. Rules on the day judge `measures`, by name.
    """

    spec: DatasetSpec
    day: date
    bot_bound: float | None = None
    rare_labels: frozenset[str] = frozenset()
    measures: Mapping[str, Measure] = field(default_factory=dict)

    @property
    def thresholds(self) -> dict[str, Any]:
        """The SQL parameters that come from the dataset spec: the same on every day."""
        attribution, validation = self.spec.attribution, self.spec.validation
        windows = {
            "click_window_seconds": attribution.click_window_seconds,
            "conversion_window_seconds": attribution.conversion_window_seconds,
            "stage_window_seconds": attribution.stage_window_seconds,
        }
        return windows | {name: value for name, value in validation if isinstance(value, int | float)}

    @property
    def parameters(self) -> dict[str, Any]:
        """Every SQL parameter by name: thresholds, the day's facts, each measure as `m_<name>` and `m_<name>_bound`."""
        start, end = day_bounds(self.day, self.spec.timezone)
        measured = {f"m_{name}": measure.value for name, measure in self.measures.items()}
        bounds = {f"m_{name}_bound": measure.bound for name, measure in self.measures.items()}
        return {
            **self.thresholds,
            "day_start": start,
            "day_end": end,
            "bot_bound": self.bot_bound,
            "click_is_rare": "click" in self.rare_labels,
            "conversion_is_rare": "conversion" in self.rare_labels,
            **measured,
            **bounds,
        }


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number derived from a row (or, for a rule on the day, from the day), NULL where there is nothing to judge.

    Great Expectations skips nulls and cannot tell NaN from null, so `sql` has to map what must be seen to a number.
    A `continuous` quantity hardly repeats among the rows; the values of others are judged once each.
    """

    name: str
    sql: Callable[[DatasetSpec], str]
    continuous: bool = False


def always(part: T) -> Callable[[DatasetSpec], T]:
    """A part of a rule that is the same for every dataset."""
    return lambda spec: part


def no_columns(spec: DatasetSpec) -> tuple[str, ...]:
    """The columns of a rule that has none."""
    return ()


def applies(spec: DatasetSpec) -> str:
    """Why a rule cannot be broken in this dataset: for no reason."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule.

    `mask_sql(spec)` is a boolean SQL expression over the joined table, TRUE for a bad row (NULL counts as FALSE); a
    rule of level `day` names no column and is TRUE for all rows or for none. `expectation(context)` judges the
    quantity's column. The SQL sees thresholds and the day's facts as the parameters in `RuleContext.parameters`: its
    text depends on the spec alone, so that one rules version covers every day.

    `not_applicable(spec)` says why no row of this dataset can break the rule; it is empty where one can. A rule on the
    day judges `measure`. `offending` are those of the sample columns whose cells may be at fault, and
    `at_fault(spec, column, cell)` tells from a cell's text whether it is.
    """

    id: str
    effect: Effect
    description: str
    mask_sql: Callable[[DatasetSpec], str]
    quantity: Quantity
    expectation: Callable[[RuleContext], Expectation]
    unjudged: str = ""
    level: Level = "row"
    measure: str = ""
    threshold: Callable[[RuleContext], float | None] = lambda context: context.spec.validation.max_bad_share
    sample_columns: Callable[[DatasetSpec], tuple[str, ...]] = no_columns
    offending: Callable[[DatasetSpec], tuple[str, ...]] = no_columns
    at_fault: Callable[[DatasetSpec, str, str], bool] = lambda spec, column, cell: True
    not_applicable: Callable[[DatasetSpec], str] = applies

    @property
    def family(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]

    def measured(self, context: RuleContext) -> Measure:
        """What a rule on the day judges; an empty measure for a rule on rows."""
        return context.measures.get(self.measure, Measure()) if self.measure else Measure()


def parameters_used(sql: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that occur in `sql` as `$name`: DuckDB refuses a statement that is given more than it uses."""
    used = set(re.findall(r"\$(\w+)", sql))
    return {name: value for name, value in parameters.items() if name in used}


def day_bounds(day: date, timezone: str) -> tuple[datetime, datetime]:
    """Start (inclusive) and end (exclusive) of `day` in `timezone`, as naive UTC times."""
    zone = ZoneInfo(timezone)
    start, end = (datetime.combine(d, time(), zone).astimezone(UTC) for d in (day, day + timedelta(days=1)))
    return start.replace(tzinfo=None), end.replace(tzinfo=None)
