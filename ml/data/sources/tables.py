"""Opens one raw table as an SQL relation: finds its files and reads them as they are; it knows no column's meaning."""

import glob
import hashlib
import re
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ml.data.engine import identifier, literal
from ml.data.source_spec import TableSpec
from ml.data.sources.columns import RawColumns

#: What the relation adds to a raw table's columns: the file of a row. Raw columns may well be called `filename`.
FILE_COLUMN = "_postclick_file"
#: The row's number in the table's files, rows that `where` leaves out counted too.
ROW_COLUMN = "_postclick_row"
#: The place of a row's file among the table's files, from 0 (a raw column called file_index hides it).
FILE_INDEX_COLUMN = "_postclick_file_index"


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

    Raises LandingRefused naming the path where there is none, where a file is empty, or a link leads nowhere.
    """
    pattern = table.path.replace("{day}", day.isoformat()) if day else table.path
    # A name may hold brackets that are meant as they stand.
    # Two `**` in a pattern find a file twice.
    found = [Path(pattern)] if Path(pattern).is_file() else sorted(set(map(Path, glob.glob(pattern, recursive=True))))
    files = [path for path in found if not path.is_dir()]
    if not files:
        what = "a folder without files" if found else "no file"
        raise LandingRefused(f"{what} at {pattern}; deliver the file, then materialize the day again")
    for path in files:
        if not path.is_file():
            raise LandingRefused(f"{path} is no file (a link to nothing?); deliver it, then materialize the day again")
        refuse_empty(path, str(path))
    return files


def refuse_empty(path: Path, address: str) -> None:
    """Raise LandingRefused for a file of no bytes, calling it `address`."""
    if path.stat().st_size == 0:
        raise LandingRefused(f"{address} is empty (0 bytes); deliver it again, then materialize the day again")


def fixed_folder(table: TableSpec) -> str:
    """The folder, with its slash, that holds all that `{day}` and wildcards in the table's path may stand for."""
    fixed = re.split(r"[{*?[]", table.path, maxsplit=1)[0]
    return fixed[: fixed.rfind("/") + 1]


def folder_characters(table: TableSpec, files: list[Path]) -> int:
    """How many characters of the files' paths lie before what `{day}` and wildcards stand for, or before the name.

    A row names its file without them: the same log under another folder gives the same samples, hence the same model.
    """
    below = files[0].relative_to(fixed_folder(table))
    return len(str(files[0])) - len(str(below))


def describe_files(files: list[Path]) -> tuple[LandedFile, ...]:
    """Size and sha256 of each file. Raises LandingRefused for a file that cannot be read."""
    landed = []
    for path in files:
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            landed.append(LandedFile(path=str(path), bytes=path.stat().st_size, sha256=digest))
        except OSError as error:
            raise LandingRefused(
                f"{path}: {error.strerror}; make it readable, then materialize the day again"
            ) from error
    return tuple(landed)


def relation(table: TableSpec, files: list[Path], *, json_columns: list[str] | None = None) -> str:
    """A table expression over `files` with the raw columns and FILE_COLUMN.

    Text formats are read as text throughout (JSON values as JSON): a type is the dataset spec's decision, not a
    sniffer's. Nor may the CSV sniffer skip first lines that do not fit: they are refused. `json_columns` are the keys
    to read from JSON lines; without them every line is read once more to find what keys there are.
    """
    # Each is one file by its exact name: brackets and stars in it are no pattern.
    listed = "[" + ", ".join(literal(glob.escape(str(path))) for path in files) + "]"
    common = f"filename = {literal(FILE_COLUMN)}, hive_partitioning = false"
    if table.format == "parquet":
        # Older writers leave texts unmarked; bytes that are no text are refused.
        return f"read_parquet({listed}, union_by_name = true, binary_as_string = true, {common})"
    if table.format == "jsonlines":
        keys = "maximum_depth = 1, sample_size = -1"
        if json_columns:
            keys = "columns = {" + ", ".join(f"{identifier(name)}: 'JSON'" for name in json_columns) + "}"
        return f"read_ndjson({listed}, {keys}, {common})"
    nulls = "[" + ", ".join(literal(value) for value in table.null_values) + "]"
    names = f", names = [{', '.join(literal(name) for name in table.names)}]" if table.names else ""
    by_name = table.header and not table.names
    return (
        f"read_csv({listed}, all_varchar = true, header = {str(table.header).lower()}{names}, skip = 0, comment = '', "
        f"delim = {literal(table.delimiter)}, quote = '\"', escape = '\"', nullstr = {nulls}, strict_mode = true, "
        f"null_padding = false, union_by_name = {str(by_name).lower()}, {common})"
    )


def selection(table: TableSpec, raw: RawColumns, source: str) -> str:
    """The rows of the table expression `source` that pass the table's `where`, with ROW_COLUMN and FILE_INDEX_COLUMN.

    Raises UnknownColumn.
    """
    conditions = [
        f"{raw.text(column)} IN ({', '.join(literal(value) for value in values)})"
        for column, values in table.where.items()
    ]
    numbered = f"(SELECT *, row_number() OVER () AS {ROW_COLUMN}, file_index AS {FILE_INDEX_COLUMN} FROM {source})"
    return f"(SELECT * FROM {numbered}{' WHERE ' + ' AND '.join(conditions) if conditions else ''})"
