"""A run whose process was killed gives back its place in the pool; one that is alive keeps it."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from orchestration.abandoned import end_abandoned, holding

CLAIM = """
    import sys, time
    import dagster as dg
    from orchestration.abandoned import holding
    instance = dg.DagsterInstance.from_config(sys.argv[1])
    with holding(instance, sys.argv[2]):
        storage = instance.event_log_storage
        storage.claim_concurrency_slot("gpu", sys.argv[2], "cvr_model")
        print("claimed", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    text = "telemetry: {enabled: false}\nconcurrency: {pools: {granularity: op, default_limit: 1}}\n"
    (tmp_path / "dagster.yaml").write_text(text, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as found:
        found.event_log_storage.set_concurrency_slots("gpu", 1)
        yield found


def started(instance: dg.DagsterInstance) -> str:
    @dg.job
    def night() -> None: ...

    return instance.create_run_for_job(night, status=DagsterRunStatus.STARTED).run_id


def test_a_killed_process_leaves_neither_a_started_run_nor_a_full_pool(instance: dg.DagsterInstance) -> None:
    run_id = started(instance)
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(CLAIM), instance.root_directory, run_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        claims = instance.event_log_storage.get_concurrency_info("gpu")
        assert claims.active_run_ids == {run_id}
        assert end_abandoned(instance) == [], "the process is alive"
        process.kill()
    assert end_abandoned(instance) == [run_id]
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status == DagsterRunStatus.FAILURE
    assert instance.event_log_storage.get_concurrency_info("gpu").active_run_ids == set()
    assert end_abandoned(instance) == [], "once is enough"


def test_a_run_that_ended_well_leaves_nothing_to_end(instance: dg.DagsterInstance) -> None:
    run_id = started(instance)
    with holding(instance, run_id):
        pass
    assert end_abandoned(instance) == []
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status == DagsterRunStatus.STARTED


def test_an_instance_without_a_folder_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as ephemeral, holding(ephemeral, "run"):
        assert end_abandoned(ephemeral) == []
