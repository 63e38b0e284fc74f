"""What one look after another at a step's Job leads to: waiting, lost or well, with time that the tests turn on."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")

import kubernetes.config
from dagster import DagsterEvent
from dagster_k8s.client import DagsterK8sUnrecoverableAPIError
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.executor import K8sStepHandler
from kubernetes.client import V1JobStatus

from orchestration.pod_steps import PodSteps
from tests.orchestration.fake_cluster import FakeCluster, Job, refusal

JOB = "dagster-step-abc"
CONTEXT: Any = SimpleNamespace(
    execute_step_args=SimpleNamespace(known_state=None, step_keys_to_execute=["train"]), get_step_context=lambda _: None
)


class Bench:
    """A handler over a stand-in API, what it told and failed, and the time."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.now = 0.0
        self.told: list[str] = []
        self.failed: list[str] = []
        arguments: dict[str, Any] = {"k8s_client_batch_api": cluster, "k8s_client_core_api": cluster}
        self.handler: Any = PodSteps(
            pending_seconds=600,
            grace_seconds=120,
            gpu_resource="nvidia.com/gpu",
            clock=lambda: self.now,
            image=None,
            container_context=K8sContainerContext(),
            load_incluster_config=False,
            kubeconfig_file=None,
            **arguments,
        )

    def look(self, *, after: float = 20) -> str | None:
        """None where the step looks well, else why it does not."""
        self.now += after
        return self.handler.check_step_health(CONTEXT).unhealthy_reason

    def has(self, phase: str, **pod: Any) -> Job:
        """The Job with one pod in that phase."""
        metadata = {"name": f"{JOB}-aaaaa", "uid": "uid-a", "creationTimestamp": "2026-01-01T00:00:00Z", **pod}
        job = Job(body={"metadata": {"name": JOB}}, pods=[{"metadata": metadata, "status": {"phase": phase}}])
        self.cluster.jobs[JOB] = job
        return job


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(kubernetes.config, "load_kube_config", lambda _: None)
    monkeypatch.setattr(PodSteps, "_get_k8s_step_job_name", lambda *_: JOB)
    context = K8sContainerContext(namespace="tests", resources={"limits": {"nvidia.com/gpu": "1"}})
    monkeypatch.setattr(PodSteps, "_get_container_context", lambda *_: context)
    made = Bench(FakeCluster({}))
    monkeypatch.setattr(DagsterEvent, "engine_event", lambda _, message, __: made.told.append(message))
    monkeypatch.setattr(DagsterEvent, "step_failure_event", lambda _, data: made.failed.append(data.error.message))
    return made


def test_a_pod_that_writes_its_checkpoint_is_well_though_its_job_counts_it_as_failed(bench: Bench):
    job = bench.has("Running")
    assert bench.look() is None
    job.pods[0]["metadata"]["deletionTimestamp"] = "2026-01-01T01:00:00Z"
    job.status = V1JobStatus(failed=1)
    assert [bench.look() for _ in range(8)] == [None] * 8


def test_a_pod_whose_node_never_says_that_it_ended_is_lost_after_its_grace(bench: Bench):
    job = bench.has("Running")
    assert bench.look() is None
    job.pods[0]["metadata"]["deletionTimestamp"] = "2026-01-01T01:00:00Z"
    assert bench.look() is None
    assert bench.look(after=179) is None
    assert bench.look(after=1) is None
    assert "its pod was deleted before its work had ended" in str(bench.look())
    # The Job would start another pod, which would take the GPU to refuse the step.
    assert bench.cluster.deleted == [JOB]


def test_a_step_is_judged_on_the_second_look_and_once(bench: Bench):
    bench.has("Failed").status = V1JobStatus(failed=1)
    assert bench.look() is None
    assert "its pod does not say why it ended" in str(bench.look())
    assert bench.look() is None


