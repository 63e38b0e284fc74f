"""The two sensors that post to a webhook: a run that failed, a day that was refused; they start and stop no run."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets.partitions import VERDICT_ASSET
from infra.webhook import post_message
from ml.data.dataset import DatasetSpec
from orchestration.settings import Settings

#: A night's refused days are one message; more than this is a broken feed, and one glance at the UI shows it.
_DAYS_LISTED = 10
#: Events looked at in one evaluation: a backfill of three years is about a thousand days.
_EVENTS_A_TICK = 1000
#: Dagster ends a sensor's evaluation after 60 s; a webhook is given less, and a lost alert is tried again.
_SECONDS_BETWEEN_LOOKS = 60
_NOT_CONFIGURED = "POSTCLICK_ALERT_WEBHOOK is not set; set it to the address of a webhook that takes Slack's format"


def build_alerts(settings: Settings, spec: DatasetSpec) -> list[dg.SensorDefinition]:
    """Both sensors, running if a webhook is configured and stopped otherwise.

    An alert is posted by the daemon, after the fact: no run waits for it, and none can fail because of it.
    """
    status = dg.DefaultSensorStatus.STOPPED if settings.alert_webhook is None else dg.DefaultSensorStatus.RUNNING
    return [_failed_runs(settings, spec, status), _refused_days(settings, spec, status)]


def _failed_runs(settings: Settings, spec: DatasetSpec, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="alert_failed_run",
        default_status=status,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        description="Posts each failed run to the webhook: its job, its day and what it failed of.",
    )
    def alert_failed_run(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        day = run.tags.get("dagster/partition") or "no single day"
        text = failed_run_text(
            dataset=spec.name,
            job=run.job_name,
            day=day,
            run_id=run.run_id,
            why=_why_failed(context),
            ui=settings.ui_url,
        )
        return _post(settings, text)

    return alert_failed_run


def _refused_days(settings: Settings, spec: DatasetSpec, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    @dg.sensor(
        name="alert_refused_days",
        default_status=status,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        description="Posts days whose samples were refused to the webhook, also those of a range that went on green.",
    )
    def alert_refused_days(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        seen = int(context.cursor) if context.cursor else _newest_verdict(context.instance)
        records = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(VERDICT_ASSET), after_storage_id=seen),
            limit=_EVENTS_A_TICK,
            ascending=True,
        ).records
        newest = max((record.storage_id for record in records), default=seen)
        refused = _refused(records)
        if refused:
            # The cursor moves only once the message is taken: what could not be told is told at the next look.
            text = refused_days_text(dataset=spec.name, refused=refused, ui=settings.ui_url)
            if skipped := _post(settings, text):
                return skipped
        return dg.SensorResult(cursor=str(newest), skip_reason=dg.SkipReason(f"told {len(refused)} refused days"))

    return alert_refused_days


def failed_run_text(*, dataset: str, job: str, day: str, run_id: str, why: str, ui: str | None) -> str:
    """The message on one failed run."""
    where = f"\n{ui.rstrip('/')}/runs/{run_id}" if ui else f" (run {run_id})"
    return f":rotating_light: *{dataset}*: {job} of {day} failed: {_escaped(why)}{where}"


def refused_days_text(*, dataset: str, refused: Mapping[str, str], ui: str | None) -> str:
    """The message on refused days: `refused` holds each day's reason."""
    listed = [f"• {day}: {_escaped(why)}" for day, why in list(refused.items())[:_DAYS_LISTED]]
    more = [f"• and {len(refused) - _DAYS_LISTED} more"] if len(refused) > _DAYS_LISTED else []
    look = f"{ui.rstrip('/')}/assets/{VERDICT_ASSET}?view=partitions" if ui else "`postclick days`"
    noun = "a day was" if len(refused) == 1 else f"{len(refused)} days were"
    return "\n".join(
        [
            f":no_entry: *{dataset}*: {noun} refused and will not be trained on",
            *listed,
            *more,
            f"Look and decide: {look}",
        ]
    )


def _refused(records: Sequence[Any]) -> dict[str, str]:
    """Reasons of the days that the newest record of each leaves refused, by day."""
    newest = {record.partition_key: record for record in records if record.partition_key}
    found = {}
    for day, record in sorted(newest.items()):
        metadata = record.asset_materialization.metadata
        if metadata["verdict"].value == "refused" and not metadata["usable"].value:
            found[day] = str(metadata["standing"].value)
    return found


def _newest_verdict(instance: dg.DagsterInstance) -> int:
    """Where the first look begins: what was refused before anyone asked for alerts is no news."""
    records = instance.fetch_materializations(dg.AssetKey(VERDICT_ASSET), limit=1).records
    return records[0].storage_id if records else 0


def _why_failed(context: dg.RunFailureSensorContext) -> str:
    """What the failed step said: a refusal's own words, or the error's first line."""
    for event in context.get_step_failure_events():
        failure = event.step_failure_data
        said = failure.user_failure_data.description if failure.user_failure_data else None
        error = failure.error
        return said or (error.message.strip().splitlines()[0] if error and error.message.strip() else "no message")
    return context.failure_event.message or "no message"


def _escaped(text: str) -> str:
    """Slack reads these three as markup; a log's value must not make a link or call the whole channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _post(settings: Settings, text: str) -> dg.SkipReason | None:
    if settings.alert_webhook is None:
        return dg.SkipReason(_NOT_CONFIGURED)
    post_message(settings.alert_webhook.get_secret_value(), text, timeout_seconds=settings.alert_timeout_seconds)
    return None
