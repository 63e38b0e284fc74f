"""A day judged whole: rows in = admitted + quarantined, verdicts, and what stops the judging."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from data_checks import validation
from data_checks.catalog import RULES
from data_checks.marks import SamplesInvalid
from data_checks.quarantine import RowsLost
from data_checks.receipts import EventCounts, Receipt
from data_checks.suites import RuleDisagreement
from data_checks.validation import validate_day

DAY = date(2026, 3, 2)


def test_clean_rows_are_all_admitted_in_their_order_and_unchanged(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path
) -> None:
    rows = [build.row(number) for number in range(300)]
    receipt = judge(rows)
    assert (receipt.verdict, receipt.rows_in, receipt.admitted, receipt.quarantined) == ("admitted", 300, 300, 0)
    assert (receipt.clicks, receipt.conversions, receipt.mature) == (300, 300, 300)
    assert receipt.labels_mature
    assert build.read(tmp_path / "admitted.parquet") == rows
    assert build.read(tmp_path / "quarantine.parquet") == []


def test_a_row_in_quarantine_is_whole_and_carries_all_its_rules(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path
) -> None:
    bad = build.row(5, click=0, value=-2.0, user_key=None)
    receipt = judge([build.row(1), bad, build.row(2)])
    assert receipt.by_rule() == {
        "schema.user_key_missing": 1,
        "schema.value_out_of_range": 1,
        "label_consistency.conversion_without_click": 1,
    }
    (kept,) = build.read(tmp_path / "quarantine.parquet")
    assert set(kept.pop("rule_ids")) == set(receipt.by_rule())
    assert kept == bad


def test_a_day_is_refused_just_above_the_bad_share_and_its_rows_are_kept_for_the_reviewer(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path
) -> None:
    rows = [build.row(number, click=7 if number < 5 else 1) for number in range(100)]
    at_the_bound = judge(rows, spec=build.spec(validation={"max_bad_share": 0.05}))
    assert at_the_bound.verdict == "admitted"
    above = judge(rows, spec=build.spec(validation={"max_bad_share": 0.049}))
    assert above.verdict == "refused"
    assert "5 of 100 rows are bad (5.00%)" in above.reasons[0]
    assert len(build.read(tmp_path / "admitted.parquet")) == 95


def test_the_first_three_bad_rows_are_shown_with_the_columns_that_matter(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    rows = [build.row(number, click=number if number % 2 else 1) for number in range(12)]
    result = next(r for r in judge(rows).rules if r.rule == "label_consistency.click_not_binary")
    assert result.rows == 5
    assert [sample["click"] for sample in result.samples] == ["3", "5", "7"]
    assert result.samples[0]["source_row"] == "3"
    assert "price" not in result.samples[0]


def test_same_input_gives_the_same_bytes_and_the_same_receipt(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path
) -> None:
    rows = [build.row(number, click=number % 3) for number in range(500)]
    first = judge(rows)
    bytes_before = [(tmp_path / name).read_bytes() for name in ("admitted.parquet", "quarantine.parquet")]
    second = judge(rows)
    assert [(tmp_path / name).read_bytes() for name in ("admitted.parquet", "quarantine.parquet")] == bytes_before
    assert first == second
    assert first.receipt_id == second.receipt_id
    assert judge(rows, input_version="v2").receipt_id != first.receipt_id


def test_infinite_times_are_bad_rows_not_a_crash(build: SimpleNamespace, tmp_path: Path) -> None:
    samples = build.write(tmp_path / "finite.parquet", [build.row(number) for number in range(4)])
    infinite = tmp_path / "samples.parquet"
    duckdb.execute(
        f"""COPY (SELECT * REPLACE (
            CASE source_row WHEN 0 THEN 'infinity'::TIMESTAMP ELSE impression_time END AS impression_time,
            CASE source_row WHEN 1 THEN '-infinity'::TIMESTAMP ELSE click_time END AS click_time,
            CASE source_row WHEN 2 THEN '294000-01-01'::TIMESTAMP ELSE conversion_time END AS conversion_time
        ) FROM '{samples}') TO '{infinite}' (FORMAT parquet)"""
    )
    receipt = validate_day(
        samples=infinite,
        spec=build.spec(validation={"max_bad_share": 1.0}),
        day=DAY,
        input_version="v1",
        history=(),
        label_horizon=None,
        events=None,
        admitted_to=tmp_path / "admitted.parquet",
        quarantined_to=tmp_path / "quarantine.parquet",
    )
    assert receipt.by_rule() == {
        "schema.time_not_finite": 2,
        "click_before_conversion.conversion_outside_window": 1,
    }


def test_an_empty_day_is_refused_unless_the_spec_allows_it(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path
) -> None:
    refused = judge([])
    assert refused.verdict == "refused"
    assert refused.reasons[0].startswith("volume.empty_day: 0 ")
    assert build.read(tmp_path / "admitted.parquet") == []
    allowed = judge([], spec=build.spec(validation={"allow_empty_days": True}))
    assert (allowed.verdict, allowed.reasons) == ("empty", ())


def test_orphans_alone_are_an_empty_day(build: SimpleNamespace, judge: Callable[..., Receipt]) -> None:
    receipt = judge([build.orphan("click"), build.orphan("conversion")])
    assert (receipt.impressions, receipt.quarantined, receipt.verdict) == (0, 2, "refused")
    assert any(reason.startswith("volume.empty_day") for reason in receipt.reasons)
    family = "click_before_conversion"
    assert receipt.by_rule() == {f"{family}.orphan_click": 1, f"{family}.orphan_conversion": 1}


def test_impressions_lost_between_landing_and_join_are_an_error(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path
) -> None:
    rows = [build.row(1), build.orphan("click")]
    assert judge(rows, events=EventCounts(impressions=1, clicks=2)).rows_in == 2
    (tmp_path / "admitted.parquet").unlink()
    with pytest.raises(RowsLost, match="2 impressions were landed, but 1 are in the joined table"):
        judge(rows, events=EventCounts(impressions=2))
    assert not (tmp_path / "admitted.parquet").exists()


def test_a_split_that_loses_rows_raises_and_replaces_nothing(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge([build.row(1)])
    before = (tmp_path / "admitted.parquet").read_bytes()
    facts = validation.gather_facts
    monkeypatch.setattr(validation, "gather_facts", lambda *args, **kwargs: replace(facts(*args, **kwargs), rows=3))
    monkeypatch.setattr(validation, "_hold_agreement", lambda *args, **kwargs: None)
    with pytest.raises(RowsLost, match="3 rows in, but 2 admitted"):
        judge([build.row(1), build.row(2)])
    assert (tmp_path / "admitted.parquet").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "admitted.parquet",
        "quarantine.parquet",
        "samples.parquet",
    ]


def test_a_mask_that_differs_from_its_expectation_stops_the_day(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path
) -> None:
    wrong = [
        replace(r, mask_sql=lambda spec: "FALSE") if r.id == "duplicates.impression_repeated" else r for r in RULES
    ]
    with pytest.raises(RuleDisagreement, match=r"duplicates\.impression_repeated: the SQL mask marks 0 rows"):
        judge([build.row(1, duplicate_rank=2)], rules=wrong)
    assert not (tmp_path / "admitted.parquet").exists()


def test_samples_without_a_column_or_with_another_type_are_refused_by_name(
    build: SimpleNamespace, tmp_path: Path
) -> None:
    whole = build.write(tmp_path / "whole.parquet", [build.row(1)])
    samples = tmp_path / "samples.parquet"
    duckdb.execute(f"COPY (SELECT * EXCLUDE (mature) REPLACE (click::VARCHAR AS click) FROM '{whole}') TO '{samples}'")
    with pytest.raises(
        SamplesInvalid, match="click should be BIGINT and is VARCHAR; mature should be BOOLEAN and is missing"
    ):
        validate_day(
            samples=samples,
            spec=build.spec(),
            day=DAY,
            input_version="v1",
            history=(),
            label_horizon=None,
            events=None,
            admitted_to=tmp_path / "admitted.parquet",
            quarantined_to=tmp_path / "quarantine.parquet",
        )


def test_a_table_longer_than_one_part_is_judged_whole(build: SimpleNamespace, tmp_path: Path) -> None:
    one = build.write(tmp_path / "one.parquet", [build.row(1)])
    samples = tmp_path / "samples.parquet"
    rows = 600_000  # a part holds 512,000
    duckdb.execute(
        f"""COPY (SELECT * EXCLUDE (i)
            REPLACE (i AS source_row, CASE WHEN i % 100000 = 99999 THEN 5 ELSE 1 END::BIGINT AS click)
            FROM '{one}', range({rows}) AS r(i)) TO '{samples}' (FORMAT parquet)"""
    )
    receipt = validate_day(
        samples=samples,
        spec=build.spec(),
        day=DAY,
        input_version="v1",
        history=(),
        label_horizon=None,
        events=None,
        admitted_to=tmp_path / "admitted.parquet",
        quarantined_to=tmp_path / "quarantine.parquet",
    )
    assert receipt.rows_in == rows
    result = next(r for r in receipt.rules if r.rule == "label_consistency.click_not_binary")
    assert (result.judged, result.rows) == (rows, 6)
    assert [sample["source_row"] for sample in result.samples] == ["99999", "199999", "299999"]
