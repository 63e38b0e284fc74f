"""Which columns raw files have by their own headers, file by file; their values are not read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.source_spec import TableSpec
from ml.data.sources.lines import csv_header
from ml.data.sources.tables import FILE_COLUMN, LandingRefused, relation

#: Decimals of more digits are DOUBLE to DuckDB: ids would fall together.
_MOST_DIGITS = 38


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table's files with their DuckDB types, and those that a file lacks, each with that file."""

    types: dict[str, str]
    lacking: dict[str, Path]


def read_columns(connection: duckdb.DuckDBPyConnection, table: TableSpec, files: Sequence[Path]) -> TableColumns:
    """The columns of `files`; those of a CSV file without a header are the dataset spec's.

    Raises LandingRefused for a file that names a column twice (which of the two is meant is not ours to guess) or that
    is no Parquet, and duckdb.Error for one that is not readable otherwise.
    """
    names = {path: _names(connection, table, path) for path in files}
    for path, own in names.items():
        _refuse_repeated(path, own or [])
    if table.format != "parquet" and None not in names.values():
        text = "JSON" if table.format == "jsonlines" else "VARCHAR"
        types = {name: text for own in names.values() for name in own or [] if name}
    else:
        types = column_types(connection, relation(table, list(files)))
        types.pop(FILE_COLUMN, None)
    lacking = {name: path for path, own in names.items() if own is not None for name in types.keys() - set(own)}
    if table.format == "parquet":
        types |= {name: "a decimal of too many digits" for path in files for name in _wide_decimals(path)}
    return TableColumns(types=types, lacking=lacking)


def column_types(connection: duckdb.DuckDBPyConnection, source: str) -> dict[str, str]:
    """Names and DuckDB types of the columns of a table expression."""
    rows = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    return {row[0]: row[1] for row in rows}


def _names(connection: duckdb.DuckDBPyConnection, table: TableSpec, path: Path) -> list[str] | None:
    """The names in a file's own header, as often as they stand there; None where it has none."""
    if table.format == "parquet":
        return _parquet_schema(path).names
    if table.format == "jsonlines":
        return [name for name in column_types(connection, relation(table, [path])) if name != FILE_COLUMN]
    if not table.header or table.names:
        return None
    return csv_header(table, path)


def _parquet_schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise LandingRefused(
            f"{path}: not readable as parquet: {error}; replace the file, then materialize the day again"
        ) from error


def _wide_decimals(path: Path) -> list[str]:
    return [
        field.name
        for field in _parquet_schema(path)
        if pa.types.is_decimal(field.type) and field.type.precision > _MOST_DIGITS
    ]


def _refuse_repeated(path: Path, names: list[str]) -> None:
    # To SQL, upper and lower case are one name.
    times = Counter(name.casefold() for name in names)
    repeated = sorted({name for name in names if name and times[name.casefold()] > 1})
    if repeated:
        raise LandingRefused(
            f"{path} names columns twice: {', '.join(repeated[:20])}; rename one of them in the file, then materialize "
            "the day again"
        )
