"""The masks of a day: the columns they need, the rows that break a rule, and their counts; it writes no file."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import duckdb

from data_checks.rules import Rule, RuleContext, parameters_used
from ml.data.dataset import DatasetSpec
from ml.data.engine import identifier, literal

_COLUMNS = {
    "row_kind": "VARCHAR",
    "impression_id": "VARCHAR",
    "user_key": "VARCHAR",
    "item_key": "VARCHAR",
    "unit_key": "VARCHAR",
    "impression_time": "TIMESTAMP",
    "click_time": "TIMESTAMP",
    "conversion_time": "TIMESTAMP",
    "cart_time": "TIMESTAMP",
    "favourite_time": "TIMESTAMP",
    "click": "BIGINT",
    "conversion": "BIGINT",
    "cart": "BIGINT",
    "favourite": "BIGINT",
    "value": "DOUBLE",
    "order_id": "VARCHAR",
    "label_age_seconds": "BIGINT",
    "mature": "BOOLEAN",
    "duplicate_rank": "BIGINT",
    "duplicate_conflict": "BOOLEAN",
    "unparsed_count": "BIGINT",
    "unparsed_columns": "VARCHAR[]",
    "source_file": "VARCHAR",
    "source_row": "BIGINT",
    "source_line": "BIGINT",
}
_FIELD_TYPES = {"id": "VARCHAR", "category": "VARCHAR", "number": "DOUBLE", "sequence": "VARCHAR[]"}


class SamplesInvalid(ValueError):
    """A joined samples file that cannot be judged, because columns are missing or of another type."""


@dataclass(frozen=True, kw_only=True)
class Marked:
    """What the mask of a rule on rows marked: how many rows, and the places in the file (from 0) of the first three."""

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
    required |= {field.weights_column: "DOUBLE[]" for field in spec.fields if field.weighted}
    wrong = [
        f"{column} should be {kind} and is {found.get(column, 'missing')}"
        for column, kind in required.items()
        if found.get(column) != kind
    ]
    if wrong:
        raise SamplesInvalid(
            f"{samples}: {'; '.join(wrong)}; join the day again with this version and this dataset spec"
        )


def mark_rows(
    connection: duckdb.DuckDBPyConnection, *, samples: Path, rules: Sequence[Rule], context: RuleContext
) -> dict[str, Marked]:
    """Compute the masks of all `rules` (of level row) in one scan, and count what they mark.

    The rows that break any rule are kept in the temporary table `broken`, in their order: `position` (their place in
    the file, from 0), a boolean a rule (a mask that is NULL counts as FALSE), and `quarantined`, TRUE where a rule
    with effect quarantine is broken. Good rows are not kept: at 10 million rows their masks alone would be 400 MB.
    """
    named = {rule.id: identifier(rule.id) for rule in rules}
    sending = [f"coalesce({named[rule.id]}, FALSE)" for rule in rules if rule.effect == "quarantine"]
    sql = statement(
        "broken",
        masks=",\n        ".join(f"({rule.mask_sql(context.spec)}) AS {named[rule.id]}" for rule in rules),
        known=",\n    ".join(f"coalesce({name}, FALSE) AS {name}" for name in named.values()),
        any=" OR ".join(named.values()),
        quarantined=" OR ".join(sending) or "FALSE",
        samples=literal(str(samples)),
    )
    connection.execute(sql, parameters_used(sql, context.parameters))
    counts = [f"count(*) FILTER (WHERE {name}), min(position, 3) FILTER (WHERE {name})" for name in named.values()]
    numbers = connection.execute(statement("broken_counts", counts=",\n    ".join(counts))).fetchone()
    assert numbers is not None
    return {
        rule: Marked(rows=numbers[2 * place], positions=tuple(numbers[2 * place + 1] or ()))
        for place, rule in enumerate(named)
    }


def mark_day(connection: duckdb.DuckDBPyConnection, *, rules: Sequence[Rule], context: RuleContext) -> dict[str, int]:
    """1 for every rule (of level day) that the day breaks, 0 for the others; they see no rows."""
    if not rules:
        return {}
    sql = "SELECT " + ", ".join(f"coalesce({rule.mask_sql(context.spec)}, FALSE)" for rule in rules)
    broken = connection.execute(sql, parameters_used(sql, context.parameters)).fetchone()
    assert broken is not None
    return {rule.id: int(bad) for rule, bad in zip(rules, broken, strict=True)}
