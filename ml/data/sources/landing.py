"""Lands raw tables as one Parquet file a day with Postclick's column names; labels and rules belong to later steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb

from ml.data.engine import connect, literal, statement
from ml.data.source_spec import TableSpec
from ml.data.sources.columns import RawColumns, TypedColumn, UnknownColumn, select_list
from ml.data.sources.faults import name_files, unreadable
from ml.data.sources.headers import TableColumns, read_columns
from ml.data.sources.lines import TextScan, line_sql, number_lines, scan_text
from ml.data.sources.raw_files import FileFinder, TableFiles
from ml.data.sources.tables import FILE_COLUMN, ROW_COLUMN, LandedFile, LandingRefused, relation, selection
from ml.data.sources.time_units import LogDays, refuse_wrong_unit


@dataclass(frozen=True)
class LandedTable:
    """One table of one day: its Parquet file, its rows, the raw files behind it and the raw columns that they have.

    `rows_outside` counts rows of a table that holds all days whose time lies in no day of the log. `columns` are the
    raw columns of any of the files with their DuckDB types (VARCHAR in CSV, JSON in JSON lines).
    """

    path: Path
    rows: int
    files: tuple[LandedFile, ...]
    rows_outside: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableLanding:
    """How one raw table is landed: its columns as a function of what the file has, and the time that dates a row."""

    name: str
    table: TableSpec
    columns: Callable[[RawColumns], list[TypedColumn]]
    time_column: str


def land_table(
    landing: TableLanding,
    *,
    finder: FileFinder,
    days: Sequence[date],
    first: date,
    last: date | None,
    timezone: str,
    root: Path,
) -> dict[date, LandedTable | LandingRefused]:
    """Write `root/<day>/<table>.parquet` for each of `days`; a day that cannot be landed has its reason instead.

    `finder` says where the table's files are.

    A table with `{day}` in its path is read day by day; one without is read once and split by its time column in
    `timezone`. A row of unreadable time belongs to the log's first day, where the rules will find it.
    """
    if landing.table.daily:
        covered = {day: LogDays(first=first, last=last or day, timezone=timezone) for day in days}
        return {day: _land_day(landing, finder=finder, day=day, log=covered[day], root=root) for day in days}
    try:
        files = finder.find(landing.table, day=None)
        with files.refusing_by_address():
            return _land_split(landing, files, days=days, first=first, last=last, timezone=timezone, root=root)
    except LandingRefused as refusal:
        return dict.fromkeys(days, refusal)


def _land_day(
    landing: TableLanding, *, finder: FileFinder, day: date, log: LogDays, root: Path
) -> LandedTable | LandingRefused:
    try:
        files = finder.find(landing.table, day=day)
        with files.refusing_by_address(), connect(scratch=root / "scratch") as connection:
            described = files.described()
            columns = _read(connection, landing, files, log=log)
            out = root / day.isoformat() / f"{landing.name}.parquet"
            rows = _write(connection, "landed", out)
            return LandedTable(path=out, rows=rows, files=described, columns=columns)
    except LandingRefused as refusal:
        return refusal


def _land_split(
    landing: TableLanding,
    files: TableFiles,
    *,
    days: Sequence[date],
    first: date,
    last: date | None,
    timezone: str,
    root: Path,
) -> dict[date, LandedTable | LandingRefused]:
    described = files.described()
    landed: dict[date, LandedTable | LandingRefused] = {}
    with connect(scratch=root / "scratch") as connection:
        log = LogDays(first=first, last=last or max(days), timezone=timezone)
        columns = _read(connection, landing, files, log=log)
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
            landed[day] = LandedTable(path=out, rows=rows, files=described, rows_outside=rows_outside, columns=columns)
    return landed


def _read(
    connection: duckdb.DuckDBPyConnection, landing: TableLanding, files: TableFiles, *, log: LogDays
) -> dict[str, str]:
    """Read `files` into the table `landed`; returns their raw columns. Raises LandingRefused."""
    table = landing.table
    try:
        scans = [scan_text(table, path) for path in files.paths] if table.format != "parquet" else []
        seen = read_columns(connection, table, files.paths)
        _create_landed(connection, landing, files, scans=scans, seen=seen, log=log)
    except UnknownColumn as error:
        names = name_files([error.path] if error.path else files.paths)
        one = table.format == "csv" and len(seen.types) == 1
        hint = f" (is its delimiter {table.delimiter!r}?)" if one else ""
        raise LandingRefused(f"{names}: {error}{hint}; correct the dataset spec or the file's header") from error
    except duckdb.Error as error:
        raise unreadable(error, table=table, files=files.paths, in_words=files.in_words) from error
    return seen.types


def _create_landed(
    connection: duckdb.DuckDBPyConnection,
    landing: TableLanding,
    files: TableFiles,
    *,
    scans: list[TextScan],
    seen: TableColumns,
    log: LogDays,
) -> None:
    table = landing.table
    # A column that only some of the files have would be NULL in the rows of the others.
    raw = RawColumns(seen.types, null_values=table.null_values, lacking=seen.lacking)
    columns = select_list(landing.columns(raw))
    json_columns = sorted({*raw.used, *table.where})
    source = selection(table, raw, relation(table, files.paths, json_columns=json_columns))
    line = line_sql(table, scans, has_file_index="file_index" in seen.types)
    text = statement(
        "land_table",
        columns=columns,
        file=FILE_COLUMN,
        folder_characters=str(files.folder_characters),
        row=ROW_COLUMN,
        line=line or "CAST(NULL AS BIGINT)",
        source=source,
    )
    connection.execute(text)
    if scans and line is None:
        number_lines(connection, table, files.paths)
    refuse_wrong_unit(
        connection, table, raw, files=files.paths, source=source, time_column=landing.time_column, days=log
    )


def _write(connection: duckdb.DuckDBPyConnection, selection: str, out: Path) -> int:
    out.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"COPY (SELECT * FROM {selection}) TO {literal(str(out))} (FORMAT parquet, COMPRESSION zstd)")
    return _count(connection, f"read_parquet({literal(str(out))})")


def _count(connection: duckdb.DuckDBPyConnection, selection: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {selection}").fetchone()
    assert row is not None
    return int(row[0])
