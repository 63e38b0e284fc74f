"""What the code server tells of days, champion and pools, and that a store that cannot be read fails no scrape."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("prometheus_client")

from assets.receipts import record_decision
from assets.resources import Platform
from assets.standing_metrics import DAYS, SECONDS_BETWEEN_READS, PoolUse, StandingCollector
from data_checks.receipts import Receipt

FIRST = date(2026, 1, 5)
POOLS = {"gpu": PoolUse(running=1, waiting=2, places=1)}


def values(collector: StandingCollector) -> dict[tuple[str, ...], float]:
    """Value by name and labels, but for the dataset's, which all have."""
    found = {}
    for family in collector.collect():
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("dataset") == "tiny"
            found[sample.name.removeprefix("postclick_"), *labels.values()] = sample.value
    return found


@pytest.fixture
def make(platform: Platform) -> Callable[..., StandingCollector]:
    def collector(
        pools: Callable[[], Mapping[str, PoolUse]] = lambda: POOLS, clock: Callable[[], float] = lambda: 0.0
    ) -> StandingCollector:
        return StandingCollector(platform, dataset="tiny", pools=pools, clock=clock)

    return collector


def promote(platform: Platform, model_id: str, *, as_of: date) -> datetime:
    champion = platform.registry.promote(
        model_id=model_id, as_of=as_of, expected_model_id=None, who="gate", reason="better", evidence={}
    )
    return champion.promoted_at


def test_an_empty_store_is_readable_and_tells_of_the_pools_alone(make: Callable[..., StandingCollector]):
    assert values(make()) == {
        ("readable", "days"): 1,
        ("readable", "champion"): 1,
        ("readable", "pools"): 1,
        ("pool_steps", "gpu", "running"): 1,
        ("pool_steps", "gpu", "waiting"): 2,
        ("pool_places", "gpu"): 1,
    }


def test_days_are_counted_by_verdict_and_use(
    platform: Platform,
    make: Callable[..., StandingCollector],
    publish_day: Callable[..., Receipt],
    at: Callable[[int], datetime],
):
    publish_day(FIRST)
    for age in (1, 2):
        publish_day(FIRST + timedelta(days=age), verdict="refused")
    record_decision(platform, day=FIRST, decision="exclude", reason="bots", reviewer="ada", decided_at=at(0))
    accepted = FIRST + timedelta(days=1)
    record_decision(platform, day=accepted, decision="accept", reason="fine", reviewer="ada", decided_at=at(1))
    found = values(make())
    assert {key: value for key, value in found.items() if key[0] == "days"} == {
        ("days", "admitted", "no"): 1,
        ("days", "refused", "yes"): 1,
        ("days", "refused", "no"): 1,
    }
    midnight = datetime(2026, 1, 6, tzinfo=UTC).timestamp()
    assert found["newest_usable_day_timestamp_seconds",] == midnight


def test_only_the_newest_days_are_read(make: Callable[..., StandingCollector], publish_day: Callable[..., Receipt]):
    publish_day(FIRST, verdict="refused")
    for age in range(1, DAYS + 1):
        publish_day(FIRST + timedelta(days=age))
    days = {key: value for key, value in values(make()).items() if key[0] == "days"}
    assert days == {("days", "admitted", "yes"): DAYS}


def test_the_champion_has_a_day_and_a_moment(platform: Platform, make: Callable[..., StandingCollector]):
    at = promote(platform, "m" * 64, as_of=FIRST)
    found = values(make())
    assert found["champion_promoted_timestamp_seconds", "m" * 12] == at.timestamp()
    assert found["champion_as_of_timestamp_seconds",] == datetime(2026, 1, 5, tzinfo=UTC).timestamp()


def test_what_cannot_be_read_is_said_and_the_rest_is_there(
    platform: Platform, make: Callable[..., StandingCollector], caplog: pytest.LogCaptureFixture
):
    def broken() -> Any:
        raise ConnectionError("the database is away")

    promote(platform, "m" * 64, as_of=FIRST)
    found = values(make(pools=broken))
    assert found["readable", "pools"] == 0
    assert found["readable", "champion"] == 1
    assert ("champion_promoted_timestamp_seconds", "m" * 12) in found
    assert not any(key[0].startswith("pool_") for key in found)
    assert "the database is away" in caplog.text


def test_scrapes_in_between_read_nothing(platform: Platform, make: Callable[..., StandingCollector]):
    now = [0.0]
    collector = make(clock=lambda: now[0])
    values(collector)
    promote(platform, "m" * 64, as_of=FIRST)
    now[0] = SECONDS_BETWEEN_READS - 1
    assert not any(key[0].startswith("champion_p") for key in values(collector))
    now[0] = SECONDS_BETWEEN_READS
    assert any(key[0].startswith("champion_p") for key in values(collector))
