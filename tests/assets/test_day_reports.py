"""The one helper that reports days to Dagster, by real runs of a small asset: a history per day, one day or many."""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from assets.day_reports import CheckOutcome, DayOutcome, check_specs, report_days

DAYS = ["2026-01-05", "2026-01-06", "2026-01-07"]
PARTITIONS = dg.DailyPartitionsDefinition(start_date=DAYS[0], end_date="2026-01-08")
NAMES = {"complete": "All rows are there.", "ordered": "Times are in order."}


def build_job(bad_days: set[str], *, tries: list[str]) -> dg.JobDefinition:
    checks = check_specs("validated_samples", NAMES, PARTITIONS)

    @dg.multi_asset(
        specs=[dg.AssetSpec("validated_samples"), dg.AssetSpec("right")],
        check_specs=checks,
        partitions_def=PARTITIONS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=dg.RetryPolicy(max_retries=2),
        can_subset=False,
    )
    def both(context: dg.AssetExecutionContext) -> Iterator[Any]:
        tries.append(context.run.run_id)
        outcomes = [
            DayOutcome(
                day=day,
                metadata={"validated_samples": {"rows": len(bad_days), "day": day}, "right": {"day": day}},
                checks={
                    "complete": CheckOutcome(passed=day not in bad_days, metadata={"lost": 3}, description="three"),
                    "ordered": CheckOutcome(passed=True),
                },
                refused="three rows were lost" if day in bad_days else None,
            )
            for day in context.partition_keys
        ]
        yield from report_days(context, assets=["validated_samples", "right"], checks=checks, outcomes=outcomes)

    definitions = dg.Definitions(assets=[both], jobs=[dg.define_asset_job("job")])
    return definitions.resolve_job_def("job")


def run_range(job: dg.JobDefinition, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[-1]}
    return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def materialized(instance: dg.DagsterInstance, asset: str) -> dict[str | None, dict[str, Any]]:
    records = instance.fetch_materializations(dg.AssetKey(asset), limit=50).records
    return {
        record.partition_key: {name: value.value for name, value in record.asset_materialization.metadata.items()}
        for record in records
        if record.asset_materialization is not None
    }


def test_a_range_stays_green_and_each_day_has_its_own_verdicts_and_metadata(
    instance: dg.DagsterInstance, check_history: Callable[..., Any]
):
    tries: list[str] = []
    result = run_range(build_job({DAYS[1]}, tries=tries), instance)

    assert result.success
    assert len(tries) == 1
    assert check_history(instance, "validated_samples", "complete") == {
        DAYS[0]: [True],
        DAYS[1]: [False],
        DAYS[2]: [True],
    }
    assert check_history(instance, "validated_samples", "ordered") == {day: [True] for day in DAYS}
    for asset in ("validated_samples", "right"):
        found = materialized(instance, asset)
        assert {day: metadata["day"] for day, metadata in found.items()} == {day: day for day in DAYS}


def test_each_result_judges_the_newest_materialization_of_its_day(instance: dg.DagsterInstance):
    """A result that names none counts as outdated: the day's dot in the UI is grey, whatever the result was."""
    for _ in range(2):
        run_range(build_job({DAYS[1]}, tries=[]), instance)
    key = dg.AssetCheckKey(dg.AssetKey("validated_samples"), "complete")
    found = instance.event_log_storage.get_asset_check_partition_info([key])
    states = {info.partition_key: (info.latest_execution_status.value, info.is_current) for info in found}
    assert {day: states[day] for day in DAYS} == {
        DAYS[0]: ("SUCCEEDED", True),
        DAYS[1]: ("FAILED", True),
        DAYS[2]: ("SUCCEEDED", True),
    }


def test_a_step_before_the_verdict_fails_only_where_no_verdict_follows(instance: dg.DagsterInstance):
    """What an earlier run admitted is withdrawn by the verdict, so a refused day has to get there."""
    checks = check_specs("raw", {"arrived": "Files are there."}, PARTITIONS)

    @dg.asset(name="raw", partitions_def=PARTITIONS, check_specs=checks, output_required=False)
    def raw(context: dg.AssetExecutionContext) -> Iterator[Any]:
        (day,) = context.partition_keys
        refused = DayOutcome(
            day=day, metadata={"raw": {}}, checks={"arrived": CheckOutcome(passed=False)}, refused="no file"
        )
        yield from report_days(context, assets=["raw"], checks=checks, outcomes=[refused])

    @dg.asset(name="validated_samples", partitions_def=PARTITIONS, deps=["raw"])
    def verdict() -> None: ...

    job = dg.Definitions(assets=[raw, verdict], jobs=[dg.define_asset_job("job")]).resolve_job_def("job")
    whole = job.execute_in_process(instance=instance, partition_key=DAYS[0], raise_on_error=False)
    alone = job.execute_in_process(
        instance=instance, partition_key=DAYS[0], raise_on_error=False, asset_selection=[dg.AssetKey("raw")]
    )
    assert (whole.success, alone.success) == (True, False)


@pytest.mark.parametrize("day", DAYS[:2])
def test_a_single_refused_day_fails_for_good_after_everything_was_recorded(
    instance: dg.DagsterInstance, check_history: Callable[..., Any], day: str
):
    tries: list[str] = []
    job = build_job({day}, tries=tries)
    result = job.execute_in_process(instance=instance, partition_key=day, raise_on_error=False)

    assert not result.success
    assert len(tries) == 1, "a refusal was tried again"
    assert check_history(instance, "validated_samples", "complete") == {day: [False]}
    assert check_history(instance, "validated_samples", "ordered") == {day: [True]}
    assert materialized(instance, "validated_samples")[day]["rows"] == 1
    assert set(materialized(instance, "right")) == {day}
    [failure] = [event for event in result.all_events if event.is_step_failure]
    told = failure.step_failure_data.user_failure_data
    assert told is not None
    assert told.description == f"{day} was refused: three rows were lost"


def test_a_single_good_day_succeeds_with_its_partition(instance: dg.DagsterInstance, check_history: Callable[..., Any]):
    result = build_job({DAYS[1]}, tries=[]).execute_in_process(instance=instance, partition_key=DAYS[0])
    assert result.success
    assert check_history(instance, "validated_samples", "complete") == {DAYS[0]: [True]}


def test_a_check_keeps_its_metadata_and_description(instance: dg.DagsterInstance):
    run_range(build_job({DAYS[1]}, tries=[]), instance)
    key = dg.AssetCheckKey(dg.AssetKey("validated_samples"), "complete")
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=50):
        assert record.event is not None
        assert record.event.dagster_event is not None
        evaluation = record.event.dagster_event.asset_check_evaluation_data
        assert evaluation.description == "three"
        assert evaluation.metadata["lost"].value == 3


def test_checks_are_partitioned_and_an_outcome_without_its_check_is_a_fault(instance: dg.DagsterInstance):
    specs = check_specs("validated_samples", NAMES, PARTITIONS)
    assert [spec.partitions_def for spec in specs] == [PARTITIONS, PARTITIONS]

    @dg.asset(name="validated_samples", partitions_def=PARTITIONS, check_specs=specs, output_required=False)
    def silent(context: dg.AssetExecutionContext) -> Iterator[Any]:
        outcomes = [DayOutcome(day=context.partition_key, metadata={"validated_samples": {}}, checks={})]
        yield from report_days(context, assets=["validated_samples"], checks=specs, outcomes=outcomes)

    result = dg.materialize([silent], partition_key=DAYS[0], instance=instance, raise_on_error=False)
    assert not result.success, "a check without a result must not let a day pass"
