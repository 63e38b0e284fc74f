"""Steps in pods: what a user sees of one that waits, is refused, is taken away or ends of itself, and what is retried.

The pods' processes are real (`dagster api execute_step`), the API server is a stand-in.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")

from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.events import EngineEventData
from dagster._core.execution.plan.objects import StepRetryData, StepSuccessData
from dagster._core.executor.step_delegating import StepDelegatingExecutor
from dagster_k8s.client import DagsterKubernetesClient
from dagster_shared.error import SerializableErrorInfo

import orchestration.kubernetes_executor
from infra.local_object_store import LocalObjectStore
from tests.orchestration.fake_cluster import FakeCluster, refusal
from tests.orchestration.pod_job import FOLDER

ROOT = Path(__file__).parents[2]
KUBECONFIG = {
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "c",
}


class Bench:
    """A cluster, an instance whose runs go there, and a run of the job in a thread of its own."""

    def __init__(self, folder: Path, cluster: FakeCluster, instance: dg.DagsterInstance) -> None:
        self.folder = folder
        self.cluster = cluster
        self.instance = instance
        self._result: dg.JobExecutionResult | None = None
        self._run_id = ""

    def run(self, meanwhile: Callable[[], None] = lambda: None, *, job: str = "trains") -> bool:
        """Run the job to its end; whether it succeeded. `meanwhile` is called from another thread."""
        faults: list[BaseException] = []

        def act() -> None:
            try:
                meanwhile()
            except BaseException as fault:
                faults.append(fault)
                self.release()
                self.cluster.stop()

        thread = threading.Thread(target=act)
        thread.start()
        reconstructable = ReconstructableJob.for_file(str(Path(__file__).with_name("pod_job.py")), job)
        with dg.execute_job(reconstructable, instance=self.instance, raise_on_error=False) as result:
            self._run_id = result.run_id
            succeeded = result.success
        thread.join()
        assert not faults, faults
        return succeeded

    def hold(self, *attempts: int) -> None:
        for attempt in attempts:
            (self.folder / f"wait-{attempt}").touch()

    def release(self) -> None:
        for file in self.folder.glob("wait-*"):
            file.unlink()

    def attempts(self) -> list[str]:
        file = self.folder / "attempts"
        return file.read_text().split() if file.exists() else []

    def wait_for_attempts(self, count: int) -> None:
        wait_until(lambda: len(self.attempts()) >= count)

    def entries(self) -> list[dg.EventLogEntry]:
        run_id = self._run_id or self.instance.get_runs(limit=1)[0].run_id
        return list(self.instance.all_logs(run_id))

    def messages(self) -> str:
        return "\n".join(entry.message for entry in self.entries())

    def retries(self) -> list[str]:
        """Why the step was begun again, each time."""
        found = [entry.dagster_event for entry in self.entries() if entry.dagster_event_type == STEP_RETRY]
        return [event.step_retry_data.error.message for event in found if event and event.step_retry_data.error]

    def failure(self) -> str:
        """What the step failed of, as the alert tells it."""
        (event,) = [entry.dagster_event for entry in self.entries() if entry.dagster_event_type == STEP_FAILURE]
        assert event is not None
        data = event.step_failure_data
        assert data.error is not None
        return (data.user_failure_data.description if data.user_failure_data else None) or data.error.message


STEP_FAILURE, STEP_RETRY = dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_UP_FOR_RETRY


def wait_until(holds: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.05)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    home = tmp_path / "dagster"
    home.mkdir()
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(KUBECONFIG))
    launcher = {
        "load_incluster_config": False,
        "kubeconfig_file": str(kubeconfig),
        "job_image": "postclick:tests",
        "job_namespace": "tests",
        "service_account_name": "runner",
        "instance_config_map": "instance",
        "dagster_home": str(home),
    }
    content = {"run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher}}
    (home / "dagster.yaml").write_text(yaml.safe_dump({**content, "telemetry": {"enabled": False}}))
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PWD": str(ROOT),
        "PYTHONPATH": str(ROOT),
        FOLDER: str(tmp_path),
    }
    cluster: Any = FakeCluster(environment)

    def client(**_: Any) -> DagsterKubernetesClient:
        return DagsterKubernetesClient(cluster, cluster, lambda _: None, lambda _: None, time.time)

    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("DAGSTER_STEP_DELEGATING_EXECUTOR_SLEEP_SECONDS", "0.1")
    monkeypatch.setattr(DagsterKubernetesClient, "production_client", staticmethod(client))
    monkeypatch.setattr(orchestration.kubernetes_executor, "LOOK_SECONDS", 0)
    monkeypatch.chdir(ROOT)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Bench(tmp_path, cluster, instance)
    cluster.stop()


def test_a_step_runs_in_a_pod_that_asks_for_what_its_tags_say(bench: Bench):
    assert bench.run()
    assert bench.attempts() == ["0"]
    (container,) = bench.cluster.job().body["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}
    assert container["args"][:3] == ["dagster", "api", "execute_step"]
    assert bench.cluster.job().body["spec"]["backoffLimit"] == 0


def test_a_pod_deleted_with_grace_is_begun_again_once(bench: Bench):
    bench.hold(0)

    def delete() -> None:
        bench.wait_for_attempts(1)
        bench.cluster.events = [
            {
                "reason": "Preempted",
                "message": "Preempted by other/training on node g1",
                "involvedObject": {"name": bench.cluster.job().pods[-1]["metadata"]["name"]},
            }
        ]
        bench.cluster.take_away(bench.cluster.job(), signal.SIGTERM)

    assert bench.run(delete)
    assert bench.attempts() == ["0", "1"]
    assert "attempt 1 was interrupted: preempted: a pod of higher priority took its place" in bench.messages()


@pytest.mark.parametrize("replaces", [False, True], ids=["counted", "replaced"])
def test_a_pod_deleted_by_force_is_begun_again_once(bench: Bench, replaces: bool):
    bench.hold(0)
    bench.cluster.replaces = replaces

    def delete() -> None:
        bench.wait_for_attempts(1)
        # Seen running, as after 20 s of any training.
        time.sleep(0.5)
        bench.cluster.take_away(bench.cluster.job(), signal.SIGKILL)

    assert bench.run(delete)
    assert bench.attempts() == ["0", "1"]
    assert len(bench.retries()) == 1


def test_pods_that_are_lost_again_and_again_end_in_a_failure_that_says_so(bench: Bench):
    bench.hold(0, 1, 2)

    def delete() -> None:
        for attempt in (1, 2, 3):
            bench.wait_for_attempts(attempt)
            bench.cluster.take_away(bench.cluster.job(-1), signal.SIGKILL)

    assert not bench.run(delete)
    assert bench.attempts() == ["0", "1", "2"]
    assert "its pod was deleted before the step had ended" in bench.failure()


@pytest.mark.parametrize(
    ("status", "condition", "words"),
    [
        ({"reason": "Evicted", "message": 'EmptyDir "scratch" exceeds the limit'}, None, "evicted from its node"),
        (
            {
                "containerStatuses": [
                    {"name": "dagster", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
                ]
            },
            None,
            "out of memory (OOMKilled): it needed more than its limit of 16Gi; give it more (POSTCLICK_TRAINING_MEMORY",
        ),
        ({}, "DeadlineExceeded", "POSTCLICK_POD_DEADLINE_SECONDS"),
    ],
)
def test_what_would_only_happen_again_is_not_tried_again(
    bench: Bench, status: dict[str, Any], condition: str | None, words: str
):
    bench.hold(0)

    def fail() -> None:
        bench.wait_for_attempts(1)
        bench.cluster.fail(bench.cluster.job(), condition=condition, **status)

    assert not bench.run(fail)
    assert bench.attempts() == ["0"]
    assert words in bench.failure()


UNSCHEDULABLE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
QUOTA = 'pods "step" is forbidden: exceeded quota: postclick-gpu, limited: requests.nvidia.com/gpu=0'


@pytest.mark.parametrize("by_quota", [False, True], ids=["no node", "quota"])
def test_a_step_without_a_gpu_says_what_it_waits_for_and_gives_up_in_time(
    bench: Bench, by_quota: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(orchestration.kubernetes_executor, "PodSteps", impatient(seconds=2))
    if by_quota:
        bench.cluster.without_pod = True
    else:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": UNSCHEDULABLE}
        bench.cluster.hold = {"conditions": [condition]}

    def refuse() -> None:
        wait_until(lambda: bench.cluster.jobs)
        name = next(iter(bench.cluster.jobs), "")
        for pod in ("step", "other-name") if by_quota else ():
            message = QUOTA.replace("step", pod)
            bench.cluster.events.append(
                {"reason": "FailedCreate", "message": message, "involvedObject": {"name": name}}
            )
            wait_until(lambda: "waiting for GPU" in bench.messages())

    assert not bench.run(refuse)
    told = "exceeded quota: postclick-gpu" if by_quota else UNSCHEDULABLE
    (line,) = [line for line in bench.messages().splitlines() if line.startswith("waiting for GPU: ")]
    assert told in line
    assert "did not start within 2 s (POSTCLICK_POD_PENDING_SECONDS): waiting for GPU: " in bench.failure()
    assert told in bench.failure()
    assert bench.cluster.jobs == {}


#: Told to end, it takes longer than a look at the pods to write where it was, and goes on from there on any machine.
TRAINER = """
import argparse, json, pathlib, signal, sys, time
from ml.training.checkpoint_files import CheckpointFiles
parser = argparse.ArgumentParser()
parser.add_argument("verb"); parser.add_argument("--spec"); parser.add_argument("--out")
given = parser.parse_args()
files = CheckpointFiles(pathlib.Path(json.loads(pathlib.Path(given.spec).read_text())["checkpoints"]), "i" * 64)
files.folder.mkdir(parents=True, exist_ok=True)
found = files.read()
def end(*_):
    time.sleep(2)
    files.write({"position": {"epoch": 0, "step": 7}}, lambda path: path.write_text("weights"))
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print("goes on from step", found[0]["position"]["step"] if found else 0, flush=True)
if not found:
    pathlib.Path("BESIDE", "attempts").write_text("0")
    time.sleep(600)
