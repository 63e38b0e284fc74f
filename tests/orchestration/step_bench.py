"""Runs whose steps are pods: their processes are real (`dagster api execute_step`), the API server is a stand-in."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster_k8s.client import DagsterKubernetesClient

import orchestration.kubernetes_executor
from tests.orchestration.fake_cluster import FakeCluster
from tests.orchestration.pod_job import FOLDER

ROOT = Path(__file__).parents[2]
KUBECONFIG = {
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "c",
}


STEP_FAILURE, STEP_RETRY = dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_UP_FOR_RETRY


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


def wait_until(holds: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.05)


@contextlib.contextmanager
def open_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench below the folder."""
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
    named = {"module": "orchestration.run_launcher", "class": "ResumableRunLauncher"}
    content = {"run_launcher": {**named, "config": launcher}}
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
