"""A day against the days before it: z-scores by their formula, weeks of a clean log, and what is not judged."""

import math
import random
from datetime import UTC, date, datetime, timedelta
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks.receipts import Receipt
from data_checks.trailing import clicks_are_in, rate_z, seasonal_z, silence_before_end, volume_z
from ml.data.dataset import ValidationSpec

#: A Monday, eight weeks after the log began.
DAY = date(2026, 3, 2)
POLICY = ValidationSpec()
WEEK = (1.0, 1.02, 0.98, 1.0, 1.1, 0.7, 0.6)


def _receipt(day: date, impressions: int, **changes: Any) -> Receipt:
    content = {
        "dataset": "shop",
        "day": day,
        "input_version": "v1",
        "rules_version": "r1",
        "label_horizon": None,
        "events": None,
        "rows_in": impressions,
        "impressions": impressions,
        "admitted": impressions,
        "quarantined": 0,
        "bad_share": 0.0,
        "max_bad_share": 0.05,
        "clicks": impressions // 10,
        "conversions": impressions // 100,
        "mature": impressions,
        "verdict": "admitted",
        "reasons": (),
        "rules": (),
        "content_sha256": "c",
        "quarantine_sha256": "q",
    }
    return Receipt.model_validate(content | changes)


def _plain_z(value: float, compared: list[float], floor: float, chance: float) -> float:
    middle = median(compared)
    spread = 1.4826 * median([abs(known - middle) for known in compared])
    return (value - middle) / max(spread, floor * middle, chance * (1 + math.pi / (2 * len(compared))) ** 0.5)


@given(
    value=st.floats(0, 1e6),
    past=st.dictionaries(st.integers(1, 60), st.floats(1, 1e6), max_size=35),
    chance=st.floats(0, 1e3),
)
def test_the_z_score_is_its_formula_over_equal_weekdays_or_else_all_days(
    value: float, past: dict[int, float], chance: float
) -> None:
    known = {DAY - timedelta(days=age): number for age, number in past.items()}
    found = seasonal_z(day=DAY, value=value, past=known, chance=lambda m: chance, swing=0.3, policy=POLICY)
    mondays = [number for age, number in past.items() if age % 7 == 0]
    compared, floor = (mondays, 0.05) if len(mondays) >= 4 else (list(past.values()), 0.3)
    if len(compared) < 4 or (compared is not mondays and len(compared) < 7):
        assert found.value is None
        assert "are needed (validation.season_*)" in found.why
    else:
        assert found.value == pytest.approx(_plain_z(value, compared, floor, chance))
        assert found.usual == median(compared)


def _seasonal_log(seed: int, *, days: int, level: float = 200_000, growth: float = 0.0025) -> dict[date, Receipt]:
    """A healthy log: a week's swing, growth by 1.8 % a week, 3 % of noise, rates of 10 % and 1 % with 2 % of noise and
    that of counting; the noise is of no more than 2 standard deviations, so that no day is an exception."""
    chance = random.Random(seed)

    def noise(scale: float) -> float:
        return 1 + scale * max(-2.0, min(2.0, chance.gauss(0, 1)))

    log = {}
    for age in range(days, -1, -1):
        day = DAY - timedelta(days=age)
        shown = int(level * (1 + growth) ** (days - age) * WEEK[day.weekday()] * noise(0.03))
        expected = [shown * rate * noise(0.02) for rate in (0.1, 0.01)]
        clicks, conversions = (round(number * noise(number**-0.5)) for number in expected)
        log[day] = _receipt(day, shown, clicks=clicks, conversions=conversions)
    return log


def _scores(day: date, log: dict[date, Receipt]) -> dict[str, float]:
    """Volume, click rate and conversion rate of a day against the season before it."""
    past = {other: log[other] for other in log if day - timedelta(days=POLICY.season_history_days) <= other < day}
    today = log[day]
    clicks = {other: (known.clicks, known.admitted) for other, known in past.items()}
    orders = {other: (known.conversions, known.admitted) for other, known in past.items()}
    found = {
        "volume": volume_z(day=day, impressions=today.impressions, past=past, policy=POLICY),
        "clicks": rate_z(day=day, events=today.clicks, rows=today.admitted, past=clicks, policy=POLICY),
        "conversions": rate_z(day=day, events=today.conversions, rows=today.admitted, past=orders, policy=POLICY),
    }
    return {name: measure.value for name, measure in found.items() if measure.value is not None}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_eight_weeks_of_a_clean_seasonal_log_raise_no_alarm_and_a_day_at_forty_percent_does(seed: int) -> None:
    log = _seasonal_log(seed, days=56)
    judged = 0
    for day in list(log)[1:]:
        scores = _scores(day, log)
        judged += len(scores)
        assert all(abs(score) <= POLICY.unusual_z for score in scores.values()), (day, scores)
    assert judged == 3 * (56 - 6)
    for day in list(log)[-7:]:
        lost = log[day].model_copy(update={"impressions": int(0.4 * log[day].impressions)})
        assert _scores(day, log | {day: lost})["volume"] < -POLICY.unusual_z
        fewer = log[day].model_copy(update={"conversions": int(0.4 * log[day].conversions)})
        assert _scores(day, log | {day: fewer})["conversions"] < -POLICY.unusual_z
        tripled = log[day].model_copy(update={"clicks": 3 * log[day].clicks})
        assert _scores(day, log | {day: tripled})["clicks"] > POLICY.extreme_rise_z


