"""Rows are split into admitted and quarantined, whole and in order, or nothing is written."""

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks.expectations import between
from data_checks.marks import mark_rows
from data_checks.quarantine import RowsLost, Split, split_rows
from data_checks.rules import Quantity, Rule, RuleContext, always

#: What a joined table may hold: texts that repeat and texts that do not, lists, weights, NULLs and the ends of types.
_COLUMNS = pa.schema(
    {
        "source_row": pa.int64(),
        "click": pa.int64(),
        "conversion": pa.int64(),
        "mature": pa.bool_(),
        "repeated": pa.string(),
        "own": pa.string(),
        "price": pa.float64(),
        "shown": pa.timestamp("us"),
        "recent": pa.list_(pa.string()),
        "weights": pa.list_(pa.float64()),
        "empty": pa.string(),
    }
)
_TEXTS = st.sampled_from([None, "", " ", "ключ", "🛒", "a" * 300, "x\x00y"])
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "click": st.sampled_from([0, 1, 1, 5, None]),
            "conversion": st.sampled_from([0, 1, None, 2**63 - 1, -(2**63)]),
            "mature": st.sampled_from([True, False, None]),
            "repeated": _TEXTS,
            "own": st.text(max_size=5).filter(lambda text: text.isprintable()),
            "price": st.one_of(st.none(), st.floats()),
            "shown": st.sampled_from([None, datetime(2026, 3, 2, 1), datetime(1, 1, 1), datetime(9999, 12, 31)]),
            "recent": st.one_of(st.none(), st.lists(_TEXTS, max_size=3)),
            "weights": st.one_of(st.none(), st.lists(st.sampled_from([0.5, math.inf, None]), max_size=3)),
        }
    ),
    max_size=40,
)


def _rule(name: str, mask: str, *, effect: Any = "quarantine") -> Rule:
    return Rule(
        id=f"schema.{name}",
        effect=effect,
        description=name,
        mask_sql=always(mask),
        quantity=Quantity(name=name, sql=always("0")),
        expectation=between(name, low=0),
    )


_RULES = (
    _rule("clicked_five", "click = 5"),
    _rule("negative", "conversion < 0 OR price < 0"),
    _rule("cheap", "price < 1", effect="warn"),
)


