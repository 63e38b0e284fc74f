"""Receipts and decisions in the store: nothing recorded changes, and no other file is trained on than was admitted."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets.receipts import (
    admitted_samples,
    day_standing,
    read_decisions,
    read_receipt,
    read_receipts,
    record_decision,
    restated_since_training,
    validated_key,
)
from assets.resources import DataRefused, Platform
from data_checks.decisions import Decision
from data_checks.receipts import Receipt
from infra.artifacts import ArtifactMissing

DAY, NEXT = date(2026, 1, 5), date(2026, 1, 6)
Publish = Callable[..., Receipt]
Moment = Callable[[int], datetime]


@pytest.fixture
def decide(platform: Platform, at: Moment) -> Callable[..., Decision]:
    def record(decision: str, *, minute: int, reason: str = "looked at it") -> Decision:
        return record_decision(
            platform, day=DAY, decision=decision, reason=reason, reviewer="ada", decided_at=at(minute)
        )

    return record


def test_a_day_without_receipt_is_refused(platform: Platform):
    assert read_receipt(platform, DAY) is None
    standing = day_standing(platform, DAY)
    assert (standing.admitted, standing.receipt_id) == (False, None)
    assert "materialize" in standing.why


def test_receipts_are_read_in_the_order_asked_for_and_gaps_left_out(platform: Platform, publish_day: Publish):
    later, earlier = publish_day(NEXT), publish_day(DAY)
    assert read_receipts(platform, [NEXT, date(2026, 1, 7), DAY]) == [later, earlier]


def test_decisions_are_appended_and_nothing_recorded_changes(
    platform: Platform, publish_day: Publish, decide: Callable[..., Decision]
):
    publish_day(DAY)
    recorded: list[Decision] = []
    kept: dict[str, bytes] = {}
    for minute, kind in enumerate(["exclude", "accept", "exclude"]):
        recorded.append(decide(kind, minute=minute))
        files = {key: platform.objects.get_bytes(key).data for key in platform.objects.list_keys("decisions/")}
        assert len(files) == len(kept) + 1
        assert files.items() > kept.items()
        kept = files
    assert read_decisions(platform, DAY) == tuple(recorded)
    assert read_decisions(platform, NEXT) == ()


def test_a_decision_that_lost_the_race_for_its_number_takes_the_next(
    platform: Platform, publish_day: Publish, decide: Callable[..., Decision], monkeypatch: pytest.MonkeyPatch
):
    publish_day(DAY)
    first = decide("exclude", minute=0)
    monkeypatch.setattr("assets.receipts.read_decisions", lambda *_: ())
    second = decide("accept", minute=1)
    monkeypatch.undo()
    assert read_decisions(platform, DAY) == (first, second)


def test_an_acceptance_admits_a_refused_day_until_the_day_is_restated(
    platform: Platform, publish_day: Publish, decide: Callable[..., Decision]
):
    refused = publish_day(DAY, verdict="refused")
    assert not day_standing(platform, DAY).admitted
    accepted = decide("accept", minute=0, reason="a holiday")
    assert accepted.receipt_id == refused.receipt_id
    standing = day_standing(platform, DAY)
    assert (standing.admitted, standing.receipt_id) == (True, refused.receipt_id)
    assert "ada: a holiday" in standing.why

    publish_day(DAY, verdict="refused", content=b"restated")
    restated = day_standing(platform, DAY)
    assert not restated.admitted
    assert "does not count" in restated.why


def test_an_exclusion_outlives_a_restatement_and_another_day_is_untouched(
    platform: Platform, publish_day: Publish, decide: Callable[..., Decision]
):
    publish_day(DAY)
    publish_day(NEXT)
    decide("exclude", minute=0, reason="a bot attack")
    publish_day(DAY, content=b"restated")
    standing = day_standing(platform, DAY)
    assert not standing.admitted
    assert standing.why == "excluded by ada: a bot attack"
    assert day_standing(platform, NEXT).admitted


def test_three_weeks_of_restatements_are_named_and_those_outside_the_window_are_not(
    platform: Platform, publish_day: Publish
):
    days = [DAY + timedelta(days=age) for age in range(21)]
    first = {day.isoformat(): publish_day(day).receipt_id for day in days}
    window = {day: first[day] for day in list(first)[-14:]}
    assert restated_since_training(platform, window) == ()
    for day in (days[0], days[8], days[20]):
        publish_day(day, admitted=99)
    assert restated_since_training(platform, window) == (days[8].isoformat(), days[20].isoformat())
    assert restated_since_training(platform, {}) == ()


def test_there_is_nothing_to_decide_without_a_receipt(platform: Platform, decide: Callable[..., Decision]):
    with pytest.raises(DataRefused, match=r"2026-01-05 has no receipt.*materialize"):
        decide("accept", minute=0)
    assert list(platform.objects.list_keys("decisions/")) == []


def test_a_decision_needs_a_reason(publish_day: Publish, decide: Callable[..., Decision]):
    publish_day(DAY)
    with pytest.raises(ValueError, match="reason"):
        decide("accept", minute=0, reason=" ")


def test_admitted_samples_are_the_file_that_the_receipt_vouches_for(platform: Platform, publish_day: Publish):
    receipt = publish_day(DAY, content=b"the rows")
    samples, found = admitted_samples(platform, DAY, receipt_id=receipt.receipt_id)
    assert samples.read_bytes() == b"the rows"
    assert found == receipt


def test_a_day_restated_since_the_window_was_chosen_is_refused(platform: Platform, publish_day: Publish):
    chosen = publish_day(DAY)
    publish_day(DAY, content=b"restated")
    with pytest.raises(DataRefused, match=f"2026-01-05.*{chosen.receipt_id[:12]}.*start the run again"):
        admitted_samples(platform, DAY, receipt_id=chosen.receipt_id)


def test_samples_that_are_not_those_of_their_receipt_are_refused(
    platform: Platform, publish_day: Publish, tmp_path: Any
):
    receipt = publish_day(DAY)
    (tmp_path / "other").write_bytes(b"other rows")
    (tmp_path / "receipt.json").write_bytes(receipt.canonical_json())
    files = {"samples.parquet": tmp_path / "other", "receipt.json": tmp_path / "receipt.json"}
    platform.artifacts.publish(validated_key(DAY), files, metadata={})
    with pytest.raises(DataRefused, match="not what was admitted"):
        admitted_samples(platform, DAY, receipt_id=receipt.receipt_id)


def test_samples_never_published_are_refused_with_the_remedy(platform: Platform):
    with pytest.raises(ArtifactMissing, match="materialize validated_samples of 2026-01-05"):
        admitted_samples(platform, DAY, receipt_id="none")


def test_an_accepted_day_that_has_no_samples_is_refused_by_name(
    platform: Platform, publish_day: Callable[..., Receipt], tmp_path: Path, at: Callable[[int], datetime]
):
    receipt = publish_day(DAY, verdict="refused", admitted=0)
    only = tmp_path / "receipt.json"
    only.write_bytes(receipt.canonical_json())
    platform.artifacts.publish(f"validated_samples/{DAY}", {"receipt.json": only}, metadata={})
    record_decision(platform, day=DAY, decision="accept", reason="try", reviewer="ann", decided_at=at(1))
    with pytest.raises(DataRefused, match="has no samples, though it was accepted: too few rows"):
        admitted_samples(platform, DAY, receipt_id=receipt.receipt_id)
