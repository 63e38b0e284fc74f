"""Quantities reach the expectations whole: every distinct value with the number of its rows."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks import quantities
from data_checks.expectations import between
from data_checks.quantities import Part, day_quantities, row_quantities
from data_checks.rules import Quantity, Rule, RuleContext, always


@pytest.fixture
def context(build: SimpleNamespace) -> RuleContext:
    return RuleContext(spec=build.spec(), day=build.day)


def _rule(name: str, sql: str, *, continuous: bool = False) -> Rule:
    return Rule(
        id=f"schema.{name}",
        effect="quarantine",
        description=name,
        mask_sql=always("FALSE"),
        quantity=Quantity(name=name, sql=always(sql), continuous=continuous),
        expectation=between(name, low=0),
    )


def _counted(parts: Iterator[Part] | list[Part]) -> dict[str, Counter[object]]:
    """Rows by quantity and value; places that only fill up a column hold no row and are left out."""
    found: dict[str, Counter[object]] = {}
    for part in parts:
        for name in part.values:
            assert part.values[name].dtype == np.float64
            assert len(part.rows[str(name)]) == len(part.values)
            counter = found.setdefault(str(name), Counter())
            for value, rows in zip(part.values[name], part.rows[str(name)], strict=True):
                if rows:
                    counter["null" if math.isnan(value) else value + 0.0] += int(rows)
    return found


def _write(connection: duckdb.DuckDBPyConnection, path: Path, sql: str) -> Path:
    connection.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet)")
    return path


_NUMBERS = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.0, math.inf, -math.inf, math.nan]), st.floats())


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(_NUMBERS, _NUMBERS), max_size=40))
def test_every_value_comes_with_the_rows_that_hold_it(
    build: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float | None, float | None]]
) -> None:
    context = RuleContext(spec=build.spec(), day=build.day)
    rules = [_rule("a", "a"), _rule("b", "b"), _rule("c", "b", continuous=True), _rule("again", "a")]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (a DOUBLE, b DOUBLE)")
        if rows:
            connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
        samples = _write(connection, tmp_path_factory.mktemp("q") / "samples.parquet", "FROM t")
        found = _counted(row_quantities(connection, samples=samples, rules=rules, context=context))

    def expected(place: int) -> Counter[object]:
        values = [row[place] for row in rows]
        return Counter("null" if value is None or math.isnan(value) else value + 0.0 for value in values)

    assert found == {
        "a": expected(0),
        "again": expected(0),
        "b": expected(1),
        # As they are, NULLs need no judging; a NaN is a null only to Great Expectations.
        "c": Counter({value: rows for value, rows in expected(1).items() if value != "null"})
        + Counter({"null": sum(b is not None and math.isnan(b) for _, b in rows)}),
    }


@pytest.mark.parametrize("continuous", [True, False])
def test_parts_of_many_values_are_bounded_and_lose_none(
    context: RuleContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, continuous: bool
) -> None:
    monkeypatch.setattr(quantities, "_VALUES_A_PART", 3000)
    monkeypatch.setattr(quantities, "_VECTORS", 1)
    monkeypatch.setattr(quantities, "_SHORT", 1000)
    rules = [_rule("many", "i", continuous=continuous), _rule("few", "i % 3"), _rule("none", "NULL::BIGINT")]
    with duckdb.connect() as connection:
        samples = _write(connection, tmp_path / "samples.parquet", "SELECT range AS i FROM range(20000)")
        parts = list(row_quantities(connection, samples=samples, rules=rules, context=context))
    assert max(len(part.values) for part in parts) <= 3000
    assert len(parts) > 9
    assert _counted(parts) == {
        "many": Counter({float(i): 1 for i in range(20000)}),
        "few": Counter({0.0: 6667, 1.0: 6667, 2.0: 6666}),
        "none": Counter({"null": 20000}),
    }


def test_a_long_column_does_not_stretch_the_short_ones(context: RuleContext, tmp_path: Path) -> None:
    rules = [_rule("long", "i"), _rule("short", "i % 2"), _rule("medium", "i % 3")]
    with duckdb.connect() as connection:
        samples = _write(connection, tmp_path / "samples.parquet", "SELECT range AS i FROM range(20000)")
        parts = list(row_quantities(connection, samples=samples, rules=rules, context=context))
    assert sorted((sorted(part.values), len(part.values)) for part in parts) == [
        (["long"], 20000),
        (["medium", "short"], 3),
    ]


def test_a_table_without_rows_still_has_a_part_for_every_quantity(context: RuleContext, tmp_path: Path) -> None:
    rules = [_rule("a", "a"), _rule("b", "a + 1", continuous=True)]
    with duckdb.connect() as connection:
        samples = _write(connection, tmp_path / "samples.parquet", "SELECT 1.0 AS a WHERE FALSE")
        parts = list(row_quantities(connection, samples=samples, rules=rules, context=context))
    assert _counted(parts) == {"a": Counter(), "b": Counter()}


def test_the_day_is_one_row_and_a_temporary_table_can_be_asked(context: RuleContext) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TEMP TABLE known AS SELECT 7 AS seven")
        rules = [_rule("a", "(SELECT seven FROM known)"), _rule("b", "NULL::BIGINT")]
        found = _counted(day_quantities(connection, rules=rules, context=context))
    assert found == {"a": Counter({7.0: 1}), "b": Counter({"null": 1})}
