"""Finding, describing and opening raw files: what is missing or broken is named, nothing is skipped."""

import gzip
import hashlib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.data.source_spec import TableSpec
from ml.data.sources.columns import RawColumns
from ml.data.sources.headers import column_types
from ml.data.sources.tables import (
    FILE_COLUMN,
    LandingRefused,
    describe_files,
    find_files,
    relation,
    selection,
)

DAY = date(2026, 1, 5)


def table(path: Path | str, **settings: Any) -> TableSpec:
    return TableSpec.model_validate({"path": str(path), "format": "csv", "time": "t"} | settings)


def rows(spec: TableSpec, paths: list[Path], columns: str = f"* EXCLUDE ({FILE_COLUMN})") -> list[tuple[Any, ...]]:
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
    (tmp_path / "2026-01-06.csv").symlink_to(tmp_path / "nowhere.csv")
    write(tmp_path / "2026-01-06b.csv", "a,t\n")
    with pytest.raises(LandingRefused, match=r"2026-01-06\.csv is no file \(a link to nothing\?\); deliver it"):
        find_files(table(tmp_path / "{day}*.csv"), day=DAY + timedelta(days=1))
    (tmp_path / "folder").mkdir()
    with pytest.raises(LandingRefused, match="a folder without files"):
        find_files(table(tmp_path / "folder"), day=None)


def test_folders_may_be_links_and_names_may_look_like_patterns(tmp_path: Path) -> None:
    # DuckDB takes brackets and stars in a name for a pattern, and reads another file.
    for name in ("part[1].csv", "part1.csv", "part*.csv", "day=2026-01-05/year=1999/a.csv"):
        write(tmp_path / "real" / name, f"a,t\n{name},x\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("part[1].csv", "part*.csv"):
        spec = table(tmp_path / "link" / name)
        files = find_files(spec, day=None)
        assert rows(spec, files) == [(name, "x")]
    spec = table(tmp_path / "link" / "day={day}" / "**" / "*.csv")
    assert rows(spec, find_files(spec, day=DAY)) == [("day=2026-01-05/year=1999/a.csv", "x")]


def test_bytes_that_are_text_are_text_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"t": pa.array(["é👩".encode()], pa.binary())}), path)
    assert rows(table(path, format="parquet"), [path]) == [("é👩",)]
    pq.write_table(pa.table({"t": pa.array([b"\xff\xfe"], pa.binary())}), path)
    with pytest.raises(duckdb.Error, match="not valid UTF8"):
        rows(table(path, format="parquet"), [path])


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LandingRefused, match=r"gone\.csv: No such file or directory; make it readable"):
        describe_files([tmp_path / "gone.csv"])


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
    assert set(types) == {"a", "late", FILE_COLUMN}
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
