"""The pass over a day's rows: which rows break which rule, and what is no samples table."""

from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from data_checks.expectations import between
from data_checks.marks import Marked, SamplesInvalid, mark_day, mark_rows, require_columns
from data_checks.receipts import Effect
from data_checks.rules import Quantity, Rule, RuleContext, always
from ml.data.dataset import DatasetSpec


@pytest.fixture
def context(build: SimpleNamespace) -> RuleContext:
    return RuleContext(spec=build.spec(), day=build.day)


def _rule(name: str, mask: str, *, effect: Effect = "quarantine") -> Rule:
    return Rule(
        id=f"schema.{name}",
        effect=effect,
        description=name,
        mask_sql=always(mask),
        quantity=Quantity(name=name, sql=always("0")),
        expectation=between(name, low=0),
    )


def _samples(path: Path, sql: str) -> Path:
    duckdb.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    return path


def test_rows_that_break_a_rule_are_kept_with_their_place_and_null_is_no_mask(
    context: RuleContext, tmp_path: Path
) -> None:
    samples = _samples(tmp_path / "s.parquet", "SELECT range AS i, nullif(range, 4) AS n FROM range(10)")
    rules = [
        _rule("null_or_true", "CASE WHEN n >= 0 THEN i = 8 END"),
        _rule("warned", "i IN (4, 9)", effect="warn"),
        _rule("never", "NULL::BOOLEAN"),
    ]
    with duckdb.connect() as connection:
        found = mark_rows(connection, samples=samples, rules=rules, context=context)
        kept = connection.execute("SELECT * FROM broken ORDER BY position").fetchall()
    assert found == {
        "schema.null_or_true": Marked(rows=1, positions=(8,)),
        "schema.warned": Marked(rows=2, positions=(4, 9)),
        "schema.never": Marked(rows=0, positions=()),
    }
    assert kept == [(4, False, True, False, False), (8, True, False, False, True), (9, False, True, False, False)]


def test_places_run_through_all_row_groups_and_the_first_three_are_named(context: RuleContext, tmp_path: Path) -> None:
    samples = _samples(tmp_path / "s.parquet", "SELECT range AS i FROM range(10000)")
    with duckdb.connect() as connection:
        found = mark_rows(connection, samples=samples, rules=[_rule("odd", "i % 3000 = 2999")], context=context)
        places = connection.execute("SELECT position FROM broken").fetchall()
    assert found == {"schema.odd": Marked(rows=3, positions=(2999, 5999, 8999))}
    assert [place for (place,) in places] == [2999, 5999, 8999]


def test_a_day_breaks_a_rule_or_does_not(context: RuleContext) -> None:
    rules = [_rule("broken", "$day_start < $day_end"), _rule("kept", "FALSE"), _rule("unknown", "NULL::BOOLEAN")]
    with duckdb.connect() as connection:
        found = mark_day(connection, rules=rules, context=context)
    assert found == {"schema.broken": 1, "schema.kept": 0, "schema.unknown": 0}


def test_a_weighted_sequence_needs_its_weights(build: SimpleNamespace, tmp_path: Path) -> None:
    whole = build.write(tmp_path / "whole.parquet", [build.row(1)])
    spec: DatasetSpec = build.spec()
    fields = [
        field.model_copy(update={"weighted": True}) if field.kind == "sequence" else field for field in spec.fields
    ]
    weighted = spec.model_copy(update={"fields": tuple(fields)})
    samples = tmp_path / "samples.parquet"
    with duckdb.connect() as connection:
        require_columns(connection, samples=whole, spec=spec)
        with pytest.raises(SamplesInvalid, match=r"recent_items_weights should be DOUBLE\[\] and is missing"):
            require_columns(connection, samples=whole, spec=weighted)
        connection.execute(f"COPY (SELECT *, [0.5::DOUBLE] AS recent_items_weights FROM '{whole}') TO '{samples}'")
        require_columns(connection, samples=samples, spec=weighted)
