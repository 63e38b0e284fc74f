"""Volume rules: what a day is held against, and where the bounds lie."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from statistics import median
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_checks.decisions import Decision
from data_checks.receipts import Receipt
from data_checks.trailing import admitted_days, volume_ratio
from ml.data.dataset import ValidationSpec

DAY = date(2026, 3, 2)


def _receipt(days_before: int, impressions: int, *, refused: bool = False) -> Receipt:
    return Receipt(
        dataset="shop",
        day=DAY - timedelta(days=days_before),
        input_version="v1",
        rules_version="r1",
        label_horizon=None,
        events=None,
        rows_in=impressions,
        impressions=impressions,
        admitted=impressions,
        quarantined=0,
        bad_share=0.0,
        max_bad_share=0.05,
        clicks=0,
        conversions=0,
        mature=0,
        verdict="refused" if refused else "admitted",
        reasons=("volume",) if refused else (),
        rules=(),
        content_sha256="c",
        quarantine_sha256="q",
    )


def _history(*volumes: int) -> list[Receipt]:
    return [_receipt(place + 1, volume) for place, volume in enumerate(volumes)]


def _spec(build: SimpleNamespace, **validation: float) -> object:
    return build.spec(validation={"volume_min_median_rows": 1, "max_bad_share": 1.0} | validation)


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (5, None),
        (4, "volume.below_trailing_median"),
        (30, None),
        (31, "volume.above_trailing_median"),
    ],
)
def test_a_day_is_refused_beyond_its_ratio_of_the_trailing_median(
    build: SimpleNamespace, judge: Callable[..., Receipt], rows: int, rule: str | None
) -> None:
    receipt = judge([build.row(n) for n in range(rows)], spec=_spec(build), history=_history(9, 10, 11))
    assert {result.rule: result.rows for result in receipt.rules if result.rows} == ({rule: rows} if rule else {})
    assert receipt.verdict == ("refused" if rule else "admitted")
    result = next(r for r in receipt.rules if r.rule == (rule or "volume.below_trailing_median"))
    assert (result.judged, result.observed, result.trailing_median) == (1, rows / 10, 10.0)
    if rule:
        assert receipt.reasons[0].startswith(f"{rule}: {rows / 10:g} against a bound of ")
        assert receipt.reasons[0].endswith("trailing median 10")


def test_orphans_do_not_fill_a_day(build: SimpleNamespace, judge: Callable[..., Receipt]) -> None:
    rows = [build.row(1), *(build.orphan("click", n) for n in range(9))]
    receipt = judge(rows, spec=_spec(build), history=_history(10, 10, 10))
    assert {result.rule: result.rows for result in receipt.rules}["volume.below_trailing_median"] == 10


@pytest.mark.parametrize(
    ("history", "why"),
    [
        ((), "0 admitted days in the 14 before; 3 are needed"),
        ((1000, 1000), "2 admitted days in the 14 before; 3 are needed"),
        ((5, 5, 5), "the trailing median is 5 impressions; below 1000"),
    ],
)
def test_what_was_not_judged_says_why(
    build: SimpleNamespace, judge: Callable[..., Receipt], history: Sequence[int], why: str
) -> None:
    receipt = judge([build.row(1)], spec=build.spec(), history=_history(*history))
    assert receipt.verdict == "admitted"
    unjudged = [r for r in receipt.rules if r.rule.endswith("trailing_median")]
    assert [r.judged for r in unjudged] == [0, 0]
    assert all(r.why.startswith(why) and r.observed is None for r in unjudged)


@given(volumes=st.lists(st.tuples(st.integers(-3, 20), st.integers(0, 50), st.booleans(), st.booleans()), max_size=20))
def test_the_median_is_of_admitted_days_in_reach(volumes: list[tuple[int, int, bool, bool]]) -> None:
    policy = ValidationSpec(volume_history_days=14, volume_min_history=2, volume_min_median_rows=10)
    history, decisions = [], []
    newest: dict[int, tuple[int, bool]] = {}
    for days_before, impressions, refused, accepted in volumes:
        receipt = _receipt(days_before, impressions, refused=refused)
        history.append(receipt)
        if accepted:
            decisions.append(
                Decision(
                    day=receipt.day,
                    decision="accept",
                    reason="a sale",
                    reviewer="ana",
                    decided_at=datetime(2026, 3, 3, tzinfo=UTC),
                    receipt_id=receipt.receipt_id,
                )
            )
    accepted_ids = {decision.receipt_id for decision in decisions}
    for receipt in history:
        before = (DAY - receipt.day).days
        if 1 <= before <= 14:
            counts = receipt.impressions > 0 and (receipt.verdict == "admitted" or receipt.receipt_id in accepted_ids)
            newest[before] = (receipt.impressions, counts)
    counted = [impressions for impressions, counts in newest.values() if counts]
    past = admitted_days(day=DAY, days=14, history=history, decisions=decisions)
    assert list(past) == sorted(past)
    found = volume_ratio(impressions=7, past=[receipt.impressions for receipt in past.values()], policy=policy)
    assert len(past) == len(counted)
    assert found.usual == (median(counted) if counted else None)
    assert bool(found.why) == (found.value is None) == (len(counted) < 2 or median(counted) < 10)
    assert found.value is None or found.value == 7 / median(counted)
