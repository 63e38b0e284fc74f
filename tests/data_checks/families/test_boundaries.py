"""Every rule on rows at its boundary: the last row it lets pass and the first that it does not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from data_checks.catalog import RULES
from data_checks.receipts import Receipt
from ml.data.dataset import DatasetSpec

SHOWN = datetime(2026, 3, 2, 12)
TICK = timedelta(microseconds=1)
WINDOW = timedelta(seconds=3600)
W = timedelta(days=3)
DAY = timedelta(days=1)
NO_EVENTS = {"click": 0, "conversion": 0, "click_time": None, "conversion_time": None, "value": None, "order_id": None}
NOT_CONVERTED = {"conversion": 0, "conversion_time": None, "value": None, "order_id": None}
#: A text as long as the test's spec lets it be, in bytes.
LONGEST = "é" * 16
#: What an impression of a log with carts and favourites says of them where nothing was done.
STAGES = {"cart": 0, "favourite": 0}

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
    "a number at the least": {"price": -4.0},
    "a number at the most": {"price": 100.0},
    "a text at its longest": {"position": LONGEST},
    "a text with a tab": {"position": "a\tb"},
    "no tags and no weights": {"tags": None, "tags_weights": None},
    "no tags": {"tags": [], "tags_weights": []},
    "cart with the click": {"cart": 1, "cart_time": SHOWN, "click_time": SHOWN},
    "cart at the end of its window": {"cart": 1, "click_time": SHOWN, "cart_time": SHOWN + DAY - TICK},
    "favourite of an implied click": {"favourite": 1, "click_time": None, "favourite_time": SHOWN},
    "a conflict flag on the first copy": {"duplicate_conflict": True},
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
    "number below its range": ({"price": -4.01}, {"schema.number_out_of_range"}),
    "number above its range": ({"price": 100.01}, {"schema.number_out_of_range"}),
    "text too long": ({"position": LONGEST + "a"}, {"schema.text_malformed"}),
    "line break in an id": ({"item": "a1\na2"}, {"schema.text_malformed"}),
    "carriage return in an id": ({"user": "u1\r"}, {"schema.text_malformed"}),
    "NUL in a text": ({"position": "a\0b"}, {"schema.text_malformed"}),
    "a weight too few": ({"tags": ["a", "b"], "tags_weights": [1.0]}, {"schema.weights_mismatch"}),
    "no weights": ({"tags": ["a"], "tags_weights": None}, {"schema.weights_mismatch"}),
    "a weight that is none": ({"tags": ["a"], "tags_weights": [None]}, {"schema.weights_mismatch"}),
    "a weight that is not finite": ({"tags": ["a"], "tags_weights": [float("nan")]}, {"schema.weights_mismatch"}),
    "cart of 2": ({"cart": 2}, {"label_consistency.cart_not_binary"}),
    "no favourite label": ({"favourite": None}, {"label_consistency.favourite_not_binary"}),
    "cart without click": (NO_EVENTS | {"cart": 1}, {"label_consistency.cart_without_click"}),
    "favourite without click": (NO_EVENTS | {"favourite": 1}, {"label_consistency.favourite_without_click"}),
    "cart before click": (
        {"cart": 1, "click_time": SHOWN + TICK, "cart_time": SHOWN},
        {"click_before_conversion.cart_before_click"},
    ),
    "favourite before impression, no click time": (
        {"favourite": 1, "click_time": None, "favourite_time": SHOWN - TICK},
        {"click_before_conversion.favourite_before_click"},
    ),
    "cart at the end of its window": (
        {"cart": 1, "click_time": SHOWN, "cart_time": SHOWN + DAY},
        {"click_before_conversion.cart_outside_window"},
    ),
    "favourite at the end of its window": (
        {"favourite": 1, "click_time": SHOWN, "favourite_time": SHOWN + DAY},
        {"click_before_conversion.favourite_outside_window"},
    ),
    "another impression's id": (
        {"duplicate_rank": 2, "duplicate_conflict": True},
        {"duplicates.impression_conflicting"},
    ),
    "an unsaid conflict": ({"duplicate_rank": 2, "duplicate_conflict": None}, {"duplicates.impression_repeated"}),
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


@pytest.fixture(scope="module")
def staged(build: SimpleNamespace) -> DatasetSpec:
    """A log with every stage, a range for the price, and short texts."""
    ranges = {"price": {"min": -4, "max": 100}}
    return build.spec(stages=True, validation={"max_bad_share": 1.0, "fields": ranges, "max_text_length": 32})


def test_rows_within_every_bound_pass(
    build: SimpleNamespace, judge: Callable[..., Receipt], staged: DatasetSpec, tmp_path: Path
) -> None:
    rows = [build.row(n, **({"impression_time": SHOWN} | STAGES | case)) for n, case in enumerate(PASSING.values())]
    receipt = judge(rows, spec=staged)
    wrong = {
        name: row["rule_ids"]
        for name, case_row in zip(PASSING, rows, strict=True)
        for row in build.read(tmp_path / "quarantine.parquet")
        if row["source_row"] == case_row["source_row"]
    }
    assert wrong == {}
    assert receipt.admitted == len(PASSING)
    assert [result.rule for result in receipt.rules if result.effect == "warn" and result.failed] == []


def test_rows_beyond_a_bound_break_its_rule_and_no_other(
    build: SimpleNamespace, judge: Callable[..., Receipt], staged: DatasetSpec, tmp_path: Path
) -> None:
    rows = [build.row(n, **({"impression_time": SHOWN} | STAGES | case)) for n, (case, _) in enumerate(BROKEN.values())]
    receipt = judge(rows, spec=staged)
    found = {n: set() for n in range(len(rows))}
    for row in build.read(tmp_path / "quarantine.parquet"):
        found[row["source_row"]] |= set(row["rule_ids"])
    # Rows that are only warned of are admitted; the receipt shows them.
    for result in receipt.rules:
        if result.effect == "warn" and result.failed:
            assert len(result.samples) == result.rows
            for sample in result.samples:
                found[int(sample["source_row"])].add(result.rule)
    assert {name: found[n] for n, name in enumerate(BROKEN)} == {name: rules for name, (_, rules) in BROKEN.items()}


def test_orphans_and_repeated_orders_break_the_rule_of_their_kind_alone(
    build: SimpleNamespace, judge: Callable[..., Receipt], staged: DatasetSpec
) -> None:
    orphans = [build.orphan(kind, n) for n, kind in enumerate(("click", "cart", "favourite", "conversion"))]
    first = build.orphan("conversion", 5, order_id="o5", duplicate_rank=1)
    repeated = build.orphan("conversion", 6, order_id="o6", duplicate_rank=2)
    family = "click_before_conversion"
    assert judge([*orphans, first, repeated], spec=staged).by_rule() == {
        f"{family}.orphan_click": 1,
        f"{family}.orphan_cart": 1,
        f"{family}.orphan_favourite": 1,
        f"{family}.orphan_conversion": 2,
        "duplicates.order_repeated": 1,
    }


def test_events_of_a_stage_that_the_log_does_not_have_are_no_rows_of_it(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    receipt = judge([build.row(1), build.orphan("cart", 2)])
    assert receipt.by_rule() == {"schema.row_kind_unknown": 1}
    unjudged = {result.rule: result.why for result in receipt.rules if "cart" in result.rule}
    assert unjudged == dict.fromkeys(unjudged, "the log has no cart events")
    assert len(unjudged) == 5


@pytest.mark.parametrize(
    ("rule", "late", "early"),
    [
        ("click_before_impression", "impression_time", "click_time"),
        ("conversion_before_click", "click_time", "conversion_time"),
        ("cart_before_click", "click_time", "cart_time"),
    ],
)
def test_clock_skew_is_tolerated_up_to_its_bound(
    build: SimpleNamespace, judge: Callable[..., Receipt], rule: str, late: str, early: str
) -> None:
    spec = build.spec(validation={"max_bad_share": 1.0, "clock_skew_seconds": 2}, stages=True)
    shown = SHOWN if late == "impression_time" else SHOWN - timedelta(seconds=10)
    times = {"impression_time": shown, "click_time": None, "conversion_time": None, "cart": 1, late: SHOWN}
    skew = timedelta(seconds=2)
    rows = [build.row(n, favourite=0, **times | {early: SHOWN - skew - n * TICK}) for n in range(2)]
    assert judge(rows, spec=spec).by_rule() == {f"click_before_conversion.{rule}": 1}


def test_every_rule_on_rows_is_held_at_its_boundary() -> None:
    # Users and orders are several rows, and no Python time is infinite: these have tests elsewhere.
    elsewhere = {
        "schema.time_not_finite",
        "label_consistency.user_always_clicks",
        "label_consistency.user_always_converts",
        "label_consistency.order_of_several_users",
        "label_consistency.order_values_differ",
        "volume.bot_user",
        "duplicates.order_repeated",
        *(f"click_before_conversion.orphan_{kind}" for kind in ("click", "cart", "favourite", "conversion")),
    }
    here = set().union(*(rules for _, rules in BROKEN.values()))
    assert here | elsewhere == {rule.id for rule in RULES if rule.level == "row"}


def test_windows_of_zero_are_not_judged_and_the_receipt_says_so(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    late = {"click_time": SHOWN + timedelta(days=50), "conversion_time": SHOWN + timedelta(days=90)}
    spec = build.spec(validation={"max_bad_share": 1.0}, click_window_seconds=0, conversion_window_days=0)
    receipt = judge([build.row(1, **late)], spec=spec)
    assert receipt.by_rule() == {}
    assert receipt.admitted == 1
    unjudged = {result.rule: result.why for result in receipt.rules if "outside_window" in result.rule}
    unjudged = {rule: why for rule, why in unjudged.items() if "cart" not in rule and "favourite" not in rule}
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
