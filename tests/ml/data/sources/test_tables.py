"""Finding, describing and opening raw files: what is missing or broken is named, nothing is skipped."""

import gzip
import hashlib
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.data.source_spec import TableSpec
from ml.data.sources.columns import RawColumns
from ml.data.sources.tables import (
    LandingRefused,
    column_types,
    common_columns,
    describe_files,
    find_files,
    relation,
    selection,
)

DAY = date(2026, 1, 5)


def table(path: Path | str, **settings: Any) -> TableSpec:
    return TableSpec.model_validate({"path": str(path), "format": "csv", "time": "t"} | settings)


def rows(spec: TableSpec, paths: list[Path], columns: str = "* EXCLUDE (filename)") -> list[tuple[Any, ...]]:
    return duckdb.sql(f"SELECT {columns} FROM {relation(spec, paths)}").fetchall()


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_the_files_of_a_day_are_found_sorted_and_only_they(tmp_path: Path) -> None:
    for name in ("day=2026-01-05/b.csv", "day=2026-01-05/a.csv", "day=2026-01-06/a.csv"):
        write(tmp_path / name, "x")
    (tmp_path / "day=2026-01-05" / "folder.csv").mkdir()
    found = find_files(table(tmp_path / "day={day}" / "*.csv"), day=DAY)
    assert [str(path.relative_to(tmp_path)) for path in found] == ["day=2026-01-05/a.csv", "day=2026-01-05/b.csv"]


def test_no_file_and_an_empty_file_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LandingRefused, match=r"no file at .*2026-01-05\.csv; deliver the file"):
        find_files(table(tmp_path / "{day}.csv"), day=DAY)
    write(tmp_path / "2026-01-05.csv", "")
    with pytest.raises(LandingRefused, match=r"2026-01-05\.csv is empty \(0 bytes\); deliver it again"):
        find_files(table(tmp_path / "{day}.csv"), day=DAY)
    (tmp_path / "folder").mkdir()
    with pytest.raises(LandingRefused, match="a folder without files"):
        find_files(table(tmp_path / "folder"), day=None)


def test_a_file_is_described_by_its_stored_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv.gz", gzip.compress(b"a\n1\n"))
    [described] = describe_files([path])
    assert described.path == str(path)
    assert described.bytes == path.stat().st_size
    assert described.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_csv_is_read_as_text_with_its_delimiter_quotes_and_nulls(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'a;t\n007;2026-01-05\n"x;""y""\nz";NULL\n;-\n')
    spec = table(path, delimiter=";", null_values=("", "NULL", "-"))
    assert rows(spec, [path]) == [("007", "2026-01-05"), ('x;"y"\nz', None), (None, None)]


def test_no_first_line_is_skipped_because_it_does_not_fit(tmp_path: Path) -> None:
    headless = {"header": False, "names": ["a", "t"]}
    path = write(tmp_path / "a.csv", "#1,x\n2,y\n")
    assert rows(table(path, **headless), [path]) == [("#1", "x"), ("2", "y")]
    write(path, "junk\n1,x\n2,y\n3,z\n")
    for spec in (table(path), table(path, **headless)):
        with pytest.raises(duckdb.Error):
            rows(spec, [path])


def test_json_values_keep_their_text_however_their_types_mix(tmp_path: Path) -> None:
    lines = "".join(f'{{"a": {n}}}\n' for n in range(25_000)) + '{"a": "n/a", "late": "2026-01-05 1:00:00"}\n'
    path = write(tmp_path / "a.json", lines)
    spec = table(path, format="jsonlines")
    types = column_types(duckdb.connect(), relation(spec, [path]))
    assert set(types) == {"a", "late", "filename"}
    raw = RawColumns(types)
    found = rows(spec, [path], f"{raw.text('a')}, {raw.text('late')}")
    assert (len(found), found[1], found[-1]) == (25_001, ("1", None), ("n/a", "2026-01-05 1:00:00"))


@pytest.mark.parametrize("format", ["csv", "jsonlines", "parquet"])
def test_where_keeps_the_rows_of_its_values_in_every_format(tmp_path: Path, format: str) -> None:
    path = tmp_path / "log"
    if format == "parquet":
        pq.write_table(pa.table({"kind": [1.0, 2.0, None, 3.0], "t": ["a", "b", "c", "d"]}), path)
    elif format == "csv":
        write(path, "kind,t\n1,a\n2,b\n,c\n3,d\n")
    else:
        write(path, '{"kind": 1, "t": "a"}\n{"kind": "2", "t": "b"}\n{"t": "c"}\n{"kind": 3.0, "t": "d"}\n')
    spec = table(path, format=format, where={"kind": ["2", "3"]})
    source = relation(spec, [path])
    raw = RawColumns(column_types(duckdb.connect(), source))
    kept = duckdb.sql(f"SELECT {raw.text('t')} FROM {selection(spec, raw, source)}").fetchall()
    assert kept == [("b",), ("d",)]


def test_a_column_named_twice_is_refused_and_common_columns_are_those_of_every_file(tmp_path: Path) -> None:
    connection = duckdb.connect()
    one, two = write(tmp_path / "1.csv", "a,t\n1,x\n"), write(tmp_path / "2.csv", "t,b\nx,2\n")
    assert common_columns(connection, table(one), [one, two]) == {"t"}
    twice = write(tmp_path / "3.csv", "a,t,a\n1,x,2\n")
    with pytest.raises(LandingRefused, match=r"3\.csv names columns twice: a; rename"):
        common_columns(connection, table(twice), [one, twice])
    parquet = tmp_path / "4.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["t", "t"]), parquet)
    with pytest.raises(LandingRefused, match=r"4\.parquet names columns twice: t"):
        common_columns(connection, table(parquet, format="parquet"), [parquet])
    assert common_columns(connection, table(one, header=False, names=["x", "y"]), [one]) is None
