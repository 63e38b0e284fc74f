"""What rules on rows must know of the whole day: its counts, and its odd users and orders; it judges no row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb

from data_checks.marks import statement
from data_checks.rules import RuleContext, parameters_used
from ml.data.dataset import DatasetSpec
from ml.data.engine import literal

#: A label that most impressions have is on all of a user's impressions by chance often enough.
_RARE = 0.5


@dataclass(frozen=True, kw_only=True)
class DayFacts:
    """Counts of a day's joined samples: `clicks` and `conversions` of impressions, each counted once. `newest` is the
    time (UTC, naive) of the newest impression in the day; `bot_bound` as in RuleContext."""

    rows: int
    impressions: int
    clicks: int
    conversions: int
    newest: datetime | None
    rare_labels: frozenset[str]
    bot_bound: float


def gather_facts(connection: duckdb.DuckDBPyConnection, *, samples: Path, spec: DatasetSpec, day: date) -> DayFacts:
    """Scan the day for what no single row shows.

    Leaves three tables that the rules' SQL looks into, holding only who is odd: `odd_users`, `odd_orders`,
    `odd_values`; they are small where the day is sound.
    """
    parameters = RuleContext(spec=spec, day=day).parameters
    [counts] = _run(connection, "day_counts", samples=samples, parameters=parameters)
    rows, impressions, first_copies, clicks, conversions, newest = counts
    _run(connection, "user_days", samples=samples, parameters=parameters)
    sizes = connection.execute("SELECT impressions_of_user, count(*) FROM user_days GROUP BY 1 ORDER BY 1").fetchall()
    policy = spec.validation
    bound = float(max(policy.bot_min_impressions, nearest_rank(sizes, policy.bot_quantile)))
    _run(connection, "odd_users", samples=samples, parameters=parameters | {"bot_bound": bound})
    connection.execute("DROP TABLE user_days")
    _run(connection, "odd_orders", samples=samples, parameters=parameters)
    _run(connection, "odd_values", samples=samples, parameters=parameters)
    rates = {"click": clicks, "conversion": conversions}
    return DayFacts(
        rows=rows,
        impressions=impressions,
        clicks=clicks,
        conversions=conversions,
        newest=newest,
        rare_labels=frozenset(label for label, labelled in rates.items() if labelled < _RARE * first_copies),
        bot_bound=bound,
    )


def nearest_rank(sizes: Sequence[tuple[int, int]], quantile: float) -> int:
    """The nearest-rank quantile of `sizes`, rising (size, how many): the least size that at least the share `quantile`
    does not exceed; 0 of nothing. Nobody lies above it where there are fewer than 1 / (1 − quantile)."""
    total = sum(many for _, many in sizes)
    # A share such as 0.9999 of 10,000 must be 9999, not the next number because of the last bit.
    rank = math.ceil(quantile * total - 1e-9)
    up_to = 0
    for size, many in sizes:
        up_to += many
        if up_to >= rank:
            return size
    return 0


def _run(
    connection: duckdb.DuckDBPyConnection, name: str, *, samples: Path, parameters: dict[str, Any]
) -> list[tuple[Any, ...]]:
    sql = statement(name, samples=literal(str(samples)))
    return connection.execute(sql, parameters_used(sql, parameters)).fetchall()
