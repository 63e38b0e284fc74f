"""Splits a marked day into the admitted and the quarantined file and shows bad rows; the masks say which are bad."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_checks.marks import Marked, statement
from data_checks.row_groups import columns_of, open_writer, read_row_groups
from data_checks.rules import Rule
from ml.data.dataset import DatasetSpec
from ml.data.engine import identifier, literal

_LONGEST_CELL = 200
_RULE_IDS = pa.field("rule_ids", pa.list_(pa.field("element", pa.string())))


class RowsLost(RuntimeError):
    """Rows in are not admitted + quarantined, or not the rows that were landed."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows of both files, and the clicked, converted and mature ones among the admitted."""

    admitted: int
    quarantined: int
    clicks: int
    conversions: int
    mature: int


@contextmanager
def split_rows(
    connection: duckdb.DuckDBPyConnection,
    *,
    samples: Path,
    rules: Sequence[Rule],
    rows_in: int,
    admitted_to: Path,
    quarantined_to: Path,
    look_at: Callable[[pa.Table], None] = lambda admitted: None,
) -> Iterator[Split]:
    """Write both files, count what was written, and replace both as a whole when the block ends without an error.

    `broken` is the table that `mark_rows` left. The samples are read once, a row group at a time; rows keep their
    order. `look_at` is given the admitted rows of each row group (some texts as Arrow dictionaries), so that nobody has
    to read them again. Raises RowsLost unless rows in = admitted + quarantined by the files' own metadata.
    """
    writing = {path: path.with_name(f".{path.name}.{os.getpid()}.writing") for path in (quarantined_to, admitted_to)}
    try:
        for path in writing:
            path.parent.mkdir(parents=True, exist_ok=True)
        to = {"admitted_to": writing[admitted_to], "bad_to": writing[quarantined_to]}
        labels = _write(connection, samples, rules, look_at=look_at, **to)
        admitted, quarantined = (pq.read_metadata(writing[path]).num_rows for path in (admitted_to, quarantined_to))
        if rows_in != admitted + quarantined:
            raise RowsLost(
                f"{samples}: {rows_in} rows in, but {admitted} admitted + {quarantined} quarantined = "
                f"{admitted + quarantined}; nothing was written"
            )
        yield Split(admitted=admitted, quarantined=quarantined, **labels)
        for path, unfinished in writing.items():
            os.replace(unfinished, path)
    finally:
        for unfinished in writing.values():
            unfinished.unlink(missing_ok=True)


def _write(
    connection: duckdb.DuckDBPyConnection,
    samples: Path,
    rules: Sequence[Rule],
    *,
    look_at: Callable[[pa.Table], None],
    admitted_to: Path,
    bad_to: Path,
) -> dict[str, int]:
    columns = columns_of(samples)
    schema, tables = read_row_groups(samples, columns)
    labels = {"clicks": 0, "conversions": 0, "mature": 0}
    start = 0
    with (
        open_writer(admitted_to, schema=schema, columns=columns) as admitted,
        open_writer(bad_to, schema=schema.append(_RULE_IDS), columns=columns) as quarantined,
    ):
        for table in tables:
            places, rule_ids = _quarantined_rows(connection, rules, start=start, end=start + len(table))
            start += len(table)
            good = table
            if len(places):
                is_good = np.ones(len(table), dtype=bool)
                is_good[places] = False
                good, bad = table.filter(pa.array(is_good)), table.filter(pa.array(~is_good))
                quarantined.write_table(bad.append_column(_RULE_IDS, rule_ids), row_group_size=len(bad))
            if len(good):
                admitted.write_table(good, row_group_size=len(good))
                labels["clicks"] += int(np.count_nonzero(good["click"].to_numpy() == 1))
                labels["conversions"] += int(np.count_nonzero(good["conversion"].to_numpy() == 1))
                labels["mature"] += sum(chunk.true_count for chunk in good["mature"].chunks)
                look_at(good)
    return labels


def _quarantined_rows(
    connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], *, start: int, end: int
) -> tuple[np.ndarray, pa.Array]:
    """Of the rows from `start` to before `end`: the quarantined ones' places in this stretch, and their rule ids."""
    rule_ids = ", ".join(f"CASE WHEN {identifier(rule.id)} THEN {literal(rule.id)} END" for rule in rules)
    sql = statement("quarantined", rule_ids=rule_ids, start=str(start), end=str(end))
    found = connection.execute(sql).fetchnumpy()
    return np.asarray(found["place"]), pa.array([ids.split(" ") for ids in found["rule_ids"]], _RULE_IDS.type)


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
