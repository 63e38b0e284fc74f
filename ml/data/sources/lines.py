"""On which line of its text file each row stands, for whoever mends the file; the rows are read elsewhere."""

import csv
import io
import sys
from array import array
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from ml.data.source_spec import TableSpec
from ml.data.sources.tables import FILE_INDEX_COLUMN, ROW_COLUMN, LandingRefused

_CHUNK = 1 << 20
#: Lines beyond 2 MB are refused by DuckDB: a chunk that is filled up with this much ends where a line does.
_LONGEST_LINE = 4 << 20


@dataclass(frozen=True)
class TextScan:
    """A text file's lines; `plain` where each is a record: no blank one, and no line end within quotes."""

    lines: int
    plain: bool


def scan_text(table: TableSpec, path: Path) -> TextScan:
    """Count the lines of a text file, compressed or not.

    Raises LandingRefused for a file that holds nothing but blank lines, that has one above its header (DuckDB takes
    the header for a row then), that cannot be decompressed, or that holds NUL bytes: blocks that were never written, or
    another encoding than UTF-8.
    """
    lines, plain, empty = 0, True, True
    with _open_text(path) as stream:
        while chunk := stream.read(_CHUNK):
            chunk += stream.readline(_LONGEST_LINE)
            _refuse_damage(table, path, chunk, lines=lines)
            ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n"))
            lines += len(ends) + (not chunk.endswith(b"\n"))
            plain = plain and _is_plain(table, chunk, ends)
            empty = empty and not chunk.strip()
    if empty:
        raise LandingRefused(
            f"{path} is empty (nothing but blank lines); deliver it again, then materialize the day again"
        )
    return TextScan(lines=lines, plain=plain)


def line_sql(table: TableSpec, scans: Sequence[TextScan], *, has_file_index: bool) -> str | None:
    """SQL for the line of a row within its file, from ROW_COLUMN; None for Parquet and where `number_lines` must tell.

    `has_file_index` says that the raw table has a column of its own called file_index, which hides DuckDB's.
    """
    if not scans or not all(scan.plain for scan in scans) or (len(scans) > 1 and has_file_index):
        return None
    header = _header_lines(table)
    if len(scans) == 1:
        return f"{ROW_COLUMN} + {header}"
    # Rows are numbered through all files in their order: a file's first row comes after all rows of those before it.
    offsets, rows = [], 0
    for scan in scans:
        offsets.append(header - rows)
        rows += scan.lines - header
    return f"{ROW_COLUMN} + list_extract({offsets}, CAST({FILE_INDEX_COLUMN} AS BIGINT) + 1)"


def number_lines(connection: duckdb.DuckDBPyConnection, table: TableSpec, files: Sequence[Path]) -> None:
    """Set `source_line` of the table `landed`, whose files have blank lines or line ends within quotes.

    Where the records counted here are not those that were landed, the lines stay unknown.
    """
    lines = array("q")
    for path in files:
        lines.extend(_record_lines(table, path))
    # All of the result: DuckDB registers no table while one is half read.
    [(rows, last_row)] = connection.execute("SELECT count(*), max(source_row) FROM landed").fetchall()
    if (last_row or 0) > len(lines) or (not table.where and rows != len(lines)):
        return
    numbered = pa.table({"row": pa.array(range(1, len(lines) + 1), pa.int64()), "line": pa.array(lines, pa.int64())})
    connection.register("numbered_lines", numbered)
    connection.execute(
        "UPDATE landed SET source_line = numbered_lines.line FROM numbered_lines WHERE source_row = numbered_lines.row"
    )
    connection.unregister("numbered_lines")


def csv_header(table: TableSpec, path: Path) -> list[str]:
    """The names in the first record of a CSV file, as DuckDB takes them: without spaces around, '' for none."""
    with closing(_csv_records(table, path)) as records:
        first = next((record for _, record in records), [])
    return ["" if name in table.null_values else name.strip() for name in first]


@contextmanager
def _open_text(path: Path) -> Iterator[io.BufferedReader]:
    try:
        # As DuckDB does, a file's ending says how it is compressed.
        with io.BufferedReader(pa.input_stream(str(path), compression="detect"), _CHUNK) as stream:  # type: ignore[arg-type]
            yield stream
    except OSError as error:
        raise LandingRefused(
            f"{path}: {error}; deliver the file whole and as its ending says, then materialize the day again"
        ) from error


def _header_lines(table: TableSpec) -> int:
    return int(table.format == "csv" and table.header)


def _refuse_damage(table: TableSpec, path: Path, chunk: bytes, *, lines: int) -> None:
    """Raise LandingRefused for what DuckDB would read without complaint; `lines` lie before the chunk."""
    if b"\0" in chunk:
        line = lines + chunk.count(b"\n", 0, chunk.index(b"\0")) + 1
        raise LandingRefused(
            f"{path} holds NUL bytes, the first in line {line}: it was cut while it was written, or is not UTF-8; "
            "deliver it again, then materialize the day again"
        )
    if not lines and _header_lines(table) and chunk.startswith((b"\n", b"\r")) and chunk.strip():
        raise LandingRefused(
            f"{path} begins with a blank line, above its header; remove it, then materialize the day again"
        )


def _is_plain(table: TableSpec, chunk: bytes, ends: np.ndarray) -> bool:
    """Whether each line of the chunk, which ends where one does, is a record of its own; `ends` are its line ends."""
    # Searching for pairs of bytes would take longer than all the rest.
    if chunk.startswith((b"\n", b"\r")) or (np.diff(ends) == 1).any():
        return False
    if b"\r" in chunk and (b"\n\r" in chunk or chunk.count(b"\r") != chunk.count(b"\r\n")):
        return False
    if table.format == "jsonlines":
        return not chunk.startswith((b" ", b"\t")) and b"\n " not in chunk and b"\n\t" not in chunk
    return b'"' not in chunk or not any(line.count(b'"') % 2 for line in chunk.split(b"\n"))


def _record_lines(table: TableSpec, path: Path) -> Iterator[int]:
    """The line on which each record below the header begins."""
    if table.format == "jsonlines":
        with _open_text(path) as stream:
            yield from (number for number, line in enumerate(stream, start=1) if line.strip())
        return
    header = _header_lines(table)
    for index, (line, _) in enumerate(_csv_records(table, path)):
        if index >= header:
            yield line


def _csv_records(table: TableSpec, path: Path) -> Generator[tuple[int, list[str]]]:
    """Each record with the line on which it begins; a blank line is one only where a record is one value."""
    # The module's limit of 128 KiB a field is no limit of ours.
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with _open_text(path) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
            reader = csv.reader(text, delimiter=table.delimiter)
            begins, width = 1, 0
            for record in reader:
                width = width or len(record)
                if record or width == 1:
                    yield begins, record
                begins = reader.line_num + 1
    finally:
        csv.field_size_limit(limit)
