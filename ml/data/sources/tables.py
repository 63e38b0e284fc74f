"""Opens one raw table as an SQL relation: finds its files, reads them as they are and names what is missing."""

import glob
import hashlib
import re
from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from ml.data.engine import literal
from ml.data.source_spec import TableSpec
from ml.data.sources.columns import RawColumns


class LandingRefused(ValueError):
    """A day whose raw files cannot be landed; the message names the file and the remedy."""


class LandedFile(BaseModel):
    """A raw file as it arrived: `sha256` is over its bytes as stored (compressed where they are)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    bytes: int
    sha256: str


def find_files(table: TableSpec, *, day: date | None) -> list[Path]:
    """The table's files of `day` (of all days where the path has no `{day}`), sorted by name.

    Raises LandingRefused naming the path where there is none, or where a file is empty.
    """
    pattern = table.path.replace("{day}", day.isoformat()) if day else table.path
    found = sorted(Path(name) for name in glob.glob(pattern, recursive=True))
    files = [path for path in found if path.is_file()]
    if not files:
        what = "a folder without files" if found else "no file"
        raise LandingRefused(f"{what} at {pattern}; deliver the file, then materialize the day again")
    for path in files:
        if path.stat().st_size == 0:
            raise LandingRefused(f"{path} is empty (0 bytes); deliver it again, then materialize the day again")
    return files


def folder_characters(table: TableSpec, files: list[Path]) -> int:
    """How many characters of the files' paths lie before what `{day}` and wildcards stand for, or before the name.

    A row names its file without them: the same log under another folder gives the same samples, hence the same model.
    """
    fixed = re.split(r"[{*?[]", table.path, maxsplit=1)[0]
    below = files[0].relative_to(fixed[: fixed.rfind("/") + 1])
    return len(str(files[0])) - len(str(below))


def describe_files(files: list[Path]) -> tuple[LandedFile, ...]:
    """Size and sha256 of each file."""
    landed = []
    for path in files:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        landed.append(LandedFile(path=str(path), bytes=path.stat().st_size, sha256=digest))
    return tuple(landed)


def relation(table: TableSpec, files: list[Path]) -> str:
    """A table expression over `files` with the raw columns and `filename`.

    Text formats are read as text throughout (JSON values as JSON): a type is the dataset spec's decision, not a
    sniffer's. Nor may the CSV sniffer skip first lines that do not fit: they are refused.
    """
    listed = "[" + ", ".join(literal(str(path)) for path in files) + "]"
    nulls = "[" + ", ".join(literal(value) for value in table.null_values) + "]"
    if table.format == "parquet":
        return f"read_parquet({listed}, union_by_name = true, filename = true, hive_partitioning = false)"
    if table.format == "jsonlines":
        return f"read_ndjson({listed}, maximum_depth = 1, sample_size = -1, filename = true, hive_partitioning = false)"
    names = f", names = [{', '.join(literal(name) for name in table.names)}]" if table.names else ""
    return (
        f"read_csv({listed}, all_varchar = true, header = {str(table.header).lower()}{names}, skip = 0, comment = '', "
        f"delim = {literal(table.delimiter)}, quote = '\"', escape = '\"', nullstr = {nulls}, "
        "filename = true, hive_partitioning = false, strict_mode = true, null_padding = false)"
    )


def selection(table: TableSpec, raw: RawColumns, source: str) -> str:
    """The rows of the table expression `source` that pass the table's `where`; raises UnknownColumn."""
    conditions = [
        f"{raw.text(column)} IN ({', '.join(literal(value) for value in values)})"
        for column, values in table.where.items()
    ]
    return f"(SELECT * FROM {source}{' WHERE ' + ' AND '.join(conditions) if conditions else ''})"


def common_columns(connection: duckdb.DuckDBPyConnection, table: TableSpec, files: list[Path]) -> set[str] | None:
    """The columns that every file has by its own header; None where files have no header.

    Raises LandingRefused for a file that names a column twice: which of the two is meant is not ours to guess.
    """
    if table.format == "jsonlines" or (table.format == "csv" and (not table.header or table.names)):
        return None
    common: set[str] | None = None
    for path in files:
        names = pq.read_schema(path).names if table.format == "parquet" else _csv_header(connection, table, path)
        repeated = sorted({name for name in names if name and names.count(name) > 1})
        if repeated:
            raise LandingRefused(
                f"{path} names columns twice: {', '.join(repeated)}; rename one of them in the file, then materialize "
                "the day again"
            )
        common = set(names) if common is None else common & set(names)
    return common


def _csv_header(connection: duckdb.DuckDBPyConnection, table: TableSpec, path: Path) -> list[str]:
    first_line = relation(table.model_copy(update={"header": False}), [path])
    row = connection.execute(f"SELECT * EXCLUDE (filename) FROM {first_line} LIMIT 1").fetchone()
    return [str(name) for name in row or () if name is not None]


def column_types(connection: duckdb.DuckDBPyConnection, source: str) -> dict[str, str]:
    """Names and DuckDB types of the columns of a table expression."""
    rows = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    return {row[0]: row[1] for row in rows}
