import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

from data_checks.receipts import FAMILIES, Receipt
from data_checks.review import COLUMNS, NOT_APPLICABLE, failed_rules, family_results


def test_a_clean_day_passes_in_every_family_and_says_what_was_not_judged(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    results = family_results(judge([build.row(1)]), quarantine="q.parquet")
    assert [result.family for result in results] == list(FAMILIES)
    assert all(result.passed and not result.records for result in results)
    volume = results[-1]
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
    assert str(first["sample row 2"]).startswith("impression_id=i2, click=0, conversion=1")
    assert first["sample row 3"] == first["trailing median"] == NOT_APPLICABLE
    assert first["quarantine"] == "/q/quarantine.parquet"
    assert {type(value) for record in records for value in record.values()} <= {str, int, float}


def test_receipts_and_review_load_nothing_heavy() -> None:
    heavy = "{'great_expectations', 'pandas', 'duckdb', 'pyarrow', 'numpy', 'dagster', 'torch'}"
    code = f"import sys, data_checks.receipts, data_checks.review; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
