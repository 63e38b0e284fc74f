"""Postclick deployed by its own manifests on the real control plane, with the tests' addresses; it starts no run."""

import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.kubelet import Kubelet
from tests.cluster.postgresql import DATABASE, PASSWORD, USER, PostgreSQL
from tests.infra.kubernetes_manifests import NAMESPACE, objects
from tests.infra.kubernetes_server import KubernetesServer

OVERLAY = "production"
DATASET = Path(__file__).with_name("tiny.yaml")
ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 240
#: What the Dockerfile sets; the programs are those of this checkout's interpreter.
IMAGE = {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
    "PYTHONPATH": str(ROOT),
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GX_ANALYTICS_ENABLED": "false",
    "POSTCLICK_HOME": "/var/lib/postclick",
    "DAGSTER_HOME": "/opt/dagster/dagster_home",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "LANG": "C.UTF-8",
}
_FIRST = ("Namespace", "ServiceAccount", "Role", "RoleBinding", "PriorityClass", "ResourceQuota")
_PLURALS = {"PriorityClass": "priorityclasses"}
_ACCOUNTS = ("postclick-runner", "postclick-control", "postclick-code", "default")


class Deployment:
    """The production overlay's namespace: accounts with their rights, quotas, settings, the code server, the daemon.

    What differs from production: where PostgreSQL and the store are, sizes, and shorter times between two looks.
    """

    def __init__(self, server: KubernetesServer, kubelet: Kubelet, database: PostgreSQL) -> None:
        self.server = server
        self.kubelet = kubelet
        self.database = database
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.code_port: int = probe.getsockname()[1]

    def apply(self, settings: Mapping[str, str], keys: Mapping[str, str]) -> None:
        """Create everything and wait until the code server answers; `keys` are the store's, for the Secret."""
        made = objects(OVERLAY)
        for kind in _FIRST:
            for item in (item for item in made if item["kind"] == kind):
                self._create(item)
        self._create(_secret("postclick-postgresql", {"postgresql-password": PASSWORD}))
        self._create(_secret("postclick-s3", keys))
        for item in (item for item in made if item["kind"] == "ConfigMap"):
            if item["metadata"]["name"] == "postclick-settings":
                item["data"] |= {**self._addresses(), **settings}
            elif item["metadata"]["name"] == "postclick-dagster":
                item["data"] = self._instance(item["data"])
            self._create(item)
        for account in _ACCOUNTS:
            self.server.wait_for_account(NAMESPACE, account, seconds=START_SECONDS)
        deployments = {item["metadata"]["name"]: item for item in made if item["kind"] == "Deployment"}
        self._create(self._with_port(deployments["postclick-code"]))
        self._wait_for_code()
        self._create(_as_known(deployments["postclick-daemon"]))

    def set(self, **settings: str | None) -> None:
        """Change settings (POSTCLICK_…) for pods that start from now on; None unsets one."""
        self._patch("configmaps/postclick-settings", {"data": settings})

    def set_keys(self, keys: Mapping[str, str]) -> None:
        """Change the store's keys for pods that start from now on."""
        self._patch("secrets/postclick-s3", {"stringData": dict(keys)})

    def set_gpu_quota(self, quantity: str) -> None:
        """Let the namespace have so many GPUs."""
        self._patch("resourcequotas/postclick-gpu", {"spec": {"hard": {"requests.nvidia.com/gpu": quantity}}})

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """The namespace's pods with these labels ("dagster/run-id", …), oldest first."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        status, found = self.server.ask("GET", f"{_path('pods')}?labelSelector={selector}")
        assert status == 200, found
        return sorted(found["items"], key=lambda pod: pod["metadata"]["creationTimestamp"])

    def jobs(self, run_id: str, step: str) -> list[dict[str, Any]]:
        """The Jobs that there are of a run's step."""
        address = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs?labelSelector=dagster/run-id={run_id},dagster/op={step}"
        return self.server.ask("GET", address)[1]["items"]

    def delete_pod(self, name: str, *, grace: int | None = None) -> None:
        """As `kubectl delete pod`, or with `--grace-period`; 0: by force."""
        query = "" if grace is None else f"?gracePeriodSeconds={grace}"
        status, answer = self.server.ask("DELETE", f"{_path('pods')}/{name}{query}")
        assert status == 200, answer

    def clear(self) -> None:
        """Delete all Jobs, and their pods by force: the next test begins on an idle cluster."""
        for address, options in (
            ("/apis/batch/v1/namespaces/postclick/jobs", {"propagationPolicy": "Background"}),
            (f"{_path('pods')}?labelSelector=dagster/run-id", {"gracePeriodSeconds": 0}),
        ):
            body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
            self.server.ask("DELETE", address, body)

    def _addresses(self) -> dict[str, str]:
        return {
            "DAGSTER_PG_HOST": self.database.host,
            "DAGSTER_PG_PORT": str(self.database.port),
            "DAGSTER_PG_DB": DATABASE,
            "DAGSTER_PG_USERNAME": USER,
            "PGSSLMODE": "disable",
            "AWS_DEFAULT_REGION": "us-east-1",
            "POSTCLICK_DATASET": str(DATASET),
            "POSTCLICK_DEVICE": "cpu",
            # Asked for and given, though nothing computes on it.
            "POSTCLICK_GPUS": "1",
            "POSTCLICK_TRAINING_CPU": "1",
            "POSTCLICK_DATA_CPU": "1",
            "POSTCLICK_CHECKPOINT_SECONDS": "1",
            "POSTCLICK_TRACKING_TIMEOUT_SECONDS": "1",
        }

    def _instance(self, files: dict[str, str]) -> dict[str, str]:
        config = yaml.safe_load(files["dagster.yaml"])
        # A local process is in no container: the stand-in kubelet gives it a kubeconfig of the pod's account.
        config["run_launcher"]["config"]["load_incluster_config"] = False
        config["run_coordinator"]["config"] = {"dequeue_interval_seconds": 1}
        config["run_monitoring"]["poll_interval_seconds"] = 5
        workspace = yaml.safe_load(files["workspace.yaml"])
        for entry in workspace["load_from"]:
            entry["grpc_server"] |= {"host": "127.0.0.1", "port": self.code_port}
        return {"dagster.yaml": yaml.safe_dump(config), "workspace.yaml": yaml.safe_dump(workspace)}

    def _with_port(self, item: dict[str, Any]) -> dict[str, Any]:
        (container,) = item["spec"]["template"]["spec"]["containers"]
        container["args"] = [f"--port={self.code_port}" if "--port=" in word else word for word in container["args"]]
        container["args"] = [word.replace("--host=0.0.0.0", "--host=127.0.0.1") for word in container["args"]]
        return _as_known(item)

    def _wait_for_code(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.code_port)) == 0:
                    return
            time.sleep(0.2)
        names = [pod["metadata"]["name"] for pod in self.pods(**{"app.kubernetes.io/name": "postclick-code"})]
        logs = "\n".join(self.kubelet.log(name)[-3000:] for name in names)
        raise TimeoutError(f"the code server does not answer after {START_SECONDS} s:\n{logs}")

    def _create(self, item: dict[str, Any]) -> None:
        version, kind = item["apiVersion"], item["kind"]
        root = "/api/v1" if version == "v1" else f"/apis/{version}"
        plural = _PLURALS.get(kind, kind.lower() + "s")
        is_wide = kind in ("Namespace", "PriorityClass")
        address = f"{root}/{plural}" if is_wide else f"{root}/namespaces/{NAMESPACE}/{plural}"
        status, answer = self.server.ask("POST", address, item)
        assert status == 201, (kind, item["metadata"]["name"], answer)

    def _patch(self, address: str, body: dict[str, Any]) -> None:
        status, answer = self.server.ask("PATCH", _path(address), body)
        assert status == 200, answer


def _path(rest: str) -> str:
    return f"/api/v1/namespaces/{NAMESPACE}/{rest}"


def _secret(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(values)}


def _as_known(item: dict[str, Any]) -> dict[str, Any]:
    """Without probes: the stand-in plays none, and an old API server knows not all of them."""
    for container in item["spec"]["template"]["spec"]["containers"]:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            container.pop(probe, None)
    return item