@pytest.mark.parametrize("days", [8, 56])
def test_a_label_stream_that_is_dead_is_refused_with_and_without_known_weekdays(days: int) -> None:
    log = _seasonal_log(5, days=days)
    dead = log[DAY].model_copy(update={"clicks": 0, "conversions": log[DAY].conversions // 10})
    scores = _scores(DAY, log | {DAY: dead})
    assert scores["clicks"] < -POLICY.extreme_fall_z
    assert scores["conversions"] < -POLICY.extreme_fall_z


def test_a_sunday_is_held_against_sundays() -> None:
    log = _seasonal_log(3, days=56)
    sunday = DAY - timedelta(days=1)
    assert sunday.weekday() == 6
    past = {day: log[day] for day in log if sunday - timedelta(days=35) <= day < sunday}
    usual = volume_z(day=sunday, impressions=log[sunday].impressions, past=past, policy=POLICY)
    as_a_monday = volume_z(day=DAY, impressions=log[sunday].impressions, past=past, policy=POLICY)
    assert usual.value is not None
    assert as_a_monday.value is not None
    assert abs(usual.value) < 3 < POLICY.unusual_z < -as_a_monday.value


def test_a_history_without_any_spread_alarms_on_no_small_change() -> None:
    past = {DAY - timedelta(days=7 * week): _receipt(DAY - timedelta(days=7 * week), 10_000) for week in range(1, 5)}
    for impressions, unusual, extreme in ((8_001, False, False), (7_999, True, False), (5_999, True, True)):
        z = volume_z(day=DAY, impressions=impressions, past=past, policy=POLICY).value
        assert z is not None
        assert ((z < -POLICY.unusual_z), (z < -POLICY.extreme_fall_z)) == (unusual, extreme)


def test_few_rows_or_events_are_not_judged_and_say_why() -> None:
    days = [DAY - timedelta(days=age) for age in range(1, 15)]
    small = volume_z(day=DAY, impressions=5, past={day: _receipt(day, 900) for day in days}, policy=POLICY)
    assert (small.value, small.why) == (
        None,
        "the median is 900 impressions; 1000 are needed (validation.volume_min_median_rows)",
    )
    rare = rate_z(day=DAY, events=0, rows=999, past=dict.fromkeys(days, (100, 1000)), policy=POLICY)
    assert (rare.value, rare.why) == (
        None,
        "99.9 events are to be expected; 100 are needed (validation.rate_min_events)",
    )
    enough = rate_z(day=DAY, events=0, rows=1000, past=dict.fromkeys(days, (100, 1000)), policy=POLICY)
    # Counting alone gives .0095 on a rate of .1, and the median of fourteen days a twentieth more.
    assert enough.value == pytest.approx(-0.1 / (0.1 * 0.9 / 1000 * (1 + math.pi / 28)) ** 0.5)
    assert rate_z(day=DAY, events=0, rows=0, past={}, policy=POLICY).why == "no rows were admitted"


@pytest.mark.parametrize(
    ("window", "seen_after", "complete"), [(3600, 0, True), (86_400, 0, False), (86_400, 82_080, True)]
)
def test_clicks_are_complete_once_hardly_one_can_come(
    build: SimpleNamespace, window: int, seen_after: int, complete: bool
) -> None:
    spec = build.spec(click_window_seconds=window)
    end = datetime(2026, 3, 3, tzinfo=UTC)
    assert clicks_are_in(spec=spec, day=DAY, horizon=end + timedelta(seconds=seen_after)) == complete
    assert clicks_are_in(spec=spec, day=DAY, horizon=None)


def test_silence_is_counted_to_the_day_s_end_beyond_the_usual(build: SimpleNamespace) -> None:
    spec, newest = build.spec(timezone="Asia/Shanghai"), datetime(2026, 3, 2, 12)
    found = silence_before_end(spec=spec, day=DAY, impressions=1000, newest=newest, past=[])
    assert (found.value, found.bound) == (4.0, 2.0)
    shop_hours = silence_before_end(spec=spec, day=DAY, impressions=1000, newest=newest, past=[3.0, 4.0, 4.5])
    assert (shop_hours.value, shop_hours.bound, shop_hours.usual) == (4.0, 6.0, 4.0)
    thin = silence_before_end(spec=spec, day=DAY, impressions=999, newest=newest, past=[])
    assert thin.value is None
    assert "1000 are needed" in thin.why
