"""Every rule on rows at its boundary: the last row it lets pass and the first that it does not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from data_checks.receipts import Receipt

SHOWN = datetime(2026, 3, 2, 12)
TICK = timedelta(microseconds=1)
WINDOW = timedelta(seconds=3600)
W = timedelta(days=3)
NO_EVENTS = {"click": 0, "conversion": 0, "click_time": None, "conversion_time": None, "value": None}
NOT_CONVERTED = {"conversion": 0, "conversion_time": None, "value": None}

PASSING: dict[str, dict[str, Any]] = {
    "no events": NO_EVENTS,
    "no times, labels alone": {"click_time": None, "conversion_time": None},
    "first moment of the day": {"impression_time": datetime(2026, 3, 2)} | NO_EVENTS,
    "last moment of the day": {"impression_time": datetime(2026, 3, 3) - TICK} | NO_EVENTS,
    "click with the impression": {"click_time": SHOWN, **NOT_CONVERTED},
    "click at the end of its window": {"click_time": SHOWN + WINDOW - TICK, **NOT_CONVERTED},
    "conversion with the click": {"click_time": SHOWN, "conversion_time": SHOWN},
    "conversion at the end of W": {"click_time": SHOWN, "conversion_time": SHOWN + W - TICK},
    "conversion at the end of W after the click": {
        "click_time": SHOWN + WINDOW - TICK,
        "conversion_time": SHOWN + WINDOW - TICK + W - TICK,
    },
    "a value of 0 without conversion": NO_EVENTS | {"value": 0.0},
    "a conversion without value": {"value": None},
    "a free order": {"value": 0.0},
    "a number that is absent": {"price": None},
    "a negative number": {"price": -4.0},
}

BROKEN: dict[str, tuple[dict[str, Any], set[str]]] = {
    "day before": (
        {"impression_time": datetime(2026, 3, 2) - TICK} | NO_EVENTS,
        {"schema.impression_time_outside_day"},
    ),
    "day after": ({"impression_time": datetime(2026, 3, 3)} | NO_EVENTS, {"schema.impression_time_outside_day"}),
    "no impression time": ({"impression_time": None}, {"schema.impression_time_missing"}),
    "no impression id": ({"impression_id": None}, {"schema.impression_id_missing"}),
    "blank user": ({"user_key": "  "}, {"schema.user_key_missing"}),
    "no item": ({"item_key": None}, {"schema.item_key_missing"}),
    "unread value": ({"unparsed_count": 2, "unparsed_columns": ["a", "b"]}, {"schema.value_unreadable"}),
    "unknown count of unread values": ({"unparsed_count": None}, {"schema.value_unreadable"}),
    "negative value": ({"value": -0.01}, {"schema.value_out_of_range"}),
    "NaN value": ({"value": float("nan")}, {"schema.value_out_of_range"}),
    "infinite value": ({"value": float("inf")}, {"schema.value_out_of_range"}),
    "NaN number": ({"price": float("nan")}, {"schema.number_not_finite"}),
    "infinite number": ({"price": float("-inf")}, {"schema.number_not_finite"}),
    "unknown kind": ({"row_kind": "banner"}, {"schema.row_kind_unknown"}),
    "no kind": ({"row_kind": None}, {"schema.row_kind_unknown"}),
    "click of 2": (NOT_CONVERTED | {"click": 2}, {"label_consistency.click_not_binary"}),
    "no click label": (NOT_CONVERTED | {"click": None}, {"label_consistency.click_not_binary"}),
    "conversion of -1": ({"conversion": -1, "value": None}, {"label_consistency.conversion_not_binary"}),
    "no conversion label": ({"conversion": None, "value": None}, {"label_consistency.conversion_not_binary"}),
    "conversion without click": ({"click": 0}, {"label_consistency.conversion_without_click"}),
    "value without conversion": (NO_EVENTS | {"value": 3.0}, {"label_consistency.value_without_conversion"}),
    "click before impression": (
        NOT_CONVERTED | {"click_time": SHOWN - TICK},
        {"click_before_conversion.click_before_impression"},
    ),
    "click at the end of its window": (
        NOT_CONVERTED | {"click_time": SHOWN + WINDOW},
        {"click_before_conversion.click_outside_window"},
    ),
    "conversion before click": (
        {"click_time": SHOWN + TICK, "conversion_time": SHOWN},
        {"click_before_conversion.conversion_before_click"},
    ),
    "conversion before impression, no click time": (
        {"click_time": None, "conversion_time": SHOWN - TICK},
        {"click_before_conversion.conversion_before_impression"},
    ),
    "conversion at the end of W": (
        {"click_time": SHOWN, "conversion_time": SHOWN + W},
        {"click_before_conversion.conversion_outside_window"},
    ),
    "conversion at the end of W, no click time": (
        {"click_time": None, "conversion_time": SHOWN + W},
        {"click_before_conversion.conversion_outside_window"},
    ),
    "second copy": ({"duplicate_rank": 2}, {"duplicates.impression_repeated"}),
}


def test_rows_within_every_bound_pass(build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Any) -> None:
    rows = [build.row(n, **({"impression_time": SHOWN} | case)) for n, case in enumerate(PASSING.values())]
    receipt = judge(rows)
    wrong = {
        name: row["rule_ids"]
        for name, case_row in zip(PASSING, rows, strict=True)
        for row in build.read(tmp_path / "quarantine.parquet")
        if row["source_row"] == case_row["source_row"]
    }
    assert wrong == {}
    assert receipt.admitted == len(PASSING)


def test_rows_beyond_a_bound_break_its_rule_and_no_other(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Any
) -> None:
    rows = [build.row(n, **({"impression_time": SHOWN} | case)) for n, (case, _) in enumerate(BROKEN.values())]
    judge(rows)
    found = {row["source_row"]: set(row["rule_ids"]) for row in build.read(tmp_path / "quarantine.parquet")}
    assert {name: found.get(n) for n, name in enumerate(BROKEN)} == {name: rules for name, (_, rules) in BROKEN.items()}


@pytest.mark.parametrize("kind", ["click", "conversion"])
def test_orphans_break_the_orphan_rule_of_their_kind_alone(
    build: SimpleNamespace, judge: Callable[..., Receipt], kind: str
) -> None:
    assert judge([build.row(1), build.orphan(kind, 2)]).by_rule() == {f"click_before_conversion.orphan_{kind}": 1}


def test_clock_skew_is_tolerated_up_to_its_bound(build: SimpleNamespace, judge: Callable[..., Receipt]) -> None:
    spec = build.spec(validation={"max_bad_share": 1.0, "clock_skew_seconds": 2})
    early = timedelta(seconds=2)
    rows = [
        build.row(1, impression_time=SHOWN, click_time=SHOWN - early, **NOT_CONVERTED),
        build.row(2, impression_time=SHOWN, click_time=SHOWN - early - TICK, **NOT_CONVERTED),
    ]
    receipt = judge(rows, spec=spec)
    assert receipt.by_rule() == {"click_before_conversion.click_before_impression": 1}


def test_windows_of_zero_are_not_judged_and_the_receipt_says_so(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    late = {"click_time": SHOWN + timedelta(days=50), "conversion_time": SHOWN + timedelta(days=90)}
    spec = build.spec(validation={"max_bad_share": 1.0}, click_window_seconds=0, conversion_window_days=0)
    receipt = judge([build.row(1, **late)], spec=spec)
    assert receipt.by_rule() == {}
    unjudged = {result.rule: result.why for result in receipt.rules if "outside_window" in result.rule}
    assert len(unjudged) == 2
    assert all("is 0 (no window)" in why for why in unjudged.values())


def test_the_day_is_the_day_of_the_datasets_time_zone(build: SimpleNamespace, judge: Callable[..., Receipt]) -> None:
    spec = build.spec(timezone="America/New_York", validation={"max_bad_share": 1.0})
    midnight = datetime(2026, 3, 2, tzinfo=ZoneInfo("America/New_York")).astimezone(UTC).replace(tzinfo=None)
    assert midnight.hour == 5
    rows = [
        build.row(n, **NO_EVENTS | {"impression_time": midnight + change})
        for n, change in enumerate([-TICK, TICK - TICK])
    ]
    assert judge(rows, spec=spec).by_rule() == {"schema.impression_time_outside_day": 1}
