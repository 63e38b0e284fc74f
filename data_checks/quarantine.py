"""Splits a marked day into the admitted and the quarantined file and shows bad rows; the masks say which are bad."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet

from data_checks.marks import Marked, statement
from data_checks.rules import Rule
from ml.data.dataset import DatasetSpec
from ml.data.engine import identifier, literal

_LONGEST_CELL = 200


class RowsLost(RuntimeError):
    """Rows in are not admitted + quarantined, or not the rows that were landed."""


def split_rows(
    connection: duckdb.DuckDBPyConnection,
    *,
    samples: Path,
    rules: Sequence[Rule],
    rows_in: int,
    admitted_to: Path,
    quarantined_to: Path,
) -> tuple[int, int]:
    """Write both files (each replaced as a whole, once both are complete) and give their rows, as their metadata says.

    Raises RowsLost, and replaces nothing, unless rows in = admitted + quarantined.
    """
    row_rules = [rule for rule in rules if rule.level == "row"]
    rule_ids = ", ".join(f"CASE WHEN marks.{identifier(rule.id)} THEN {literal(rule.id)} END" for rule in row_rules)
    writing = {path: path.with_name(f".{path.name}.{os.getpid()}.writing") for path in (quarantined_to, admitted_to)}
    try:
        for path, unfinished in writing.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            parts = {"samples": literal(str(samples)), "path": literal(str(unfinished))}
            if path is admitted_to:
                connection.execute(statement("admitted", **parts))
            else:
                connection.execute(statement("quarantined", rule_ids=rule_ids, **parts))
        admitted, quarantined = (_rows(writing[path]) for path in (admitted_to, quarantined_to))
        if rows_in != admitted + quarantined:
            raise RowsLost(
                f"{samples}: {rows_in} rows in, but {admitted} admitted + {quarantined} quarantined = "
                f"{admitted + quarantined}; nothing was written"
            )
        for path, unfinished in writing.items():
            os.replace(unfinished, path)
    finally:
        for unfinished in writing.values():
            unfinished.unlink(missing_ok=True)
    return admitted, quarantined


def bad_rows(
    connection: duckdb.DuckDBPyConnection,
    *,
    samples: Path,
    rules: Sequence[Rule],
    marked: Mapping[str, Marked],
    spec: DatasetSpec,
) -> dict[str, tuple[dict[str, str], ...]]:
    """The first three rows that break each rule on rows, as text, in the columns that matter to it; one scan."""
    shown = {rule.id: rule.sample_columns(spec) for rule in rules if rule.level == "row" and marked[rule.id].rows}
    if not shown:
        return {}
    columns = sorted({column for names in shown.values() for column in names})
    positions = sorted({position for rule in shown for position in marked[rule].positions})
    sql = statement(
        "bad_rows",
        columns=",\n    ".join(f"{identifier(column)}::VARCHAR" for column in columns),
        samples=literal(str(samples)),
        positions=", ".join(str(position) for position in positions),
    )
    rows = {row[0]: dict(zip(columns, row[1:], strict=True)) for row in connection.execute(sql).fetchall()}
    return {
        rule: tuple({name: _cell(rows[position][name]) for name in names} for position in marked[rule].positions)
        for rule, names in shown.items()
    }


def _cell(value: str | None) -> str:
    if value is None:
        return "NULL"
    return value if len(value) <= _LONGEST_CELL else value[: _LONGEST_CELL - 1] + "…"


def _rows(path: Path) -> int:
    return pyarrow.parquet.read_metadata(path).num_rows
