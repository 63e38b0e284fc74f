"""Facts about a row's user and order: counted once a day, the same as counting by hand."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks import row_groups
from data_checks.row_groups import columns_of, open_writer, read_row_groups

_LISTS = pa.list_(pa.dictionary(pa.int32(), pa.string()))


def _copy(path: Path) -> Path:
    columns = columns_of(path)
    schema, tables = read_row_groups(path, columns)
    out = path.with_suffix(".copy.parquet")
    with open_writer(out, schema=schema, columns=columns) as writer:
        for table in tables:
            table.validate(full=True)
            writer.write_table(table, row_group_size=len(table))
    return out


_NAMES = ["impression", "click", "cart", "", "ключ"]


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from([None, *_NAMES]), st.sampled_from([None, *_NAMES])), max_size=12))
def test_a_copy_holds_the_same_texts_whatever_the_dictionary_pages_are(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str | None, str | None]]
) -> None:
    path = tmp_path_factory.mktemp("pages") / "rows.parquet"
    # DuckDB writes an ENUM's page with an empty text for each value that no row has.
    kind = f"ENUM({', '.join(repr(name) for name in _NAMES)})"
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t (a {kind}, b {kind}, lists {kind}[])")
        for row in rows:
            connection.execute("INSERT INTO t VALUES ($1, $2, [$1, $2])", row)
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    expected = {"a": [a for a, _ in rows], "b": [b for _, b in rows], "lists": [list(row) for row in rows]}
    assert pq.read_table(_copy(path)).to_pydict() == expected


def test_a_page_with_equal_entries_is_told_from_one_without(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    duckdb.execute(
        f"""COPY (SELECT k::ENUM('impression', 'click', 'cart', 'conversion') AS equal, k AS sound
            FROM (SELECT CASE WHEN range = 0 THEN 'impression' ELSE 'conversion' END AS k FROM range(900)))
            TO '{path}' (FORMAT parquet)"""
    )
    columns = columns_of(path)
    assert columns.texts == ("equal", "sound")
    with pq.ParquetFile(path, read_dictionary=["equal", "sound"]) as file, path.open("rb") as raw:
        group = file.metadata.row_group(0)
        assert row_groups._misread(file.read_row_group(0), group, raw, columns) == ["equal"]
        assert [row_groups._page_entries(raw, group.column(n).dictionary_page_offset) for n in (0, 1)] == [4, 2]
        # Where no page header lies, nothing is believed.
        assert row_groups._page_entries(raw, path.stat().st_size - 3) is None
        assert row_groups._page_entries(raw, None) is None
    texts = ["impression", *["conversion"] * 899]
    assert pq.read_table(_copy(path)).to_pydict() == {"equal": texts, "sound": texts}


def test_texts_of_duckdb_are_copied_as_dictionaries_and_others_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    duckdb.execute(
        f"""COPY (SELECT 'v' || range % 50 AS repeated, 'i' || range AS own, ['a', 'v' || range % 7] AS list,
            range % 9 AS small, range AS whole, range / 7 AS number, NULL::VARCHAR AS nothing
            FROM range(10000)) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 4096)"""
    )
    columns = columns_of(path)
    assert columns.texts == ("repeated", "list.list.element")
    schema, tables = read_row_groups(path, columns)
    assert (schema.field("repeated").type, schema.field("list").type) == (_LISTS.value_type, _LISTS)
    assert [len(table) for table in tables] == [4096, 4096, 1808]
    copy = _copy(path)
    assert duckdb.execute(f"SELECT * FROM '{path}'").fetchall() == duckdb.execute(f"SELECT * FROM '{copy}'").fetchall()
    assert pq.read_metadata(copy).num_row_groups == 3
    assert columns_of(copy).texts == columns.texts
