import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from data_checks import validation
from data_checks.catalog import RULES
from data_checks.marks import SamplesInvalid
from data_checks.quarantine import RowsLost
from data_checks.receipts import EventCounts, Receipt
from data_checks.suites import RuleDisagreement
from data_checks.validation import validate_day
from ml.data.dataset import DatasetSpec

DAY = date(2026, 3, 2)
NOON = datetime(DAY.year, DAY.month, DAY.day, 12)
MIDNIGHT = datetime(DAY.year, DAY.month, DAY.day)


def _broken_rules(row: dict[str, Any], spec: DatasetSpec) -> set[str]:
    """Every rule on rows once more, in plain Python, for UTC days."""
    broken = set()
    if row["row_kind"] not in ("impression", "click", "conversion"):
        broken.add("schema.row_kind_unknown")
    if row["row_kind"] in ("click", "conversion"):
        broken.add(f"click_before_conversion.orphan_{row['row_kind']}")
    if row["unparsed_count"] != 0:
        broken.add("schema.value_unreadable")
    value = row["value"]
    if value is not None and not (math.isfinite(value) and value >= 0):
        broken.add("schema.value_out_of_range")
    if row["price"] is not None and not math.isfinite(row["price"]):
        broken.add("schema.number_not_finite")
    if row["row_kind"] == "impression":
        broken |= _broken_by_impression(row, spec)
    return broken


def _broken_by_impression(row: dict[str, Any], spec: DatasetSpec) -> set[str]:
    shown, click_time, conversion_time = row["impression_time"], row["click_time"], row["conversion_time"]
    skew = timedelta(seconds=spec.validation.clock_skew_seconds)
    click_window = timedelta(seconds=spec.attribution.click_window_seconds)
    conversion_window = timedelta(days=spec.attribution.conversion_window_days)
    touched = click_time or shown
    value, converted = row["value"], row["conversion"] == 1
    found = {
        **{
            f"schema.{key}_missing": not (row[key] or "").strip(" ")
            for key in ("impression_id", "user_key", "item_key")
        },
        "schema.impression_time_missing": shown is None,
        "schema.impression_time_outside_day": shown is not None
        and not MIDNIGHT <= shown < MIDNIGHT + timedelta(days=1),
        "label_consistency.click_not_binary": row["click"] not in (0, 1),
        "label_consistency.conversion_not_binary": row["conversion"] not in (0, 1),
        "label_consistency.conversion_without_click": converted and row["click"] != 1,
        "label_consistency.value_without_conversion": value is not None and value != 0 and not converted,
        "click_before_conversion.click_before_impression": bool(shown and click_time and click_time < shown - skew),
        "click_before_conversion.conversion_before_click": bool(
            click_time and conversion_time and conversion_time < click_time
        ),
        "click_before_conversion.conversion_before_impression": bool(
            shown and conversion_time and conversion_time < shown - skew
        ),
        "click_before_conversion.click_outside_window": bool(
            click_window and shown and click_time and click_time - shown >= click_window
        ),
        "click_before_conversion.conversion_outside_window": bool(
            conversion_window and touched and conversion_time and conversion_time - touched >= conversion_window
        ),
        "duplicates.impression_repeated": (row["duplicate_rank"] or 0) > 1,
    }
    return {rule for rule, broken in found.items() if broken}


_TIMES = st.one_of(
    st.none(),
    st.sampled_from([MIDNIGHT, MIDNIGHT - timedelta(microseconds=1), MIDNIGHT + timedelta(days=1), NOON]),
    st.builds(lambda us: NOON + timedelta(microseconds=us), st.integers(-(10**6), 10**6)),
    st.builds(
        lambda seconds, us: NOON + timedelta(seconds=seconds, microseconds=us),
        st.sampled_from([-60, -1, 0, 60, 3600, 3 * 86400, 3 * 86400 + 3600]),
        st.sampled_from([-1, 0, 1]),
    ),
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),
)
_LABELS = st.sampled_from([0, 0, 1, 1, None, 2, -1, 2**62])
_FLOATS = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 5.0, -1e-300, math.inf, -math.inf, math.nan]), st.floats())
_KEYS = st.sampled_from(["k1", "k2", "ключ", " ", "", None])
#: A day takes a third of a second, and the error names the rule: shrinking would take minutes and tell little more.
_NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
_CHANGES = st.fixed_dictionaries(
    {
        "row_kind": st.sampled_from(["impression"] * 6 + ["click", "conversion", "banner", "", None]),
        "impression_id": _KEYS,
        "user_key": _KEYS,
        "item_key": _KEYS,
        "impression_time": _TIMES,
        "click_time": _TIMES,
        "conversion_time": _TIMES,
        "click": _LABELS,
        "conversion": _LABELS,
        "value": _FLOATS,
        "price": _FLOATS,
        "duplicate_rank": st.sampled_from([1, 1, 2, 3, None]),
        "unparsed_count": st.sampled_from([0, 0, 0, 1, None]),
    }
)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=_NO_SHRINKING,
)
@given(
    changes=st.lists(_CHANGES, max_size=60),
    skew=st.sampled_from([0, 60]),
    click_window=st.sampled_from([0, 60, 3600]),
    window_days=st.sampled_from([0, 3]),
)
def test_masks_expectations_and_plain_python_agree_on_any_rows(
    build: SimpleNamespace, changes: list[dict[str, Any]], skew: int, click_window: int, window_days: int
) -> None:
    spec = build.spec(
        validation={"max_bad_share": 1.0, "clock_skew_seconds": skew, "allow_empty_days": True},
        click_window_seconds=click_window,
        conversion_window_days=window_days,
    )
    rows = [build.row(number, **changed) for number, changed in enumerate(changes)]
    expected = [_broken_rules(row, spec) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        # validate_day itself raises RuleDisagreement when a mask and its expectation differ.
        receipt = validate_day(
            samples=build.write(where / "samples.parquet", rows),
            spec=spec,
            day=DAY,
            input_version="v1",
            history=(),
            label_horizon=None,
            events=None,
            admitted_to=where / "admitted.parquet",
            quarantined_to=where / "quarantine.parquet",
        )
        quarantined = build.read(where / "quarantine.parquet")
        admitted = build.read(where / "admitted.parquet")
    assert [set(row["rule_ids"]) for row in quarantined] == [rules for rules in expected if rules]
    assert [row["source_row"] for row in admitted] == [
        row["source_row"] for row, rules in zip(rows, expected, strict=True) if not rules
    ]
    for result in receipt.rules:
        if result.effect == "quarantine":
            assert result.rows == sum(result.rule in rules for rules in expected)
            assert result.judged >= result.rows
            assert len(result.samples) == min(3, result.rows)
            assert bool(result.why) == (result.judged == 0)


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
    monkeypatch.setattr(validation, "count_rows", lambda connection, *, samples: (3, 3))
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
