"""The line of every row, against the line on which it was written: quotes, blank lines, several files, filters."""

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.source_spec import TableSpec
from ml.data.sources.columns import RawColumns, TypedColumn
from ml.data.sources.landing import LandedTable, TableLanding, land_table
from ml.data.sources.lines import csv_header, scan_text
from ml.data.sources.raw_files import FileFinder
from ml.data.sources.tables import LandingRefused

DAY = date(2026, 3, 7)
TIME = f"{DAY} 10:00:00"


def landed(path: Path | str, root: Path, **settings: Any) -> list[dict[str, Any]]:
    table = TableSpec.model_validate({"path": str(path), "format": "csv", "time": "t"} | settings)

    def columns(raw: RawColumns) -> list[TypedColumn]:
        time = raw.time("t", format="iso", timezone="UTC")
        return [raw.keyed("id", "id"), raw.typed("event_time", "t", time), raw.opaque("note", raw.text("note"))]

    landing = TableLanding(name="events", table=table, columns=columns, time_column="event_time")
    finder = FileFinder(scratch=root / "copies", feed=None)
    outcomes = land_table(landing, finder=finder, days=[DAY], first=DAY, last=DAY, timezone="UTC", root=root)
    [outcome] = outcomes.values()
    assert isinstance(outcome, LandedTable), outcome
    return pq.ParquetFile(outcome.path).read().to_pylist()


def write_csv(path: Path, notes: list[str], *, blank: list[int], newline: str = "\n", header: bool = True) -> list[int]:
    """Write a row a note, its id `<file>-<n>`, with blank lines before each; returns the line each row begins on."""
    parts, lines, line = ["id,t,note" + newline] * header, [], 1 + header
    for number, (note, blanks) in enumerate(zip(notes, blank, strict=True)):
        lines.append(line + blanks)
        # Of a file that is one record, DuckDB takes the first line end for that of all records.
        text = note if header else note.replace("\n", newline)
        quoted = '"' + text.replace('"', '""') + '"' if set(text) & set('",\r\n') else text
        parts.append(newline * blanks + f"{path.name}-{number},{TIME},{quoted}{newline}")
        line += parts[-1].count("\n")
    data = "".join(parts).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return lines


NOTES = st.sampled_from(["plain", "", "com,ma", 'quo"te', "two\nlines", 'three\n\n"lines"\n', "👩‍👩‍👧"])
FILES = st.lists(st.lists(st.tuples(NOTES, st.integers(0, 2)), min_size=1, max_size=6), min_size=1, max_size=3)


@given(files=FILES, newline=st.sampled_from(["\n", "\r\n"]), header=st.booleans(), blanks=st.booleans())
@settings(deadline=None, max_examples=40)
def test_a_row_has_the_line_on_which_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[tuple[str, int]]],
    newline: str,
    header: bool,
    blanks: bool,
) -> None:
    folder, expected = tmp_path_factory.mktemp("lines"), {}
    for number, rows in enumerate(files):
        path = folder / f"{number}.csv"
        # A blank line above a header is refused, and one above the first row of a file without is not needed here.
        before = [blank * blanks if index or header else 0 for index, (_, blank) in enumerate(rows)]
        lines = write_csv(path, [note for note, _ in rows], blank=before, newline=newline, header=header)
        expected |= {f"{path.name}-{row}": line for row, line in enumerate(lines)}
    names = {} if header else {"header": False, "names": ["id", "t", "note"]}
    rows = landed(folder / "*.csv", folder / "out", **names)
    assert {row["id"]: row["source_line"] for row in rows} == expected
    assert [row["id"] for row in rows] == list(expected)
    notes = [note or None for file in files for note, _ in file]
    assert [row["note"] and row["note"].replace("\r\n", "\n") for row in rows] == notes
    assert [row["source_row"] for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("blank", [0, 1])
def test_rows_that_where_leaves_out_are_counted(tmp_path: Path, blank: int) -> None:
    notes = ["keep", "drop", "drop", "keep", "drop"]
    lines = [write_csv(tmp_path / name, notes, blank=[blank] * 5) for name in ("a.csv", "b.csv")]
    rows = landed(tmp_path / "*.csv", tmp_path / "out", where={"note": ["keep"]})
    assert [row["source_line"] for row in rows] == [lines[0][0], lines[0][3], lines[1][0], lines[1][3]]
    assert [row["source_row"] for row in rows] == [1, 4, 6, 9]


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_rows_of_many_chunks_and_files_keep_their_order_and_lines(tmp_path: Path, name: str) -> None:
    # Several chunks of the scan and several vectors and buffers of DuckDB, which reads them on two threads.
    for part in range(3):
        write_csv(tmp_path / f"{part}-{name}", [f"{'x' * 60}{row}" for row in range(30_000)], blank=[0] * 30_000)
    rows = landed(tmp_path / f"*-{name}", tmp_path / "out")
    assert [row["id"] for row in rows] == [f"{part}-{name}-{row}" for part in range(3) for row in range(30_000)]
    assert [row["source_line"] for row in rows] == [row + 2 for _ in range(3) for row in range(30_000)]
    assert [row["source_row"] for row in rows] == list(range(1, 90_001))


def test_a_column_called_file_index_does_not_hide_the_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"id,t,note,file_index\n{name}1,{TIME},x,9\n{name}2,{TIME},x,9\n")
    assert [row["source_line"] for row in landed(tmp_path / "*.csv", tmp_path / "out")] == [2, 3, 2, 3]


