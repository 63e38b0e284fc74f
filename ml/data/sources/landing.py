"""Lands raw tables as one Parquet file a day with Postclick's column names; labels and rules belong to later steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from ml.data.engine import connect, literal, statement
from ml.data.source_spec import Columns, TableSpec
from ml.data.sources.columns import RawColumns, TypedColumn, UnknownColumn, select_list
from ml.data.sources.tables import (
    LandedFile,
    LandingRefused,
    column_types,
    common_columns,
    describe_files,
    find_files,
    folder_characters,
    relation,
    selection,
)


@dataclass(frozen=True)
class LandedTable:
    """One table of one day: its Parquet file, its rows, the raw files behind it.

    `rows_outside` counts rows of a table that holds all days whose time lies in no day of the log.
    """

    path: Path
    rows: int
    files: tuple[LandedFile, ...]
    rows_outside: int = 0


@dataclass(frozen=True)
class TableLanding:
    """How one raw table is landed: its columns as a function of what the file has, and the time that dates a row."""

    name: str
    table: TableSpec
    columns: Callable[[RawColumns], list[TypedColumn]]
    time_column: str


def land_table(
    landing: TableLanding, *, days: Sequence[date], first: date, last: date | None, timezone: str, root: Path
) -> dict[date, LandedTable | LandingRefused]:
    """Write `root/<day>/<table>.parquet` for each of `days`; a day that cannot be landed has its reason instead.

    A table with `{day}` in its path is read day by day; one without is read once and split by its time column in
    `timezone`. A row of unreadable time belongs to the log's first day, where the rules will find it.
    """
    if landing.table.daily:
        return {day: _land_day(landing, day=day, root=root) for day in days}
    try:
        return _land_split(landing, days=days, first=first, last=last, timezone=timezone, root=root)
    except LandingRefused as refusal:
        return dict.fromkeys(days, refusal)


def _land_day(landing: TableLanding, *, day: date, root: Path) -> LandedTable | LandingRefused:
    try:
        files = find_files(landing.table, day=day)
        with connect(scratch=root / "scratch") as connection:
            _read(connection, landing, files)
            out = root / day.isoformat() / f"{landing.name}.parquet"
            return LandedTable(path=out, rows=_write(connection, "landed", out), files=describe_files(files))
    except LandingRefused as refusal:
        return refusal


def _land_split(
    landing: TableLanding, *, days: Sequence[date], first: date, last: date | None, timezone: str, root: Path
) -> dict[date, LandedTable | LandingRefused]:
    files = find_files(landing.table, day=None)
    described = describe_files(files)
    landed: dict[date, LandedTable | LandingRefused] = {}
    with connect(scratch=root / "scratch") as connection:
        _read(connection, landing, files)
        zone = literal(timezone)
        local_day = f"CAST(timezone({zone}, timezone('UTC', {landing.time_column})) AS DATE)"
        event_day = f"coalesce({local_day}, DATE {literal(first.isoformat())})"
        outside = f"{event_day} < DATE {literal(first.isoformat())}"
        if last is not None:
            outside += f" OR {event_day} > DATE {literal(last.isoformat())}"
        rows_outside = _count(connection, f"landed WHERE {outside}")
        for day in days:
            out = root / day.isoformat() / f"{landing.name}.parquet"
            rows = _write(connection, f"landed WHERE {event_day} = DATE {literal(day.isoformat())}", out)
            landed[day] = LandedTable(path=out, rows=rows, files=described, rows_outside=rows_outside)
    return landed


def _read(connection: duckdb.DuckDBPyConnection, landing: TableLanding, files: list[Path]) -> None:
    names = ", ".join(str(path) for path in files)
    try:
        source = relation(landing.table, files)
        types = column_types(connection, source)
        common = common_columns(connection, landing.table, files)
        # A column that only some of the day's files have would be NULL in the rows of the others.
        types = {name: kind for name, kind in types.items() if common is None or name in common}
        raw = RawColumns(types, null_values=landing.table.null_values)
        columns = select_list(landing.columns(raw))
        text = statement(
            "land_table",
            columns=columns,
            folder_characters=str(folder_characters(landing.table, files)),
            source=selection(landing.table, raw, source),
        )
        connection.execute(text)
    except UnknownColumn as error:
        raise LandingRefused(f"{names}: {error}; correct the dataset spec or the file's header") from error
    except duckdb.Error as error:
        first_lines = " ".join(str(error).split("\n")[:3])
        raise LandingRefused(
            f"{names}: not readable as {landing.table.format}: {first_lines}; replace the file, then materialize the "
            "day again"
        ) from error


def _write(connection: duckdb.DuckDBPyConnection, selection: str, out: Path) -> int:
    out.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"COPY (SELECT * FROM {selection}) TO {literal(str(out))} (FORMAT parquet, COMPRESSION zstd)")
    return _count(connection, f"read_parquet({literal(str(out))})")


def _count(connection: duckdb.DuckDBPyConnection, selection: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {selection}").fetchone()
    assert row is not None
    return int(row[0])


def joined_key(raw: RawColumns, name: str, columns: Columns) -> TypedColumn:
    """A landed id column."""
    return raw.opaque(name, raw.key(columns))
