"""A stand-in for the Kubernetes API in the tests' process: Jobs whose pods are local processes; no node, no network."""

import itertools
import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from kubernetes.client import ApiClient, ApiException, V1JobCondition, V1JobStatus


def refusal(status: int, message: str) -> ApiException:
    """What the client raises where the API server answers so."""
    fault = ApiException(status=status, reason="refused")
    fault.body = json.dumps({"kind": "Status", "message": message})
    return fault


@dataclass
class Job:
    """A Job, the dictionary that the API would give of its pod, and the process that plays it."""

    body: dict[str, Any]
    status: V1JobStatus = field(default_factory=V1JobStatus)
    pods: list[dict[str, Any]] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None


class FakeCluster:
    """Both APIs that dagster-k8s calls. `hold` leaves pods pending; `refuse` is raised by the next creations.

    counts_failed_at_once: a Job counts a pod that was told to end as failed, as Kubernetes 1.26 and later do.
    replaces: a pod that is gone is followed by another, as Kubernetes did before.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.jobs: dict[str, Job] = {}
        self.deleted: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.hold: dict[str, Any] | None = None
        self.without_pod = False
        self.refuse: list[Exception] = []
        self.replaces = False
        self._count = itertools.count()

    def job(self, number: int = 0) -> Job:
        return list(self.jobs.values())[number]

    # BatchV1Api

    def create_namespaced_job(self, *, body: Any, namespace: str, _request_timeout: float) -> None:
        assert namespace == "tests"
        if self.refuse:
            raise self.refuse.pop(0)
        made = ApiClient().sanitize_for_serialization(body)
        name = made["metadata"]["name"]
        if name in self.jobs:
            raise refusal(409, f'jobs.batch "{name}" already exists')
        self.jobs[name] = job = Job(body=made)
        if not self.without_pod:
            self._start(job)

    def read_namespaced_job_status(self, name: str, *, namespace: str) -> Any:
        if name not in self.jobs:
            raise refusal(404, f'jobs.batch "{name}" not found')
        self._observe(self.jobs[name])
        return SimpleNamespace(status=self.jobs[name].status)

    def delete_namespaced_job(self, *, name: str, namespace: str) -> None:
        self.deleted.append(name)
        job = self.jobs.pop(name)
        self._end(job, signal.SIGKILL)

    # CoreV1Api

    def list_namespaced_pod(self, *, namespace: str, label_selector: str) -> Any:
        name = label_selector.removeprefix("job-name=")
        if name in self.jobs:
            self._observe(self.jobs[name])
        return SimpleNamespace(items=[_Pod(pod) for pod in self.jobs[name].pods] if name in self.jobs else [])

    def list_namespaced_event(self, namespace: str) -> Any:
        return SimpleNamespace(items=self.events)

    def delete_namespaced_pod(self, *, name: str, namespace: str) -> None:
        raise refusal(404, f'pods "{name}" not found')

    # What a test does to a pod

    def take_away(self, job: Job, number: signal.Signals) -> None:
        """Delete the pod: told to end with its grace period (SIGTERM), or by force (SIGKILL)."""
        if number == signal.SIGTERM:
            job.pods[-1]["metadata"]["deletionTimestamp"] = _now()
            job.status.failed = 1
        self._end(job, number)
        if number == signal.SIGKILL:
            job.pods.clear()
            job.status.failed = None if self.replaces else 1
            if self.replaces:
                self._start(job)

    def fail(self, job: Job, *, condition: str | None = None, **status: Any) -> None:
        """The pod fails with this status, and its Job."""
        self._end(job, signal.SIGKILL)
        job.process = None
        job.pods[-1]["status"] = {"phase": "Failed", **status}
        job.status.failed = 1
        if condition:
            job.status.conditions = [V1JobCondition(type="Failed", status="True", reason=condition)]

    def stop(self) -> None:
        for job in self.jobs.values():
            self._end(job, signal.SIGKILL)

    def _start(self, job: Job) -> None:
        number = next(self._count)
        name = f"{job.body['metadata']['name']}-pod{number:02}"
        metadata = {"name": name, "uid": f"uid-{number}", "creationTimestamp": _now()}
        pod = {"metadata": metadata, "spec": job.body["spec"]["template"]["spec"], "status": {"phase": "Pending"}}
        job.pods.append(pod)
        if self.hold is not None:
            pod["status"] = {"phase": "Pending", **self.hold}
            return
        container = pod["spec"]["containers"][0]
        own = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
        job.process = subprocess.Popen(
            container["args"], env={**own, **self.environment}, start_new_session=True, cwd=self.environment["PWD"]
        )
        pod["status"] = {"phase": "Running"}

    def _observe(self, job: Job) -> None:
        if job.process is None or job.process.poll() is None:
            return
        code, job.process = job.process.returncode, None
        if job.pods and job.pods[-1]["metadata"].get("deletionTimestamp"):
            job.pods.clear()
        elif job.pods:
            job.pods[-1]["status"] = {"phase": "Failed" if code else "Succeeded"}
            job.status = V1JobStatus(failed=1) if code else V1JobStatus(succeeded=1)

    def _end(self, job: Job, number: signal.Signals) -> None:
        if job.process is not None and job.process.poll() is None:
            os.killpg(job.process.pid, number)
            if number == signal.SIGKILL:
                job.process.wait()
                job.process = None


class _Pod(dict[str, Any]):
    """A pod as a dictionary, with the one attribute that dagster-k8s itself reads of it."""

    @property
    def metadata(self) -> Any:
        return SimpleNamespace(name=self["metadata"]["name"])


def _now() -> str:
    return datetime.now(UTC).isoformat()
