"""Starts runs as the UI does and follows them in the database; what runs them is the deployment's."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster_graphql.schema import create_schema
from sqlalchemy.exc import DBAPIError

from tests.cluster.postgresql import DATABASE, PASSWORD, USER, PostgreSQL

LAUNCH = """
mutation($run: ExecutionParams!) {
  launchPipelineExecution(executionParams: $run) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message stack }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
DATA_JOB, MODEL_JOB = "backfill_data", "backfill_models"
PATIENCE_SECONDS = 500


def open_database(folder: Path, database: PostgreSQL) -> dg.DagsterInstance:
    """Dagster's instance as the deployment's pods have it, without its launcher."""
    folder.mkdir()
    address = {"hostname": database.host, "port": database.port, "db_name": DATABASE}
    config = {
        "telemetry": {"enabled": False},
        "storage": {"postgres": {"postgres_db": {**address, "username": USER, "password": PASSWORD}}},
        "run_coordinator": {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator"},
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
    }
    (folder / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return dg.DagsterInstance.from_config(str(folder))


class Runs:
    """Runs of the deployed code location."""

    def __init__(self, instance: dg.DagsterInstance, *, code_port: int) -> None:
        self.instance = instance
        self._target = GrpcServerTarget(host="127.0.0.1", port=code_port, socket=None, location_name="postclick")
        self._schema = create_schema()

    def data(self, days: Sequence[date]) -> str:
        """One range run of the data assets."""
        ends = {"start": days[0], "end": days[-1]}
        return self._launch(
            DATA_JOB, {f"dagster/asset_partition_range_{name}": day.isoformat() for name, day in ends.items()}
        )

    def models(self, as_of: date, *, assets: Sequence[str] = ()) -> str:
        """The model assets as of a day, or some of them."""
        return self._launch(MODEL_JOB, {"dagster/partition": as_of.isoformat()}, assets)

    def _launch(self, job: str, tags: dict[str, str], assets: Sequence[str] = ()) -> str:
        selector: dict[str, Any] = {
            "repositoryLocationName": "postclick",
            "repositoryName": "__repository__",
            "jobName": job,
        }
        if assets:
            selector["assetSelection"] = [{"path": [name]} for name in assets]
        run = {
            "selector": selector,
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        with WorkspaceProcessContext(self.instance, self._target) as process:
            context = process.create_request_context()
            answer = asyncio.run(
                self._schema.execute_async(LAUNCH, context_value=context, variable_values={"run": run})
            )
        assert answer.data, answer.errors
        launched = answer.data["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def end(self, run_id: str, *, seconds: float = PATIENCE_SECONDS) -> DagsterRunStatus:
        """Wait for the run's end."""
        self.until(lambda: self._run(run_id).is_finished, seconds=seconds, what=f"run {run_id} to end")
        return self._run(run_id).status

    def until(self, holds: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS, what: str) -> Any:
        """Wait; a database that is away meanwhile is asked again."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                found = holds()
            except DBAPIError:
                found = None
            if found:
                return found
            time.sleep(0.5)
        raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")

    def entries(self, run_id: str) -> list[dg.EventLogEntry]:
        """All events of the run, oldest first."""
        return list(self.instance.all_logs(run_id))

    def messages(self, run_id: str) -> str:
        """What the run's events say, a line each."""
        return "\n".join(f"{entry.step_key or ''} {entry.message}" for entry in self.entries(run_id))

    def counted(self, run_id: str, kind: DagsterEventType) -> Counter[str]:
        """How many events of the kind each step has."""
        return Counter(entry.step_key or "" for entry in self.entries(run_id) if entry.dagster_event_type == kind)

    def failure(self, run_id: str) -> str:
        """What the run's one failed step failed of, as alerts tell it."""
        (event,) = [
            entry.dagster_event
            for entry in self.entries(run_id)
            if entry.dagster_event_type == DagsterEventType.STEP_FAILURE
        ]
        assert event is not None
        data = event.step_failure_data
        told = data.user_failure_data.description if data.user_failure_data else None
        return told or (data.error.message if data.error else "")

    def retries(self, run_id: str) -> list[str]:
        """Why steps were begun again, with what caused it."""
        found = [entry.dagster_event for entry in self.entries(run_id)]
        events = [event for event in found if event and event.event_type == DagsterEventType.STEP_UP_FOR_RETRY]
        return [event.step_retry_data.error.to_string() for event in events if event.step_retry_data.error]

    def _run(self, run_id: str) -> dg.DagsterRun:
        found = self.instance.get_run_by_id(run_id)
        assert found is not None
        return found