def test_a_job_that_ended_well_without_a_word_of_its_step_is_lost(bench: Bench):
    job = bench.has("Succeeded")
    job.pods[0]["status"]["containerStatuses"] = [{"name": "dagster", "state": {"terminated": {"exitCode": 0}}}]
    job.status = V1JobStatus(succeeded=1)
    assert bench.look() is None
    assert "refused to begin the step twice" in str(bench.look())


def test_a_resumed_run_starts_what_was_never_started_and_watches_what_runs(bench: Bench):
    # dagster begins a step again where the first look after a resumption finds it unwell.
    assert "its pod was deleted before its work had ended" in str(bench.look())
    other = Bench(bench.cluster)
    other.has("Running")
    assert other.look() is None


def test_a_job_that_is_there_already_is_watched_and_not_a_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench.has("Running")
    refuse(monkeypatch, 409, "already exists")
    assert list(bench.handler.launch_step(CONTEXT)) == []
    assert bench.told == [f"Kubernetes job {JOB} is there already, and is watched"]
    assert bench.look() is None
    assert bench.failed == []


def test_a_pod_in_the_place_of_one_that_nobody_saw_is_not_taken_for_it(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    job = bench.has("Pending")
    bench.cluster.events = [
        {
            "reason": "Preempted",
            "message": "Preempted by other/training on node g1",
            "involvedObject": {"name": f"{JOB}-bbbbb"},
        }
    ]
    monkeypatch.setattr(K8sStepHandler, "launch_step", lambda *_: iter(()))
    monkeypatch.setattr(PodSteps, "_get_k8s_step_job_name", lambda *_: f"{JOB}-1")
    retries = SimpleNamespace(get_attempt_count=lambda _: 1)
    state = SimpleNamespace(
        known_state=SimpleNamespace(get_retry_state=lambda: retries), step_keys_to_execute=["train"]
    )
    context: Any = SimpleNamespace(execute_step_args=state, get_step_context=lambda _: None)
    list(bench.handler.launch_step(context))
    assert bench.told == [
        "attempt 1 was interrupted: preempted: a pod of higher priority took its place: "
        "Preempted by other/training on node g1"
    ]
    assert job.body["metadata"]["name"] in bench.cluster.deleted, "it would take the GPU to refuse the step"


@pytest.mark.parametrize(("status", "is_final"), [(422, True), (403, True), (401, False), (429, False), (503, False)])
def test_what_the_server_refuses_for_good_is_not_asked_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, status: int, is_final: bool
):
    refuse(monkeypatch, status, "the server's words")
    list(bench.handler.launch_step(CONTEXT))
    looked = bench.look()
    assert bool(bench.failed) is is_final
    assert (looked is None) is is_final
    assert "the server's words" in (bench.failed[0] if is_final else str(looked))


def test_while_the_server_is_away_nothing_is_judged(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench.has("Running")
    assert bench.look() is None

    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError("refused")

    with monkeypatch.context() as patch:
        patch.setattr(bench.cluster, "read_namespaced_job_status", away)
        for _ in range(3):
            with pytest.raises(ConnectionError):
                bench.look()
    assert bench.look() is None
    assert bench.failed == []


def test_a_step_gives_up_waiting_by_the_time_since_it_was_launched(bench: Bench):
    bench.has("Pending")
    assert bench.look(after=0) is None
    assert bench.look(after=599) is None
    assert bench.failed == []
    assert bench.look(after=1) is None
    assert "did not start within 600 s (POSTCLICK_POD_PENDING_SECONDS)" in bench.failed[0]
    assert bench.cluster.deleted == [JOB]


def refuse(monkeypatch: pytest.MonkeyPatch, status: int, words: str) -> None:
    def launch(*_: Any) -> Any:
        fault = refusal(status, words)
        try:
            raise fault
        except Exception as raised:
            why: Callable[..., Exception] = DagsterK8sUnrecoverableAPIError
            trace = (type(raised), raised, None)
            raise why("refused", k8s_api_exception=raised, original_exc_info=trace) from raised
        yield

    monkeypatch.setattr(K8sStepHandler, "launch_step", launch)
