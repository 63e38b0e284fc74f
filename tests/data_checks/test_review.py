"""A receipt as reviewers see it: failed rules by weight, families, and where bad rows came from."""

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

from data_checks.receipts import FAMILIES, Receipt
from data_checks.review import (
    COLUMNS,
    NOT_APPLICABLE,
    failed_by_weight,
    failed_rules,
    family_results,
    rules_to_blame,
    sample_rows,
    where,
)


def test_a_clean_day_passes_in_every_family_and_says_what_was_not_judged(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    results = family_results(judge([build.row(1)]), quarantine="q.parquet")
    assert [result.family for result in results] == list(FAMILIES)
    assert all(result.passed and not result.records for result in results)
    [volume] = [result for result in results if result.family == "volume"]
    assert "volume.below_trailing_median not judged: 0 admitted days" in volume.why


def test_bad_rows_within_the_bound_are_shown_and_stay_green(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    rows = [build.row(number, duplicate_rank=2 if number == 0 else 1) for number in range(100)]
    receipt = judge(rows, spec=build.spec())
    duplicates = family_results(receipt, quarantine="q.parquet")[3]
    assert (duplicates.family, duplicates.passed, duplicates.bad_rows) == ("duplicates", True, 1)
    assert duplicates.records[0]["rule"] == "duplicates.impression_repeated"


def test_a_refused_day_is_red_only_in_the_family_to_blame(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    rows = [
        build.row(number, click=0 if number < 30 else 1, duplicate_rank=1 + (number == 99)) for number in range(100)
    ]
    receipt = judge(rows, spec=build.spec())
    assert receipt.verdict == "refused"
    passed = {result.family: result.passed for result in family_results(receipt, quarantine="q.parquet")}
    assert passed == {family: family != "label_consistency" for family in FAMILIES}


def test_where_only_the_sum_passes_the_bound_every_family_with_bad_rows_is_red(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    rows = [build.row(n, click=0 if n < 4 else 1, duplicate_rank=1 + (n > 95)) for n in range(100)]
    receipt = judge(rows, spec=build.spec())
    assert receipt.verdict == "refused"
    failed = [result.family for result in family_results(receipt, quarantine="q") if not result.passed]
    assert failed == ["label_consistency", "duplicates"]


def test_an_empty_day_is_red_in_volume(judge: Callable[..., Receipt]) -> None:
    failed = [result for result in family_results(judge([]), quarantine="q") if not result.passed]
    assert [result.family for result in failed] == ["volume"]
    assert failed[0].why == "volume.empty_day: 0 against a bound of 1"


def test_the_table_holds_plain_values_most_bad_rows_first(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    rows = [build.row(1, click=0), build.row(2, click=0), build.row(3, user_key=None), build.row(4)]
    records = failed_rules(judge(rows), quarantine="/q/quarantine.parquet")
    assert [record["rule"] for record in records] == [
        "label_consistency.conversion_without_click",
        "schema.user_key_missing",
    ]
    first = records[0]
    assert tuple(first) == COLUMNS
    assert (first["bad rows"], first["share"], first["threshold"]) == (2, 0.5, 1.0)
    assert first["sample row 2"] == (
        "impression_id=i2, ✗ click=0, ✗ conversion=1, value=9.5 (impressions.parquet, row 2)"
    )
    assert first["sample row 3"] == first["trailing median"] == NOT_APPLICABLE
    assert first["quarantine"] == "/q/quarantine.parquet"
    assert {type(value) for record in records for value in record.values()} <= {str, int, float}


def test_sample_rows_name_rule_offending_cells_file_and_line(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    rows = [build.row(1, click=0, source_line=2), build.row(2, user_key=None), *(build.row(n) for n in range(3, 100))]
    found = sample_rows(judge(rows))
    assert [record["rule"] for record in found] == [
        "label_consistency.conversion_without_click",
        "schema.user_key_missing",
    ]
    assert [record["offending cells"] for record in found] == ["click=0, conversion=1", "user_key=NULL"]
    assert [record["file and line"] for record in found] == [
        "impressions.parquet, line 2",
        "impressions.parquet, row 2",
    ]
    assert sample_rows(judge([build.row(1)])) == ()


def test_what_refuses_the_day_weighs_more_than_what_is_most(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    receipt = judge([build.row(n, duplicate_rank=1 + (n < 30)) for n in range(100)], spec=build.spec())
    assert rules_to_blame(receipt) == {"duplicates.impression_repeated"}
    tolerated = judge([build.row(n, duplicate_rank=1 + (n < 3)) for n in range(100)], spec=build.spec())
    assert rules_to_blame(tolerated) == frozenset()
    assert [rule.rule for rule in failed_by_weight(tolerated)] == ["duplicates.impression_repeated"]
    broken = {"failed": True, "effect": "refuse"}
    rules = [rule.model_copy(update=broken if rule.rule == "volume.empty_day" else {}) for rule in tolerated.rules]
    both = tolerated.model_copy(update={"rules": tuple(rules)})
    assert rules_to_blame(both) == {"volume.empty_day"}
    assert [rule.rule for rule in failed_by_weight(both)] == ["volume.empty_day", "duplicates.impression_repeated"]


def test_a_row_without_a_file_is_shown_without_one() -> None:
    assert where({"field": "price"}) == ""
    assert where({"source_file": "a.csv"}) == "a.csv"
    assert where({"source_file": "a.csv", "source_row": "NULL", "source_line": "NULL"}) == "a.csv"
    assert where({"source_file": "a.csv", "source_row": "7", "source_line": "8"}) == "a.csv, line 8"


def test_receipts_and_review_load_nothing_heavy() -> None:
    heavy = "{'great_expectations', 'pandas', 'duckdb', 'pyarrow', 'numpy', 'dagster', 'torch'}"
    code = f"import sys, data_checks.receipts, data_checks.review; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_warnings_are_named_and_send_no_row_to_quarantine(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    rows = [build.row(n, item_key="a", user_key="u", order_id="o", value=float(n)) for n in (1, 2)]
    family = family_results(judge(rows), quarantine="q")[1]
    assert (family.family, family.passed, family.bad_rows) == ("label_consistency", True, 0)
    assert family.why == "warned of label_consistency.order_values_differ: 2 bad rows (100.00%)"


def test_of_a_rule_on_the_day_the_table_shows_the_first_three_records(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    records = tuple({"field": f"f{n}", "psi": "2.0"} for n in range(5))
    receipt = judge([])
    rules = tuple(r.model_copy(update={"samples": records, "offending": ("psi",)}) for r in receipt.rules if r.failed)
    [record] = failed_rules(receipt.model_copy(update={"rules": rules}), quarantine="q")
    assert [record[f"sample row {n}"] for n in (1, 2, 3)] == [f"field=f{n}, ✗ psi=2.0" for n in range(3)]
