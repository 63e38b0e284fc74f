"""The nightly schedules over simulated weeks: yesterday and the day that has just matured, nothing outside the log."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from assets.chain import build_chain
from ml.data.dataset import DatasetSpec
from orchestration.jobs import build_jobs
from orchestration.schedules import build_schedules, days_of_tick

FIRST = date(2026, 3, 2)


def endless(spec: DatasetSpec, *, conversion_window_days: int = 2, **changes: object) -> DatasetSpec:
    attribution = spec.attribution.model_copy(update={"conversion_window_days": conversion_window_days})
    days = spec.days.model_copy(update={"first": FIRST, "last": None})
    return spec.model_copy(update={"attribution": attribution, "days": days, **changes})


@pytest.fixture
def wide(spec: DatasetSpec) -> DatasetSpec:
    """A log that goes on and whose labels are complete as it arrives."""
    table = {"path": "log.csv", "format": "csv", "time": "at", "impression_id": "id", "click": "c", "conversion": "b"}
    content = endless(spec, conversion_window_days=0).model_dump(mode="json")
    return DatasetSpec.model_validate({**content, "source": {"kind": "wide_log", "table": table}})


def three_weeks() -> list[date]:
    return [FIRST + timedelta(days=offset) for offset in range(21)]


def test_each_day_is_asked_for_once_provisional_and_once_final(spec: DatasetSpec):
    log = endless(spec)
    assert log.label_days == 3
    asked: dict[date, list[date]] = {}
    for tick in three_weeks():
        for day in days_of_tick(log, today=tick):
            asked.setdefault(day, []).append(tick)
    for day, ticks in asked.items():
        expected = [day + timedelta(days=1), day + timedelta(days=4)]
        assert ticks == [tick for tick in expected if tick in three_weeks()]
    assert min(asked) == FIRST
    assert max(asked) == three_weeks()[-2]
    assert Counter(len(ticks) for ticks in asked.values()) == {2: 17, 1: 3}


def test_the_documented_example(spec: DatasetSpec):
    assert days_of_tick(endless(spec), today=date(2026, 3, 10)) == [date(2026, 3, 6), date(2026, 3, 9)]


def test_complete_labels_ask_for_yesterday_alone(wide: DatasetSpec):
    assert wide.label_days == 0
    asked = [days_of_tick(wide, today=tick) for tick in three_weeks()]
    assert asked == [[], *([tick - timedelta(days=1)] for tick in three_weeks()[1:])]


def test_a_finished_log_is_asked_for_until_its_last_day_has_matured(spec: DatasetSpec):
    log = endless(spec).model_copy(update={"days": spec.days})
    last = spec.days.last
    assert last is not None
    after = [days_of_tick(log, today=last + timedelta(days=offset)) for offset in range(1, 7)]
    assert after[0] == [last - timedelta(days=3), last]
    assert after[3] == [last]
    assert after[4:] == [[], []]


def evaluate(spec: DatasetSpec, name: str, tick: datetime) -> dg.SkipReason | list[dg.RunRequest]:
    jobs = build_jobs()
    definitions = dg.Definitions(
        assets=build_chain(spec),
        jobs=jobs,
        schedules=build_schedules(spec, jobs),
        resources={"platform": dg.ResourceDefinition.hardcoded_resource(None)},
    )
    schedule = definitions.resolve_schedule_def(name)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=tick, repository_def=definitions.get_repository_def()
        )
        data = schedule.evaluate_tick(context)
    if data.skip_message:
        return dg.SkipReason(data.skip_message)
    return list(data.run_requests or [])


@pytest.mark.parametrize("name", ["daily_data", "daily_model"])
def test_a_tick_requests_both_days_once_each(spec: DatasetSpec, name: str):
    requests = evaluate(endless(spec), name, datetime(2026, 3, 10, 2, tzinfo=UTC))
    assert isinstance(requests, list)
    assert [request.partition_key for request in requests] == ["2026-03-06", "2026-03-09"]
    keys = {request.run_key for request in requests}
    again = evaluate(endless(spec), name, datetime(2026, 3, 11, 2, tzinfo=UTC))
    assert isinstance(again, list)
    assert len(keys | {request.run_key for request in again}) == 4


def test_a_tick_outside_the_log_says_why_it_asks_for_nothing(spec: DatasetSpec):
    skipped = evaluate(spec, "daily_data", datetime(2027, 1, 1, 2, tzinfo=UTC))
    assert isinstance(skipped, dg.SkipReason)
    assert "2027-01-01" in str(skipped.skip_message)


def test_a_tick_is_of_the_datasets_own_day(spec: DatasetSpec):
    shanghai = endless(spec, timezone="Asia/Shanghai")
    tick = datetime(2026, 3, 10, 2, tzinfo=ZoneInfo("Asia/Shanghai"))
    assert tick.astimezone(UTC).date() == date(2026, 3, 9)
    requests = evaluate(shanghai, "daily_data", tick)
    assert isinstance(requests, list)
    assert [request.partition_key for request in requests] == ["2026-03-06", "2026-03-09"]


def test_schedules_wait_to_be_started_and_models_come_after_data(spec: DatasetSpec):
    schedules = {schedule.name: schedule for schedule in build_schedules(spec, build_jobs())}
    assert set(schedules) == {"daily_data", "daily_model"}
    assert {schedule.default_status for schedule in schedules.values()} == {dg.DefaultScheduleStatus.STOPPED}
    data, model = (int(str(schedules[name].cron_schedule).split()[1]) for name in ("daily_data", "daily_model"))
    assert data < model
