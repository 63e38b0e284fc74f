"""The DuckDB connection and the quoting that keeps texts from becoming SQL."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.engine import connect, identifier, literal, parquet, statement, write_parquet

texts = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=20)


@settings(max_examples=40, deadline=None)
@given(value=texts)
def test_a_literal_is_its_text_and_nothing_else(value: str) -> None:
    assert duckdb.sql(f"SELECT {literal(value)}").fetchall() == [(value,)]


@settings(max_examples=40, deadline=None)
@given(name=texts.filter(bool))
def test_an_identifier_names_its_column_and_nothing_else(name: str) -> None:
    assert duckdb.sql(f"SELECT {identifier(name)} FROM (SELECT 1 AS {identifier(name)}) AS one").fetchall() == [(1,)]


def test_the_connection_reads_utc_spills_into_scratch_and_loads_nothing_from_the_net(tmp_path: Path) -> None:
    with connect(scratch=tmp_path / "deep" / "scratch", threads=1, memory_limit="1GB") as connection:

        def setting(name: str) -> object:
            row = connection.execute(f"SELECT current_setting('{name}')").fetchone()
            assert row is not None
            return row[0]

        assert setting("TimeZone") == "UTC"
        assert setting("temp_directory") == str(tmp_path / "deep" / "scratch")
        assert setting("threads") == 1
        assert setting("preserve_insertion_order") is True
        assert setting("autoinstall_known_extensions") is False
        assert setting("autoload_known_extensions") is False
        assert setting("memory_limit") == "953.6 MiB"
    assert (tmp_path / "deep" / "scratch").is_dir()


def test_a_statement_has_its_places_filled_and_none_left_empty() -> None:
    text = statement("event_counts", reference="shown", event_time="t", repeated="FALSE", events="(SELECT 1)")
    assert "{" not in text
    assert "FROM (SELECT 1)" in text
    with pytest.raises(KeyError, match="events"):
        statement("event_counts", reference="shown", event_time="t", repeated="FALSE")


def test_files_are_read_in_their_order_by_name_and_folders_add_no_column(tmp_path: Path) -> None:
    one, two = tmp_path / "day=2026-01-01", tmp_path / "it's"
    one.mkdir()
    two.mkdir()
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), one / "f.parquet")
    pq.write_table(pa.table({"b": ["z"], "a": [3]}), two / "f.parquet")
    found = duckdb.sql(f"SELECT * FROM {parquet([two / 'f.parquet', one / 'f.parquet'])}")
    assert found.columns == ["b", "a"]
    assert found.fetchall() == [("z", 3), ("x", 1), ("y", 2)]


def test_rows_are_written_in_their_order_into_a_folder_that_is_made(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "it's.parquet"
    with connect(scratch=tmp_path / "scratch") as connection:
        assert write_parquet(connection, "SELECT n FROM range(3) AS made(n) ORDER BY n DESC", out) == 3
        assert write_parquet(connection, "SELECT 7 AS n", out) == 1
    assert pq.read_table(out).to_pylist() == [{"n": 7}]
