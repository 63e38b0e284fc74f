"""The nightly schedules: which partitions a tick asks for; both are stopped until someone starts them."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from ml.data.dataset import DatasetSpec
from orchestration.jobs import BACKFILL_DATA, BACKFILL_MODELS

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

#: Yesterday's files are complete some time after midnight; two hours is what log shippers promise.
DATA_CRON = "0 2 * * *"
#: Models wait until the night's data has been validated.
MODEL_CRON = "0 4 * * *"


def days_of_tick(spec: DatasetSpec, *, today: date) -> list[date]:
    """The two days that a tick on `today` asks for: the day whose labels have just matured (final), and yesterday
    (provisional). One day where labels are complete as they arrive; none outside the log.

    With labels mature after 3 days, the tick of the 10th asks for the 6th and the 9th.
    """
    yesterday = today - timedelta(days=1)
    days = dict.fromkeys((spec.last_mature_day(yesterday), yesterday))
    return [day for day in days if spec.days.contains(day)]


def build_schedules(spec: DatasetSpec, jobs: "Sequence[UnresolvedAssetJobDefinition]") -> list[dg.ScheduleDefinition]:
    """`daily_data` and `daily_model`, in the dataset's time zone."""
    by_name = {job.name: job for job in jobs}
    return [
        _schedule(spec, name="daily_data", job=by_name[BACKFILL_DATA], cron=DATA_CRON),
        _schedule(spec, name="daily_model", job=by_name[BACKFILL_MODELS], cron=MODEL_CRON),
    ]


def _schedule(spec: DatasetSpec, *, name: str, job: "UnresolvedAssetJobDefinition", cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone=spec.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Asks for yesterday (provisional labels) and for the day whose labels have just matured (final).",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        tick: datetime = context.scheduled_execution_time
        days = days_of_tick(spec, today=tick.date())
        if not days:
            yield dg.SkipReason(f"{tick.date()} asks for no day of the log ({spec.days.first} .. {spec.days.last})")
        for day in days:
            yield dg.RunRequest(run_key=f"{name}-{tick.date()}-{day}", partition_key=day.isoformat())

    return nightly
