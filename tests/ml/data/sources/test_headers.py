"""Columns of raw files by their own headers: what each file lacks, what stands twice, and files that are no Parquet."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.data.source_spec import TableSpec
from ml.data.sources.headers import TableColumns, column_types, read_columns
from ml.data.sources.tables import FILE_COLUMN, LandingRefused, relation


def columns(*paths: Path, **settings: Any) -> TableColumns:
    table = TableSpec.model_validate({"path": "-", "format": "csv", "time": "t"} | settings)
    return read_columns(duckdb.connect(), table, paths)


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_columns_of_any_file_are_known_and_those_that_a_file_lacks_are_named(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1.csv", "a,t\n1,x\n"), write(tmp_path / "2.csv", "t,b\nx,2\n")
    found = columns(one, two)
    assert found.types == {"a": "VARCHAR", "t": "VARCHAR", "b": "VARCHAR"}
    assert found.lacking == {"a": two, "b": one}
    three, four = write(tmp_path / "3.json", '{"a": 1}\n{"t": [2]}\n'), write(tmp_path / "4.json", '{"t": "x"}\n')
    found = columns(three, four, format="jsonlines")
    assert (found.types, found.lacking) == ({"a": "JSON", "t": "JSON"}, {"a": four})


def test_parquet_columns_have_the_types_that_hold_every_files_values(tmp_path: Path) -> None:
    one, two = tmp_path / "1.parquet", tmp_path / "2.parquet"
    pq.write_table(pa.table({"t": pa.array([1], pa.int32()), "a": [1.5]}), one)
    pq.write_table(pa.table({"t": pa.array([2], pa.int64())}), two)
    found = columns(one, two, format="parquet")
    assert (found.types, found.lacking) == ({"t": "BIGINT", "a": "DOUBLE"}, {"a": two})


def test_columns_without_a_header_are_those_of_the_spec(tmp_path: Path) -> None:
    found = columns(write(tmp_path / "1.csv", "1,x\n"), header=False, names=["x", "y"])
    assert (set(found.types), found.lacking) == ({"x", "y"}, {})
    with pytest.raises(duckdb.Error):
        columns(tmp_path / "1.csv", header=False, names=["x", "y", "z"])


def test_the_names_found_are_those_by_which_the_relation_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "1.csv", '" a";t ;;"x;""y""";é\n1;2;3;4;5\n')
    table = TableSpec(path="-", format="csv", time="t", delimiter=";")
    read = column_types(duckdb.connect(), relation(table, [path]))
    assert set(read_columns(duckdb.connect(), table, [path]).types) == set(read) - {FILE_COLUMN, "column2"}


@pytest.mark.parametrize("header", ["a,t,a", "Price,t,price", "a,t,a "])
def test_a_column_named_twice_is_refused_upper_and_lower_case_being_one(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "3.csv", f"{header}\n1,x,2\n")
    with pytest.raises(LandingRefused, match=r"3\.csv names columns twice: (a|Price, price); rename"):
        columns(path)
    parquet = tmp_path / "4.parquet"
    names = [name.strip() for name in header.split(",")]
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 3, names=names), parquet)
    with pytest.raises(LandingRefused, match=r"4\.parquet names columns twice: (a|Price, price)"):
        columns(parquet, format="parquet")


def test_ten_thousand_columns_are_no_trouble(tmp_path: Path) -> None:
    path = write(tmp_path / "1.csv", ",".join(f"c{n}" for n in range(10_000)) + "\n" + ",".join("x" * 10_000) + "\n")
    assert len(columns(path, path).types) == 10_000


@pytest.mark.parametrize("content", ["PAR1 garbage PAR1", "no parquet at all"])
def test_a_file_that_is_no_parquet_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "a.parquet", content)
    with pytest.raises(LandingRefused, match=r"a\.parquet: not readable as parquet: .*; replace the file"):
        columns(path, format="parquet")


def test_a_decimal_of_more_digits_than_duckdb_holds_is_no_number_to_guess(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    digits = {"t": pa.array([Decimal(1)], pa.decimal256(50, 0)), "u": pa.array([Decimal(1)], pa.decimal128(38, 0))}
    pq.write_table(pa.table(digits), path)
    found = columns(path, format="parquet").types
    assert found == {"t": "a decimal of too many digits", "u": "DECIMAL(38,0)"}
