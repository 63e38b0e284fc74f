"""Objects of the manifests as requests to a real API server, and a control plane that has the accounts of them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.infra.kubernetes_manifests import NAMESPACE, objects, step_job
from tests.infra.kubernetes_server import KubernetesServer, kubernetes_server

PLURALS = {"NetworkPolicy": "networkpolicies", "PriorityClass": "priorityclasses"}
CLUSTER_WIDE = {"Namespace", "PriorityClass"}
PATIENCE_SECONDS = 90


@contextlib.contextmanager
def with_accounts(folder: Path) -> Iterator[KubernetesServer]:
    """A control plane with the namespace, accounts, roles and priorities of the manifests, and a Secret to guard."""
    with kubernetes_server(folder) as started:
        applied = {"Namespace", "ServiceAccount", "Role", "RoleBinding", "PriorityClass"}
        for item in sorted(objects("dev"), key=lambda found: found["kind"] != "Namespace"):
            if item["kind"] in applied:
                make(started, item)
        make(started, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}})
        password = {"metadata": {"name": "postclick-postgresql"}, "stringData": {"postgresql-password": "made-up"}}
        make(started, {"apiVersion": "v1", "kind": "Secret", **password})
        for account in ("postclick-runner", "postclick-control", "postclick-code", "default"):
            started.wait_for_account(NAMESPACE, account, seconds=PATIENCE_SECONDS)
        yield started


def path_of(item: dict[str, Any], namespace: str = NAMESPACE) -> str:
    """The address that objects of this kind are posted to."""
    version = item["apiVersion"]
    root = "/api/v1" if version == "v1" else f"/apis/{version}"
    plural = PLURALS.get(item["kind"], item["kind"].lower() + "s")
    return f"{root}/{plural}" if item["kind"] in CLUSTER_WIDE else f"{root}/namespaces/{namespace}/{plural}"


def make(server: KubernetesServer, item: dict[str, Any], namespace: str = NAMESPACE) -> dict[str, Any]:
    status, answer = server.ask("POST", path_of(item, namespace), item)
    assert status == 201, answer
    return answer


def pod(template: dict[str, Any], name: str) -> dict[str, Any]:
    metadata = {**template["metadata"], "name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def gpu_pod(name: str) -> dict[str, Any]:
    return pod(step_job("production", "training")["spec"]["template"], name)
