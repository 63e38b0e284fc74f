"""The SQL pass over a day's joined samples: a mask a rule, counts, quantities in bounded parts; it writes no file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import duckdb
import pandas as pd

from data_checks.rules import Rule, RuleContext, parameters_used
from ml.data.dataset import DatasetSpec
from ml.data.engine import identifier, literal

#: Rows of a part that Great Expectations sees at once: 250 of DuckDB's vectors; fewer pay its fixed cost more often.
_VECTORS_A_PART = 250

_COLUMNS = {
    "row_kind": "VARCHAR",
    "impression_id": "VARCHAR",
    "user_key": "VARCHAR",
    "item_key": "VARCHAR",
    "unit_key": "VARCHAR",
    "impression_time": "TIMESTAMP",
    "click_time": "TIMESTAMP",
    "conversion_time": "TIMESTAMP",
    "click": "BIGINT",
    "conversion": "BIGINT",
    "value": "DOUBLE",
    "order_id": "VARCHAR",
    "label_age_seconds": "BIGINT",
    "mature": "BOOLEAN",
    "duplicate_rank": "BIGINT",
    "unparsed_count": "BIGINT",
    "unparsed_columns": "VARCHAR[]",
    "source_file": "VARCHAR",
    "source_row": "BIGINT",
}
_FIELD_TYPES = {"id": "VARCHAR", "category": "VARCHAR", "number": "DOUBLE", "sequence": "VARCHAR[]"}


class SamplesInvalid(ValueError):
    """A joined samples file that cannot be judged, because columns are missing or of another type."""


@dataclass(frozen=True, kw_only=True)
class Marked:
    """What a rule's mask marked: how many rows, and the places (from 0) of the first three."""

    rows: int
    positions: tuple[int, ...]


def statement(name: str, **parts: str) -> str:
    """The text of `data_checks/sql/<name>.sql` with its `{part}` places filled; KeyError for a place left empty."""
    text = (resources.files("data_checks") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return text.format(**parts)


def require_columns(connection: duckdb.DuckDBPyConnection, *, samples: Path, spec: DatasetSpec) -> None:
    """Raise SamplesInvalid unless the file has every column of the joined samples table with its type."""
    described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({literal(str(samples))})").fetchall()
    found = {row[0]: row[1] for row in described}
    required = _COLUMNS | {field.name: _FIELD_TYPES[field.kind] for field in spec.fields}
    wrong = [
        f"{column} should be {kind} and is {found.get(column, 'missing')}"
        for column, kind in required.items()
        if found.get(column) != kind
    ]
    if wrong:
        raise SamplesInvalid(
            f"{samples}: {'; '.join(wrong)}; join the day again with this version and this dataset spec"
        )


def count_rows(connection: duckdb.DuckDBPyConnection, *, samples: Path) -> tuple[int, int]:
    """All rows of the file, and the impressions among them."""
    counted = connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE row_kind = 'impression') FROM read_parquet({literal(str(samples))})"
    ).fetchone()
    assert counted is not None
    return counted[0], counted[1]


def mark_rows(
    connection: duckdb.DuckDBPyConnection, *, samples: Path, rules: Sequence[Rule], context: RuleContext
) -> dict[str, Marked]:
    """Compute every mask in one pass into the temporary table `marks` (a row a sample, in order) and count them.

    A mask that is NULL counts as FALSE. `marks.quarantined` is TRUE where a rule with effect quarantine is broken.
    """
    masks = [f"coalesce({rule.mask_sql(context.spec)}, FALSE) AS {identifier(rule.id)}" for rule in rules]
    sending = [identifier(rule.id) for rule in rules if rule.effect == "quarantine"]
    sql = statement(
        "marks", masks=",\n        ".join(masks), quarantined=" OR ".join(sending), samples=literal(str(samples))
    )
    connection.execute(sql, parameters_used(sql, context.parameters))
    counts = [
        f"count(*) FILTER (WHERE {identifier(rule.id)}), min(rowid, 3) FILTER (WHERE {identifier(rule.id)})"
        for rule in rules
    ]
    counted = connection.execute(statement("marked", counts=",\n    ".join(counts))).fetchone()
    assert counted is not None
    numbers = counted[1:]
    return {
        rule.id: Marked(rows=numbers[2 * place], positions=tuple(numbers[2 * place + 1] or ()))
        for place, rule in enumerate(rules)
    }


def row_quantities(
    connection: duckdb.DuckDBPyConnection, *, samples: Path, rules: Sequence[Rule], context: RuleContext
) -> Iterator[pd.DataFrame]:
    """What the rules on rows judge: float64 frames of bounded length, a column a quantity; at least one frame."""
    yield from _quantities(connection, source=f"read_parquet({literal(str(samples))})", rules=rules, context=context)


def day_quantities(
    connection: duckdb.DuckDBPyConnection, *, rules: Sequence[Rule], context: RuleContext
) -> Iterator[pd.DataFrame]:
    """What the rules on the day judge: one float64 frame of one row."""
    yield from _quantities(connection, source="(SELECT 1)", rules=rules, context=context)


def _quantities(
    connection: duckdb.DuckDBPyConnection, *, source: str, rules: Sequence[Rule], context: RuleContext
) -> Iterator[pd.DataFrame]:
    columns = {rule.quantity.name: rule.quantity.sql(context.spec) for rule in rules}
    # NaN is pandas' null in a float column, and comes over at half the cost of NULL.
    listed = [f"coalesce(({sql})::DOUBLE, 'nan'::DOUBLE) AS {identifier(name)}" for name, sql in columns.items()]
    sql = statement("quantities", quantities=",\n    ".join(listed), source=source)
    reading = connection.cursor()
    reading.execute(sql, parameters_used(sql, context.parameters))
    frame = reading.fetch_df_chunk(_VECTORS_A_PART)
    yield frame
    while len(frame):
        frame = reading.fetch_df_chunk(_VECTORS_A_PART)
        if len(frame):
            yield frame
    reading.close()