def _broken(row: dict[str, Any]) -> list[str]:
    price, conversion = row["price"], row["conversion"]
    found = {
        "schema.clicked_five": row["click"] == 5,
        "schema.negative": (conversion is not None and conversion < 0) or (price is not None and price < 0),
        "schema.cheap": price is not None and price < 1,
    }
    return [rule for rule, broken in found.items() if broken]


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    arrow = path.with_suffix(".arrow.parquet")
    numbered = [{**dict.fromkeys(_COLUMNS.names), **row, "source_row": number} for number, row in enumerate(rows)]
    pyarrow.parquet.write_table(pa.Table.from_pylist(numbered, schema=_COLUMNS), arrow)
    # Written by DuckDB, as the join does it: with dictionaries where values repeat.
    duckdb.execute(f"COPY (SELECT * FROM '{arrow}') TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    arrow.unlink()
    return path


def _split(
    samples: Path, *, build: SimpleNamespace, rows_in: int, look_at: Callable[[pa.Table], None] = lambda table: None
) -> Split:
    context = RuleContext(spec=build.spec(), day=build.day)
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        mark_rows(connection, samples=samples, rules=_RULES, context=context)
        with split_rows(
            connection,
            samples=samples,
            rules=_RULES,
            rows_in=rows_in,
            admitted_to=samples.parent / "admitted.parquet",
            quarantined_to=samples.parent / "quarantine.parquet",
            look_at=look_at,
        ) as split:
            return split


def _types(path: Path) -> list[tuple[str, str]]:
    return [row[:2] for row in duckdb.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()]


def _read(path: Path) -> list[dict[str, Any]]:
    found = duckdb.execute(f"SELECT * FROM '{path}'")
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@settings(max_examples=40, deadline=None)
@given(rows=_ROWS)
def test_every_row_lands_whole_in_one_file_in_its_order(
    build: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    samples = _write(tmp_path_factory.mktemp("split") / "samples.parquet", rows)
    split = _split(samples, build=build, rows_in=len(rows))
    admitted, quarantine = samples.parent / "admitted.parquet", samples.parent / "quarantine.parquet"
    quarantining = {"schema.clicked_five", "schema.negative"}
    everything = _read(samples)
    good = [row for row in everything if not quarantining & set(_broken(row))]
    bad = [row | {"rule_ids": _broken(row)} for row in everything if quarantining & set(_broken(row))]
    # NaN is not equal to itself, so the rows are compared as texts.
    assert list(map(repr, _read(admitted))) == list(map(repr, good))
    assert list(map(repr, _read(quarantine))) == list(map(repr, bad))
    assert _types(admitted) == _types(samples)
    assert _types(quarantine) == [*_types(samples), ("rule_ids", "VARCHAR[]")]
    assert split == Split(
        admitted=len(good),
        quarantined=len(bad),
        clicks=sum(row["click"] == 1 for row in good),
        conversions=sum(row["conversion"] == 1 for row in good),
        mature=sum(row["mature"] is True for row in good),
    )


def _many(count: int, *, bad_from: int) -> list[dict[str, Any]]:
    texts = ["🛒", "ключ", None]
    return [
        {"click": 5 if number >= bad_from else 1, "repeated": texts[number % 3], "own": f"i{number}", "recent": ["a"]}
        for number in range(count)
    ]


def test_bad_rows_are_found_in_the_row_group_they_lie_in(build: SimpleNamespace, tmp_path: Path) -> None:
    samples = _write(tmp_path / "samples.parquet", _many(6000, bad_from=4095))
    split = _split(samples, build=build, rows_in=6000)
    assert (split.admitted, split.quarantined, split.clicks) == (4095, 1905, 4095)
    assert [row["source_row"] for row in _read(tmp_path / "admitted.parquet")] == list(range(4095))
    assert [row["own"] for row in _read(tmp_path / "quarantine.parquet")] == [f"i{n}" for n in range(4095, 6000)]


def test_the_same_rows_give_the_same_bytes(build: SimpleNamespace, tmp_path: Path) -> None:
    samples = _write(tmp_path / "samples.parquet", _many(5000, bad_from=4990))
    files = [tmp_path / "admitted.parquet", tmp_path / "quarantine.parquet"]
    _split(samples, build=build, rows_in=5000)
    before = [file.read_bytes() for file in files]
    _split(samples, build=build, rows_in=5000)
    assert [file.read_bytes() for file in files] == before


def test_nan_among_the_admitted_is_still_found_by_sql(build: SimpleNamespace, tmp_path: Path) -> None:
    samples = _write(tmp_path / "samples.parquet", [{"price": math.nan}, {"price": 2.0}])
    _split(samples, build=build, rows_in=2)
    found = duckdb.execute(f"SELECT source_row FROM '{tmp_path / 'admitted.parquet'}' WHERE isnan(price)").fetchall()
    assert found == [(0,)]


def test_a_count_that_does_not_come_out_leaves_both_files_as_they_were(build: SimpleNamespace, tmp_path: Path) -> None:
    samples = _write(tmp_path / "samples.parquet", _many(10, bad_from=7))
    _split(samples, build=build, rows_in=10)
    files = sorted(path.name for path in tmp_path.iterdir())
    before = (tmp_path / "admitted.parquet").read_bytes()
    _write(samples, _many(10, bad_from=2))
    with pytest.raises(RowsLost, match="11 rows in, but 2 admitted \\+ 8 quarantined = 10; nothing was written"):
        _split(samples, build=build, rows_in=11)
    assert (tmp_path / "admitted.parquet").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_the_admitted_rows_can_be_looked_at_on_their_way(build: SimpleNamespace, tmp_path: Path) -> None:
    samples = _write(tmp_path / "samples.parquet", _many(5000, bad_from=4990))
    seen: list[pa.Table] = []
    _split(samples, build=build, rows_in=5000, look_at=seen.append)
    assert [row for table in seen for row in table["own"].to_pylist()] == [f"i{number}" for number in range(4990)]


def test_an_error_after_the_split_leaves_both_files_as_they_were(build: SimpleNamespace, tmp_path: Path) -> None:
    samples = _write(tmp_path / "samples.parquet", _many(10, bad_from=7))

    def fail(admitted: pa.Table) -> None:
        raise KeyError("a profile that cannot be made")

    with pytest.raises(KeyError, match="a profile"):
        _split(samples, build=build, rows_in=10, look_at=fail)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.parquet"]
