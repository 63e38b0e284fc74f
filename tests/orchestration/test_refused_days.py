"""Refused days at the level of the jobs: a scheduled single day fails loudly, a range stays green with red days."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest

from assets.receipts import read_receipt
from assets.review_pages import review_file
from orchestration.build import build_platform
from orchestration.definitions import build_definitions
from orchestration.instance import open_instance
from orchestration.jobs import BACKFILL_DATA
from orchestration.runs import run_data
from orchestration.settings import Settings, read_settings

BAD = date(2026, 1, 8)
DAYS = [date(2026, 1, day) for day in range(5, 10)]
FAULTS = [{"day": BAD.isoformat(), "kind": "low_volume", "share": 0.2}]


@pytest.fixture
def settings(write_dataset: Callable[..., str], tmp_path: Any) -> Settings:
    return read_settings({"home": tmp_path / "home", "dataset": write_dataset(faults=FAULTS), "threads": 1})


def failed_checks(instance: dg.DagsterInstance, day: date) -> set[str]:
    """The red checks of a day, as the UI shows them."""
    keys = [
        dg.AssetCheckKey(dg.AssetKey("validated_samples"), name)
        for name in ("schema", "label_consistency", "click_before_conversion", "duplicates", "volume")
    ]
    found = instance.event_log_storage.get_asset_check_partition_info(keys)
    return {
        info.check_key.name
        for info in found
        if info.partition_key == day.isoformat() and info.latest_execution_status.value == "FAILED"
    }


def scheduled_runs(definitions: dg.Definitions, instance: dg.DagsterInstance, tick: datetime) -> list[dg.RunRequest]:
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=tick, repository_def=definitions.get_repository_def()
    )
    return list(definitions.resolve_schedule_def("daily_data").evaluate_tick(context).run_requests or [])


def test_a_range_is_green_with_a_red_day_and_the_nights_run_of_that_day_fails_loudly(settings: Settings):
    definitions, spec = build_definitions(settings), settings.dataset_spec()
    platform = build_platform(settings, spec)
    with open_instance(settings, spec) as instance:
        outcome = run_data(definitions, instance, days=DAYS, tell=lambda line: None)
        assert (outcome.refusal, outcome.fault) == (None, None), "a backfill goes on"
        receipts = {day: read_receipt(platform, day) for day in DAYS}
        assert {day for day, receipt in receipts.items() if receipt and receipt.verdict == "refused"} == {BAD}
        assert failed_checks(instance, BAD) == {"volume"}
        assert failed_checks(instance, DAYS[0]) == set()
        assert review_file(platform, BAD) is not None

        requests = scheduled_runs(definitions, instance, datetime(2026, 1, 9, 2, tzinfo=UTC))
        by_day = {request.partition_key: request for request in requests}
        assert BAD.isoformat() in by_day, "the tick of the morning after asks for the bad day"
        job = definitions.resolve_job_def(BACKFILL_DATA)
        ended = {}
        for day, request in by_day.items():
            ended[day] = job.execute_in_process(
                instance=instance,
                partition_key=day,
                run_config={**request.run_config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                tags={**request.tags, "dagster/schedule_name": "daily_data"},
                raise_on_error=False,
            )
        assert {day for day, result in ended.items() if not result.success} == {BAD.isoformat()}
        run = instance.get_run_by_id(ended[BAD.isoformat()].run_id)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.FAILURE
        [failure] = [event for event in ended[BAD.isoformat()].all_events if event.is_step_failure]
        said = failure.step_failure_data.user_failure_data
        assert said is not None
        assert str(said.description).startswith(f"{BAD} was refused: volume.")
        assert "review_page" in said.metadata, "whoever is called finds the page in the failure"
        assert failed_checks(instance, BAD) == {"volume"}
