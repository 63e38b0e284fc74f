"""Runs the jobs in this process, recorded in the dataset's instance, and tells progress; it prints nothing itself."""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
from dagster import DagsterEventType, EventLogEntry

from assets.child_endings import CAUSE
from assets.step_pods import REQUESTS_TO_END
from infra.structured_logs import installed
from orchestration.abandoned import end_abandoned, holding
from orchestration.jobs import BACKFILL_DATA, BACKFILL_MODELS

_LAST_EVENTS = (DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED)
_LISTENER_SECONDS = 5
_QUIET_CONSOLE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended: `refusal` is a final refusal of data in words, `fault` any other failure; `was_told_to_end` by
    whoever sent Ctrl-C or SIGTERM, who wants no other run in its place."""

    run_id: str
    refusal: str | None = None
    fault: str | None = None
    was_told_to_end: bool = False


def run_data(
    definitions: dg.Definitions, instance: dg.DagsterInstance, *, days: Sequence[date], tell: Callable[[str], None]
) -> RunOutcome:
    """Materialize the data assets of consecutive `days` in one range run (of a single day: a run of that partition)."""
    if len(days) == 1:
        return _run(definitions, instance, BACKFILL_DATA, tell=tell, partition_key=days[0].isoformat())
    tags = {
        "dagster/asset_partition_range_start": days[0].isoformat(),
        "dagster/asset_partition_range_end": days[-1].isoformat(),
    }
    return _run(definitions, instance, BACKFILL_DATA, tell=tell, tags=tags)


def run_models(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    *,
    as_of: date,
    form: Mapping[str, Any],
    tell: Callable[[str], None],
) -> RunOutcome:
    """Materialize the model assets as of a day; `form` holds settings of `cvr_model`'s form."""
    config = {"ops": {"cvr_model": {"config": dict(form)}}} if form else {}
    return _run(definitions, instance, BACKFILL_MODELS, tell=tell, partition_key=as_of.isoformat(), run_config=config)


def run_asset_job(
    definitions: dg.Definitions, instance: dg.DagsterInstance, job_name: str, *, day: date, tell: Callable[[str], None]
) -> RunOutcome:
    """Run a job of assets for one day, with the settings of the dataset spec."""
    return _run(definitions, instance, job_name, tell=tell, partition_key=day.isoformat())


def _run(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job_name: str,
    *,
    tell: Callable[[str], None],
    partition_key: str | None = None,
    tags: Mapping[str, str] | None = None,
    run_config: Mapping[str, Any] | None = None,
) -> RunOutcome:
    run_id = str(uuid.uuid4())

    told_all = threading.Event()

    def listen(entry: EventLogEntry) -> None:
        # Where lines are JSON, the run's own log tells this and more, each line with its step and its day.
        line = None if installed() else _progress_line(entry)
        if line is not None:
            tell(line)
        if entry.dagster_event is not None and entry.dagster_event.event_type in _LAST_EVENTS:
            told_all.set()

    instance.add_event_listener(run_id, listen)
    for abandoned in end_abandoned(instance):
        tell(f"run {abandoned} was left behind by a killed process; it is marked failed")
    with holding(instance, run_id):
        result = definitions.resolve_job_def(job_name).execute_in_process(
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            partition_key=partition_key,
            tags=dict(tags or {}),
            run_config={**({} if installed() else _QUIET_CONSOLE), **(run_config or {})},
        )
    # SQLite tells its listeners from a thread of its own, a little after the run has ended.
    told_all.wait(timeout=_LISTENER_SECONDS)
    if result.success:
        return RunOutcome(run_id=run_id)
    return _explain(run_id, result)


def _progress_line(entry: EventLogEntry) -> str | None:
    event = entry.dagster_event
    if event is None:
        return f"  {entry.user_message}" if entry.step_key else None
    if event.event_type == DagsterEventType.STEP_START:
        return f"{event.step_key} …"
    if event.event_type == DagsterEventType.STEP_SUCCESS:
        return f"{event.step_key} done in {event.step_success_data.duration_ms / 1000:.1f} s"
    if event.event_type == DagsterEventType.STEP_FAILURE:
        return f"{event.step_key} failed"
    return None


_GOES_ON = "run the same again: what is done is found, and a training goes on from its checkpoint"


def _explain(run_id: str, result: dg.ExecuteInProcessResult) -> RunOutcome:
    for event in result.all_events:
        if event.event_type == DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            said = data.user_failure_data
            if said is not None and CAUSE not in said.metadata:
                return RunOutcome(run_id=run_id, refusal=said.description)
            if said is not None:
                return RunOutcome(run_id=run_id, fault=f"{event.step_key}: {said.description}")
            error = data.error.cause or data.error if data.error else None
            if error is not None and error.cls_name in [request.__name__ for request in REQUESTS_TO_END]:
                fault = f"{event.step_key} was told to end; {_GOES_ON}"
                return RunOutcome(run_id=run_id, fault=fault, was_told_to_end=True)
            return RunOutcome(run_id=run_id, fault=f"{event.step_key}: {error.message if error else 'failed'}")
    return RunOutcome(run_id=run_id, fault=f"run {run_id} failed; its events are in the UI")
