"""Trends by past receipts: a value a day, gaps where there is no receipt, and the pictures that show both."""

import re
from datetime import date, timedelta
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_checks.receipts import Receipt, RuleResult
from data_checks.review_chart import describe, draw, number
from data_checks.review_trends import TREND_DAYS, Trend, TrendPoint, day_trends, rule_trend

DAY = date(2026, 3, 31)


def make_rule(rule: str = "drift.psi", **changes: Any) -> RuleResult:
    content = {"rule": rule, "family": "drift", "effect": "warn", "failed": False, "judged": 1, "rows": 0, "share": 0}
    return RuleResult.model_validate({**content, "threshold": 0.25, **changes})


def make_receipt(
    age: int, *, rules: tuple[RuleResult, ...] = (), verdict: str = "admitted", rows: int = 100
) -> Receipt:
    content = dict.fromkeys(("rows_in", "impressions", "admitted", "mature"), rows)
    return Receipt.model_validate(
        {
            **content,
            "dataset": "shop",
            "day": DAY - timedelta(days=age),
            "input_version": "v",
            "rules_version": "r",
            "label_horizon": None,
            "events": None,
            "quarantined": 0,
            "bad_share": 0,
            "max_bad_share": 0.05,
            "clicks": rows // 10,
            "conversions": rows // 100,
            "verdict": verdict,
            "reasons": ("bad",) if verdict == "refused" else (),
            "rules": rules,
            "content_sha256": "c",
            "quarantine_sha256": "q",
        }
    )


@given(ages=st.sets(st.integers(1, 60)), rows=st.integers(1, 5000))
def test_there_is_a_point_a_day_and_a_gap_where_there_is_no_receipt(ages: set[int], rows: int) -> None:
    history = [make_receipt(age, rows=rows + age) for age in ages]
    volume, clicks, conversions = day_trends(make_receipt(0, rows=rows), history)
    for trend in (volume, clicks, conversions):
        assert [point.day for point in trend.points] == [DAY - timedelta(days=age) for age in range(29, -1, -1)]
        known = {(DAY - point.day).days for point in trend.points if point.verdict is not None}
        assert known == {0} | {age for age in ages if age < TREND_DAYS}
    expected = {DAY - timedelta(days=age): rows + age for age in ages if age < TREND_DAYS} | {DAY: rows}
    assert {point.day: point.value for point in volume.points if point.value is not None} == expected
    earlier = [value for day, value in expected.items() if day != DAY]
    assert volume.usual == (median(earlier) if earlier else None)


def test_rates_are_of_admitted_rows_and_of_clicks_and_unknown_where_there_are_none() -> None:
    _, clicks, conversions = day_trends(make_receipt(0, rows=200), [make_receipt(1, rows=5)])
    assert (clicks.today, conversions.today) == (0.1, 0.1)
    assert (clicks.points[-2].value, conversions.points[-2].value) == (0.0, None)


def test_a_rule_on_the_day_shows_what_it_observed_and_one_on_rows_its_share() -> None:
    today = make_receipt(0, rules=(make_rule(observed=0.4, failed=True), make_rule("schema.x", share=0.02, judged=100)))
    before = make_receipt(1, rules=(make_rule(observed=0.1), make_rule("schema.x", share=0.01, judged=100)))
    unjudged = make_receipt(2, rules=(make_rule(judged=0, why="too few days"), make_rule("schema.x", judged=0)))
    other_rules = make_receipt(3)
    drift, shares = (rule_trend(rule, today, [before, unjudged, other_rules]) for rule in today.rules)
    assert [point.value for point in drift.points[-4:]] == [None, None, 0.1, 0.4]
    assert [point.value for point in shares.points[-4:]] == [None, None, 0.01, 0.02]
    assert (drift.unit, drift.bound, shares.unit) == ("value", 0.25, "share")


def test_the_reviewed_day_itself_counts_once_and_as_it_is_now() -> None:
    stale = make_receipt(0, rows=9999)
    volume, *_ = day_trends(make_receipt(0, rows=100), [stale, make_receipt(1, rows=50)])
    assert (volume.today, volume.usual) == (100, 50)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(25000.0, "count", "25,000"), (0.0412, "share", "4.12 %"), (0.31234, "value", "0.3123"), (0.0, "share", "0 %")],
)
def test_numbers_are_written_as_people_read_them(value: float, unit: Any, expected: str) -> None:
    assert number(value, unit) == expected


def make_trend(
    values: list[float | None], *, bound: float | None = None, verdicts: dict[int, Any] | None = None
) -> Trend:
    points = [
        TrendPoint(
            day=DAY - timedelta(days=len(values) - 1 - place),
            value=value,
            verdict=(verdicts or {}).get(place, None if value is None else "admitted"),
        )
        for place, value in enumerate(values)
    ]
    return Trend(title="drift.psi", unit="value", points=tuple(points), bound=bound)


def test_lines_join_neighbouring_days_only_and_gaps_are_bands() -> None:
    drawn = draw(make_trend([1.0, 2.0, None, None, 3.0, None, 1.0, 2.0]))
    assert len(re.findall(r'class="line"', drawn)) == 2
    assert [float(width) for width in re.findall(r'class="gap"[^>]*width="([\d.]+)"', drawn)] == [77.0, 38.5]
    assert len(re.findall(r"<circle", drawn)) == 5, "a day between gaps is a dot all the same"


def test_refused_days_and_the_reviewed_day_can_be_told_apart() -> None:
    drawn = draw(make_trend([1.0, 2.0, 0.5], verdicts={1: "refused", 2: "refused"}))
    assert re.findall(r'class="(dot[^"]*)"', drawn) == ["dot", "dot refused", "dot refused today"]


def test_everything_drawn_lies_inside_the_picture() -> None:
    for values, bound in (([10.0, -5.0, 0.0], 8.0), ([0.0, 0.0, 0.0], None), ([0.2, None, 0.1], 0.9)):
        drawn = draw(make_trend(list(values), bound=bound))
        heights = [float(y) for y in re.findall(r'(?:cy|y)="([-\d.]+)"', drawn)]
        assert all(0 <= y <= 124 for y in heights), drawn
        assert all(0 <= float(x) <= 320 for x in re.findall(r'(?:cx|x)="([-\d.]+)"', drawn))


def test_the_picture_says_in_words_what_it_shows() -> None:
    trend = make_trend([0.1, 0.3, None, 0.4], bound=0.25)
    assert describe(trend) == "this day 0.4, median of the 2 days before 0.2, bound 0.25"
    assert 'aria-label="drift.psi: this day 0.4, median' in draw(trend)
    assert describe(make_trend([0.1, 0.4])) == "this day 0.4, the one day before 0.1"
    assert describe(make_trend([None, None])) == "this day not measured, no earlier day to compare with"


def test_a_hostile_title_stays_text() -> None:
    trend = make_trend([1.0]).model_copy(update={"title": '"><script>'})
    assert "<script>" not in draw(trend)