def test_a_long_field_does_not_hide_the_lines(tmp_path: Path) -> None:
    lines = write_csv(tmp_path / "a.csv", ["two\nlines", "x" * 1_000_000, "y"], blank=[0, 1, 0])
    assert [row["source_line"] for row in landed(tmp_path / "a.csv", tmp_path / "out")] == lines == [2, 5, 6]


def test_json_lines_count_blank_ones_and_parquet_has_none(tmp_path: Path) -> None:
    row = json.dumps({"id": "a", "t": TIME, "note": "x"})
    (tmp_path / "plain.json").write_text(f"{row}\n{row}\n")
    (tmp_path / "blank.json").write_text(f"\n{row}\n  \t\n\n {row}\r\n\r\n{row}")
    assert [r["source_line"] for r in landed(tmp_path / "plain.json", tmp_path / "o1", format="jsonlines")] == [1, 2]
    assert [r["source_line"] for r in landed(tmp_path / "blank.json", tmp_path / "o2", format="jsonlines")] == [2, 5, 7]
    both = landed(tmp_path / "*.json", tmp_path / "o3", format="jsonlines")
    assert [row["source_line"] for row in both] == [2, 5, 7, 1, 2]
    pq.write_table(
        pq.read_table(tmp_path / "o1" / str(DAY) / "events.parquet").rename_columns(
            ["id", "t", "note", *(f"x{n}" for n in range(4))]
        ),
        tmp_path / "log.parquet",
    )
    rows = landed(tmp_path / "log.parquet", tmp_path / "o4", format="parquet")
    assert [(row["source_line"], row["source_row"]) for row in rows] == [(None, 1), (None, 2)]


def scan(path: Path, data: bytes, **settings: Any) -> tuple[int, bool]:
    path.write_bytes(data)
    found = scan_text(TableSpec.model_validate({"path": "-", "format": "csv", "time": "t"} | settings), path)
    return found.lines, found.plain


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a,t\n1,2\n", (2, True)),
        (b"a,t\r\n1,2", (2, True)),
        (b'a,t\n"1","2"\n', (2, True)),
        (b'a,t\n"1\n2",3\n', (3, False)),
        (b"a,t\n\n1,2\n", (3, False)),
        (b"a,t\r\n\r\n1,2\r\n", (3, False)),
        (b"a,t\r1,2\r", (1, False)),
        (b'a,t\n5" disk,2\n', (2, False)),
    ],
)
def test_a_file_is_plain_only_where_every_line_is_a_record(
    tmp_path: Path, data: bytes, expected: tuple[int, bool]
) -> None:
    assert scan(tmp_path / "a.csv", data) == expected


def test_a_long_line_is_one_line(tmp_path: Path) -> None:
    data = b"a,t\n" + b"1," + b"x" * 1_900_000 + b"\n2,y\n" + b"z" * 600_000 + b",w\n"
    assert scan(tmp_path / "a.csv", data) == (4, True)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.csv", b"a,t\n1,2\n3,\x00\x00\n", r"a\.csv holds NUL bytes, the first in line 3"),
        ("a.csv", "a,t\n1,2\n".encode("utf-16"), "holds NUL bytes, the first in line 1: .* or is not UTF-8"),
        ("a.csv", b"\n \n\r\n", r"a\.csv is empty \(nothing but blank lines\)"),
        ("a.csv.gz", gzip.compress(b""), "is empty"),
        ("a.csv", b"\r\na,t\n1,2\n", "begins with a blank line, above its header"),
        ("a.csv.gz", gzip.compress(b"a,t\n1,2\n" * 1000)[:-9], r"a\.csv\.gz: Truncated compressed stream"),
        ("a.csv.gz", b"a,t\n1,2\n", r"a\.csv\.gz: .*incorrect header"),
    ],
)
def test_damage_that_duckdb_may_not_see_is_refused_by_name(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    with pytest.raises(LandingRefused, match=f"{why}.*then materialize the day again"):
        scan(tmp_path / name, data)


def test_a_header_is_read_as_duckdb_names_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbf" a";t ;;"x;""y""";NULL\n1;2;3;4;5\n')
    table = TableSpec(path="-", format="csv", time="t", delimiter=";")
    assert csv_header(table, path) == ["a", "t", "", 'x;"y"', ""]