out = pathlib.Path(given.out)
out.mkdir()
(out / "weights").write_text("w")
"""


def test_a_training_that_is_told_to_end_keeps_its_checkpoint_for_the_next_machine(bench: Bench, tmp_path: Path):
    stand_in = tmp_path / "python" / "ml"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").write_text(f"__path__.append({str(ROOT / 'ml')!r})\n")
    (stand_in / "__main__.py").write_text(TRAINER.replace("BESIDE", str(tmp_path)))
    path = f"{stand_in.parent}{os.pathsep}{ROOT}"
    # `python -m` looks into the working folder first.
    bench.cluster.environment.update(PYTHONPATH=path, PWD=str(tmp_path))

    def delete() -> None:
        bench.wait_for_attempts(1)
        # What a child has said and nobody has read is lost with its parent.
        wait_until(lambda: "goes on from step 0" in bench.messages())
        bench.cluster.take_away(bench.cluster.job(), signal.SIGTERM)

    assert bench.run(delete, job="trains_in_store")
    said = [line for line in bench.messages().splitlines() if line.startswith("goes on from step")]
    assert said == ["goes on from step 0", "goes on from step 7"]
    store = LocalObjectStore(tmp_path / "store")
    assert [key for key in store.list_keys("checkpoints/") if key.endswith("manifest.json")] == []
    assert store.exists("models/m/manifest.json")
    lease = json.loads(store.get_bytes(f"leases/training/{'i' * 64}")[0])
    assert (lease["token"], lease["holder"]) == (2, None)


def impatient(*, seconds: float) -> Callable[..., Any]:
    made = orchestration.kubernetes_executor.PodSteps
    return lambda **arguments: made(**{**arguments, "pending_seconds": seconds})


def test_a_gpu_that_comes_late_is_used(bench: Bench):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": UNSCHEDULABLE}
    bench.cluster.hold = {"conditions": [condition]}

    def come() -> None:
        wait_until(lambda: bench.cluster.jobs)
        time.sleep(0.5)
        bench.cluster.hold = None
        job = bench.cluster.job()
        job.pods.clear()
        bench.cluster._start(job)

    assert bench.run(come)
    assert f"waiting for GPU: {UNSCHEDULABLE}" in bench.messages()


def test_a_quantity_that_the_server_refuses_fails_at_once_in_its_words(bench: Bench):
    words = "spec.containers[0].resources.limits[nvidia.com/gpu]: Invalid value: must be an integer"
    bench.cluster.refuse = [refusal(422, words)]
    assert not bench.run()
    assert bench.attempts() == []
    assert bench.failure().startswith(f"Kubernetes refused the step's pod: {words}; POSTCLICK_GPUS")


def test_a_server_that_cannot_take_the_job_now_is_asked_again(bench: Bench):
    bench.cluster.refuse = [refusal(403, "exceeded quota: postclick-objects, limited: count/jobs.batch=500")]
    assert bench.run()
    assert bench.attempts() == ["1"]
    (retry,) = bench.retries()
    assert "Kubernetes did not take job dagster-step-" in retry
    assert "exceeded quota: postclick-objects" in retry


def test_a_resumed_run_gives_back_the_places_of_steps_that_it_did_not_begin(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    def event(kind: dg.DagsterEventType, step_key: str, data: Any = None) -> dg.DagsterEvent:
        return dg.DagsterEvent(kind.value, job_name="job", step_key=step_key, event_specific_data=data)

    begun, ended = dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS
    # What a resumed run's executor reads first: one step ended, one begun again after a retry, one still at work.
    prior = [
        event(begun, "embeddings"),
        event(ended, "embeddings", StepSuccessData(duration_ms=1.0)),
        event(begun, "again"),
        event(STEP_RETRY, "again", StepRetryData(error=SerializableErrorInfo("lost", [], None))),
        event(dg.DagsterEventType.STEP_WORKER_STARTING, "again", EngineEventData()),
        event(begun, "works"),
    ]
    monkeypatch.setattr(StepDelegatingExecutor, "_pop_events", lambda *_: prior)
    storage = bench.instance.event_log_storage
    storage.set_concurrency_slots("gpu", 3)
    for step_key in ("embeddings", "again", "works"):
        assert storage.claim_concurrency_slot("gpu", "run", step_key).is_claimed
    executor: Any = orchestration.kubernetes_executor.ResumableExecutor
    assert executor._pop_events(executor.__new__(executor), bench.instance, "run", set()) == prior
    held = {slot.step_key for slot in storage.get_concurrency_info("gpu").claimed_slots}
    assert held == {"again", "works"}
