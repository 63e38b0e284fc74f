"""The job `review_day`: the launchpad's form, what it refuses at once, and what the run refuses in words."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.receipts import day_standing, read_decisions
from assets.resources import DataRefused
from data_checks.receipts import Receipt
from orchestration.build import build_platform
from orchestration.definitions import build_definitions
from orchestration.review import this_user
from orchestration.review_job import REVIEW_DAY, day_of_log
from orchestration.settings import Settings

DAY = date(2026, 1, 6)


@pytest.fixture
def platform(settings: Settings, spec: Any, tmp_path: Path) -> Any:
    """A store with one refused day."""
    platform = build_platform(settings, spec)
    counts = dict.fromkeys(("rows_in", "impressions", "admitted", "mature"), 5)
    receipt = Receipt(
        dataset="tiny",
        day=DAY,
        input_version="v",
        rules_version="r",
        label_horizon=None,
        events=None,
        quarantined=0,
        clicks=0,
        conversions=0,
        bad_share=0,
        max_bad_share=0.05,
        verdict="refused",
        reasons=("too few rows",),
        rules=(),
        content_sha256="0",
        quarantine_sha256="0",
        **counts,
    )
    (tmp_path / "receipt.json").write_bytes(receipt.canonical_json())
    platform.artifacts.publish(f"validated_samples/{DAY}", {"receipt.json": tmp_path / "receipt.json"}, metadata={})
    return platform


def run(settings: Settings, instance: dg.DagsterInstance, **form: Any) -> dg.ExecuteInProcessResult:
    content = {"day": "2026-01-06", "decision": "accept", "reason": "a holiday"} | form
    form = {name: value for name, value in content.items() if value is not None}
    job = build_definitions(settings).resolve_job_def(REVIEW_DAY)
    quiet = {"console": {"config": {"log_level": "CRITICAL"}}}
    return job.execute_in_process(
        run_config={"ops": {"decide": {"config": form}}, "loggers": quiet}, instance=instance, raise_on_error=False
    )


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_the_form_does_what_the_command_does(settings: Settings, platform: Any, instance: dg.DagsterInstance):
    before = datetime.now(UTC)
    assert run(settings, instance, reviewer="ann").success
    assert day_standing(platform, DAY).admitted
    assert run(settings, instance, decision="revoke", reason="no holiday").success
    accepted, revoked = read_decisions(platform, DAY)
    assert (accepted.decision, accepted.reviewer, accepted.reason) == ("accept", "ann", "a holiday")
    assert (revoked.decision, revoked.reviewer, revoked.reason) == ("revoke", this_user(), "no holiday")
    assert before <= accepted.decided_at <= revoked.decided_at
    records = instance.fetch_observations(dg.AssetKey("validated_samples"), limit=5).records
    assert [record.partition_key for record in records] == ["2026-01-06"] * 2


@pytest.mark.parametrize(
    "form", [{"decision": "admit"}, {"decision": None}, {"reason": None}, {"day": None}, {"who": "ann"}]
)
def test_the_launchpad_refuses_an_incomplete_or_unknown_form(
    settings: Settings, platform: Any, instance: dg.DagsterInstance, form: dict[str, Any]
):
    with pytest.raises(dg.DagsterInvalidConfigError):
        run(settings, instance, **form)
    assert read_decisions(platform, DAY) == ()


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"day": "yesterday"}, "'yesterday' is no day"),
        ({"day": "2026-02-30"}, "'2026-02-30' is no day"),
        ({"day": "2025-01-06"}, "2025-01-06 lies outside dataset tiny, which covers 2026-01-05 .. 2026-01-11"),
        ({"day": "2026-01-07"}, "2026-01-07 has no receipt to decide on"),
        ({"reason": "  "}, "reason: is '  '; say who decides and why"),
        ({"reviewer": ""}, "reviewer: is ''; say who decides and why"),
        ({"decision": "revoke"}, "has no decision to revoke"),
    ],
)
def test_what_the_form_cannot_refuse_the_run_refuses_in_words(
    settings: Settings, platform: Any, instance: dg.DagsterInstance, form: dict[str, Any], told: str
):
    result = run(settings, instance, **form)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    said = failure.step_failure_data.user_failure_data
    assert said is not None
    assert told in str(said.description)
    assert read_decisions(platform, DAY) == ()


def test_the_job_is_not_partitioned_so_that_the_form_alone_names_the_day(settings: Settings):
    job = build_definitions(settings).resolve_job_def(REVIEW_DAY)
    assert job.partitions_def is None
    assert "Launchpad" in (job.description or "")


def test_the_launchpad_is_filled_in_with_a_form_that_decides_nothing(
    settings: Settings, platform: Any, instance: dg.DagsterInstance
):
    job = build_definitions(settings).resolve_job_def(REVIEW_DAY)
    assert set(job.run_config["ops"]["decide"]["config"]) == {"day", "decision", "reason", "reviewer"}
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    assert list(platform.objects.list_keys("decisions/")) == []


def test_a_day_may_have_spaces_around_it(spec: Any):
    assert day_of_log(" 2026-01-06\n", spec) == DAY
    with pytest.raises(DataRefused, match=r"2026-01-04 lies outside"):
        day_of_log("2026-01-04", spec)
