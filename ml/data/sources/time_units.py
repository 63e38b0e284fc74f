"""Tells times that were declared in a wrong unit from times that are wrong; single rows are left to the rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import get_args

import duckdb

from ml.data.engine import literal, statement
from ml.data.source_spec import TableSpec, TimeFormat
from ml.data.sources.columns import RawColumns
from ml.data.sources.faults import name_files
from ml.data.sources.tables import LandingRefused

#: A unit is taken to be wrong where fewer than this share of the times lie in the log, and another brings the rest in.
#: A client's broken clock spoils some rows; a wrong unit spoils all of them.
_MOST_INSIDE = 0.01


@dataclass(frozen=True)
class LogDays:
    """The days that a log covers, in its time zone: those of a log that goes on, up to the newest one asked for."""

    first: date
    last: date
    timezone: str

    def holds(self, time: str) -> str:
        """SQL for whether a UTC time lies in the log, a day of grace on either side (clocks, zones, late events)."""
        start, end = self.first - timedelta(days=1), self.last + timedelta(days=2)
        return f"({time} >= TIMESTAMP {literal(start.isoformat())} AND {time} < TIMESTAMP {literal(end.isoformat())})"


def refuse_wrong_unit(
    connection: duckdb.DuckDBPyConnection,
    table: TableSpec,
    raw: RawColumns,
    *,
    files: Sequence[Path],
    source: str,
    time_column: str,
    days: LogDays,
) -> None:
    """Raise LandingRefused naming the unit in which practically all times of the table `landed` would lie in the log.

    `source` is the raw table they were read from; it is read again only where their declared unit fits none of them.
    """
    inside = f"count(*) FILTER (WHERE {days.holds(time_column)})"
    rows, fitting = _one_row(connection, f"SELECT count(*), {inside} FROM landed")
    if not rows or fitting >= _MOST_INSIDE * rows:
        return
    others: list[TimeFormat] = [unit for unit in get_args(TimeFormat) if unit != table.time_format]
    read = {unit: raw.time(table.time, format=unit, timezone=days.timezone) for unit in others}
    counts = ", ".join(f"count(*) FILTER (WHERE {days.holds(time)}) AS {unit}" for unit, time in read.items())
    text = statement("times_by_unit", raw=raw.key(table.time), counts=counts, source=source)
    times, *by_unit = _one_row(connection, text)
    for unit, found in zip(others, by_unit, strict=True):
        if found > (1 - _MOST_INSIDE) * times:
            raise LandingRefused(
                f"{name_files(files)}: as {table.time_format}, {fitting} of {times} times in column {table.time!r} lie "
                f"in the log ({days.first} .. {days.last}); as {unit}, {found} do. Set time_format: {unit} in the "
                "dataset spec, or deliver the file in the declared unit"
            )


def _one_row(connection: duckdb.DuckDBPyConnection, text: str) -> tuple[int, ...]:
    row = connection.execute(text).fetchone()
    assert row is not None
    return row
