"""What no single row shows: users whose labels are all alike, orders of several users or values, bots."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from data_checks.day_facts import nearest_rank
from data_checks.receipts import Receipt, RuleResult

UNLABELLED = {"click": 0, "conversion": 0, "click_time": None, "conversion_time": None, "value": None, "order_id": None}
CLICKED = {"conversion": 0, "conversion_time": None, "value": None, "order_id": None}


def _result(receipt: Receipt, rule: str) -> RuleResult:
    return next(result for result in receipt.rules if result.rule == rule)


def _shown(build: SimpleNamespace, user: str, times: int, start: int, **changes: Any) -> list[dict[str, Any]]:
    return [build.row(start + n, user_key=user, **changes) for n in range(times)]


@pytest.mark.parametrize(("clicks", "bad"), [(4, 0), (5, 5)])
def test_a_user_who_clicks_on_everything_is_quarantined_from_the_bound_on(
    build: SimpleNamespace, judge: Callable[..., Receipt], clicks: int, bad: int
) -> None:
    spec = build.spec(validation={"max_bad_share": 1.0, "one_sided_user_impressions": 5})
    rows = [
        *_shown(build, "script", clicks, 0, **CLICKED),
        *_shown(build, "eager", 9, 100, **CLICKED),
        *_shown(build, "eager", 1, 200, **UNLABELLED),
        *_shown(build, "usual", 20, 300, **UNLABELLED),
    ]
    receipt = judge(rows, spec=spec)
    assert receipt.by_rule() == ({"label_consistency.user_always_clicks": bad} if bad else {})
    assert _result(receipt, "label_consistency.user_always_clicks").judged == len(rows)


def test_where_half_of_all_impressions_are_clicked_nobody_is_one_sided(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    spec = build.spec(validation={"max_bad_share": 1.0, "one_sided_user_impressions": 5})
    rows = [*_shown(build, "eager", 10, 0, **CLICKED), *_shown(build, "usual", 10, 100, **UNLABELLED)]
    result = _result(judge(rows, spec=spec), "label_consistency.user_always_clicks")
    assert (result.judged, result.failed) == (0, False)
    assert "half of them have a click" in result.why


def test_a_repeated_impression_does_not_make_a_user_one_sided(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    spec = build.spec(validation={"max_bad_share": 1.0, "one_sided_user_impressions": 5})
    rows = [
        *_shown(build, "clicker", 4, 0, **CLICKED),
        *_shown(build, "clicker", 3, 10, duplicate_rank=2, **CLICKED),
        *_shown(build, "usual", 20, 100, **UNLABELLED),
    ]
    assert judge(rows, spec=spec).by_rule() == {"duplicates.impression_repeated": 3}


def test_an_account_that_buys_everything_is_quarantined(build: SimpleNamespace, judge: Callable[..., Receipt]) -> None:
    spec = build.spec(validation={"max_bad_share": 1.0, "one_sided_user_impressions": 5})
    rows = [*_shown(build, "test account", 5, 0), *_shown(build, "usual", 20, 100, **UNLABELLED)]
    assert judge(rows, spec=spec).by_rule() == {
        "label_consistency.user_always_clicks": 5,
        "label_consistency.user_always_converts": 5,
    }


def test_in_a_log_that_begins_at_the_click_everyone_clicks(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    table = {"path": "t.csv", "format": "csv", "time": "t", "impression_id": "i"}
    conversions = table | {"refers_to": "impression_id"}
    source = {"kind": "event_streams", "impressions": table, "clicks": "implied", "conversions": conversions}
    spec = build.spec(source=source, validation={"max_bad_share": 1.0, "one_sided_user_impressions": 2})
    receipt = judge([build.row(n, **CLICKED) for n in range(30)], spec=spec)
    assert receipt.by_rule() == {}
    why = "every impression of this log is a click"
    unjudged = {result.rule for result in receipt.rules if result.why == why}
    assert unjudged == {
        "label_consistency.user_always_clicks",
        "volume.unusual_click_rate",
        "volume.extreme_click_rate",
    }


def test_one_order_of_two_users_is_quarantined_and_a_basket_of_one_user_is_not(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    rows = [
        build.row(1, user_key="ana", item_key="a", order_id="basket"),
        build.row(2, user_key="ana", item_key="b", order_id="basket"),
        build.row(3, user_key="ana", order_id="shared"),
        build.row(4, user_key="ben", order_id="shared"),
        build.row(5, user_key="ben", order_id=None),
        build.row(6, user_key="eve", order_id=None),
    ]
    receipt = judge(rows)
    assert receipt.by_rule() == {"label_consistency.order_of_several_users": 2}
    assert _result(receipt, "label_consistency.order_of_several_users").judged == 4


def test_an_order_with_two_values_for_one_item_is_warned_of(
    build: SimpleNamespace, judge: Callable[..., Receipt]
) -> None:
    rows = [
        build.row(1, user_key="ana", item_key="a", order_id="lines", value=1.0),
        build.row(2, user_key="ana", item_key="b", order_id="lines", value=2.0),
        build.row(3, user_key="ana", item_key="a", order_id="corrected", value=3.0),
        build.orphan("conversion", 4, item_key="a", order_id="corrected", value=4.0, duplicate_rank=2),
        build.row(5, user_key="ana", item_key="a", order_id="repeated", value=5.0),
        build.orphan("conversion", 6, item_key="a", order_id="repeated", value=5.0, duplicate_rank=2),
        build.orphan("conversion", 7, item_key="a", order_id="corrected", value=None, duplicate_rank=3),
    ]
    receipt = judge(rows)
    result = _result(receipt, "label_consistency.order_values_differ")
    assert (result.effect, result.rows, result.judged) == ("warn", 2, 6)
    assert [sample["value"] for sample in result.samples] == ["3.0", "4.0"]
    assert receipt.by_rule() == {"duplicates.order_repeated": 3}
    assert (receipt.admitted, receipt.verdict) == (4, "admitted")


@pytest.mark.parametrize(("shown", "bad"), [(3, 0), (4, 4)])
def test_a_bot_has_more_impressions_than_the_minimum_and_than_the_quantile(
    build: SimpleNamespace, judge: Callable[..., Receipt], shown: int, bad: int
) -> None:
    usual = [build.row(100 + n, user_key=f"u{n}", **UNLABELLED) for n in range(9)]
    rows = [*_shown(build, "bot", shown, 0, **UNLABELLED), *usual]
    policy = {"max_bad_share": 1.0, "bot_min_impressions": 3, "bot_quantile": 0.9}
    receipt = judge(rows, spec=build.spec(validation=policy))
    assert receipt.by_rule() == ({"volume.bot_user": bad} if bad else {})
    assert _result(receipt, "volume.bot_user").judged == len(rows)
    # Of ten users none lies above the 95th percentile.
    few = build.spec(validation=policy | {"bot_quantile": 0.95})
    assert judge(rows, spec=few).by_rule() == {}


def test_nobody_is_a_bot_by_default_on_a_small_day(build: SimpleNamespace, judge: Callable[..., Receipt]) -> None:
    rows = [build.row(n, user_key="busy" if n else "other", **UNLABELLED) for n in range(2500)]
    assert judge(rows).by_rule() == {}


def test_the_nearest_rank_leaves_above_it_at_most_the_rest() -> None:
    assert nearest_rank([], 0.9999) == 0
    assert nearest_rank([(1, 9_999), (7, 1)], 0.9999) == 1
    assert nearest_rank([(1, 9_998), (7, 1)], 0.9999) == 7
    assert nearest_rank([(1, 5), (2, 5)], 0.5) == 1
    assert nearest_rank([(1, 4), (2, 6)], 0.5) == 2
