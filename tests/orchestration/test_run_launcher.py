"""What the daemon is told of a run whose own pod runs, ended or is gone; Jobs are a stand-in's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")

import dagster as dg
import dagster_k8s.launcher
from dagster import DagsterRun, DagsterRunStatus
from dagster._core.launcher import WorkerStatus
from kubernetes.client import V1JobCondition, V1JobStatus

from orchestration.run_launcher import ResumableRunLauncher
from tests.orchestration.fake_cluster import FakeCluster, Job

RUN = DagsterRun(job_name="daily_model", run_id="0f0f", status=DagsterRunStatus.STARTED)
COMPLETE = V1JobCondition(type="Complete", status="True")


class Bench:
    """A launcher over a stand-in API with one run's Job."""

    def __init__(self, launcher: ResumableRunLauncher, cluster: FakeCluster) -> None:
        self.launcher, self.cluster = launcher, cluster

    def has(self, *pods: dict[str, Any], status: V1JobStatus) -> None:
        """The run's Job, whose pods have these statuses."""
        named = [
            {"metadata": {"name": f"pod-{number}", "uid": str(number)}, "status": each}
            for number, each in enumerate(pods)
        ]
        self.cluster.jobs["dagster-run-0f0f"] = Job(body={}, status=status, pods=named)

    def look(self, status: DagsterRunStatus = DagsterRunStatus.STARTED) -> tuple[WorkerStatus, str]:
        found = self.launcher.check_run_worker_health(RUN.with_status(status))
        return found.status, found.msg or ""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(dagster_k8s.launcher, "load_kubernetes_config", lambda **_: None)
    cluster: Any = FakeCluster({})
    launcher = ResumableRunLauncher(
        service_account_name="runner",
        instance_config_map="instance",
        dagster_home=str(tmp_path),
        job_namespace="tests",
        k8s_client_batch_api=cluster,
        k8s_client_core_api=cluster,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        launcher.register_instance(instance)
        yield Bench(launcher, cluster)


def ended(code: int, **terminated: Any) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, **terminated}}
    phase = "Failed" if code else "Succeeded"
    return {"phase": phase, "containerStatuses": [{"name": "dagster", "state": state}]}


def test_a_pod_that_works_is_left_alone(bench: Bench):
    bench.has({"phase": "Running"}, status=V1JobStatus(active=1))
    assert bench.look()[0] == WorkerStatus.RUNNING


def test_a_complete_job_that_counts_its_pod_as_active_has_nobody_at_work(bench: Bench):
    bench.has(status=V1JobStatus(active=1, succeeded=1, conditions=[COMPLETE]))
    status, why = bench.look()
    assert status == WorkerStatus.FAILED
    assert "its pod was deleted before its work had ended" in why
    bench.has(ended(0), status=V1JobStatus(active=1, succeeded=1, conditions=[COMPLETE]))
    status, why = bench.look()
    assert status == WorkerStatus.FAILED
    assert "told to end (SIGTERM) and left the run for another pod to take up" in why


def test_a_pod_that_still_ends_is_waited_for(bench: Bench):
    # Another worker beside it would begin steps that this one may begin as well.
    bench.has({"phase": "Running"}, status=V1JobStatus(active=1, succeeded=1, conditions=[COMPLETE]))
    assert bench.look()[0] != WorkerStatus.FAILED


def test_why_a_pod_ended_is_said(bench: Bench):
    bench.has(ended(137, reason="OOMKilled"), status=V1JobStatus(failed=1))
    status, why = bench.look()
    assert status == WorkerStatus.FAILED
    assert "out of memory (OOMKilled)" in why
    assert "dagster-run-0f0f" in why


@pytest.mark.parametrize("status", [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.STARTING])
def test_a_run_that_has_ended_or_not_begun_is_dagsters_own_affair(bench: Bench, status: DagsterRunStatus):
    bench.has(ended(0), status=V1JobStatus(succeeded=1, conditions=[COMPLETE]))
    assert bench.look(status)[0] == WorkerStatus.SUCCESS


def test_a_job_that_is_gone_is_dagsters_to_judge(bench: Bench):
    assert bench.look()[0] == WorkerStatus.UNKNOWN


def test_while_the_server_is_away_nothing_is_judged(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench.has({"phase": "Running"}, status=V1JobStatus(active=1))
    answers = bench.cluster.read_namespaced_job_status
    left = [0]

    def away(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OSError("connection refused")
        return answers(*arguments, **named)

    monkeypatch.setattr(bench.cluster, "read_namespaced_job_status", away)
    # At once, and between two questions.
    for answered in (0, 1):
        left[0] = answered
        with pytest.raises(OSError, match="connection refused"):
            bench.look()
    left[0] = 2
    assert bench.look()[0] == WorkerStatus.RUNNING
