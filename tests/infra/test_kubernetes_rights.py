"""What the accounts of the manifests may do by a real API server's word, and what it forbids them."""

import time

import pytest

from tests.infra.kubernetes_manifests import NAMESPACE, run_job
from tests.infra.kubernetes_objects import PATIENCE_SECONDS, path_of
from tests.infra.kubernetes_server import KubernetesServer


@pytest.fixture(scope="module")
def runner(kubernetes: KubernetesServer) -> str:
    """The token of a run's pod."""
    return kubernetes.token(NAMESPACE, "postclick-runner")


def test_a_run_starts_watches_and_deletes_its_steps(kubernetes: KubernetesServer, runner: str):
    job = run_job("dev")
    job["metadata"]["name"] = "step"
    assert kubernetes.ask("POST", path_of(job), job, token=runner)[0] == 201
    jobs, pods = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs", f"/api/v1/namespaces/{NAMESPACE}/pods"
    name = first_pod(kubernetes, runner, "step")
    for path in (
        f"{jobs}/step",
        f"{jobs}/step/status",
        f"{jobs}?watch=1&timeoutSeconds=1",
        f"{pods}/{name}",
        f"{pods}?watch=1&timeoutSeconds=1",
        f"/api/v1/namespaces/{NAMESPACE}/events",
    ):
        assert kubernetes.ask("GET", path, token=runner)[0] == 200, path
    # No node runs the pod, so it has no log; but the account may ask for it.
    assert kubernetes.ask("GET", f"{pods}/{name}/log", token=runner)[0] in {200, 204, 400}
    assert kubernetes.ask("DELETE", f"{jobs}/step", token=runner)[0] == 200
    assert kubernetes.ask("DELETE", f"{pods}/{name}?gracePeriodSeconds=0", token=runner)[0] == 200


def first_pod(kubernetes: KubernetesServer, token: str, job: str) -> str:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=job-name%3D{job}"
        found = kubernetes.ask("GET", path, token=token)[1]["items"]
        if found:
            return found[0]["metadata"]["name"]
        time.sleep(0.2)
    raise TimeoutError(f"the Job {job} has no pod after {PATIENCE_SECONDS} s")


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "smuggled"},
    "spec": {"containers": [{"name": "c", "image": "busybox"}]},
}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "more"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "ServiceAccount", "name": "postclick-runner", "namespace": NAMESPACE}],
}
TOKEN = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["api"]}}
FORBIDDEN = {
    "read its database's Secret": ("GET", "/api/v1/namespaces/postclick/secrets/postclick-postgresql", None),
    "list Secrets": ("GET", "/api/v1/namespaces/postclick/secrets", None),
    "list Secrets elsewhere": ("GET", "/api/v1/namespaces/elsewhere/secrets", None),
    "list all Secrets": ("GET", "/api/v1/secrets", None),
    "read ConfigMaps": ("GET", "/api/v1/namespaces/postclick/configmaps/postclick-settings", None),
    "make a bare pod": ("POST", "/api/v1/namespaces/postclick/pods", POD),
    "make a pod elsewhere": ("POST", "/api/v1/namespaces/elsewhere/pods", POD),
    "list pods elsewhere": ("GET", "/api/v1/namespaces/elsewhere/pods", None),
    "enter a pod": ("POST", "/api/v1/namespaces/postclick/pods/any/exec?command=sh", None),
    "give itself more rights": (
        "POST",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/postclick/rolebindings",
        BINDING,
    ),
    "take another account's token": (
        "POST",
        "/api/v1/namespaces/postclick/serviceaccounts/postclick-control/token",
        TOKEN,
    ),
    "lift the quota": ("DELETE", "/api/v1/namespaces/postclick/resourcequotas/postclick-gpu", None),
    "read nodes": ("GET", "/api/v1/nodes", None),
}


@pytest.mark.parametrize("deed", FORBIDDEN)
@pytest.mark.parametrize("account", ["postclick-runner", "postclick-control", "postclick-code"])
def test_no_account_may(kubernetes: KubernetesServer, account: str, deed: str):
    method, path, body = FORBIDDEN[deed]
    status, answer = kubernetes.ask(method, path, body, token=kubernetes.token(NAMESPACE, account))
    assert (status, answer["reason"]) == (403, "Forbidden"), answer


def test_a_run_may_not_start_jobs_elsewhere(kubernetes: KubernetesServer, runner: str):
    job = run_job("dev")
    job["metadata"]["namespace"] = "elsewhere"
    assert kubernetes.ask("POST", path_of(job, "elsewhere"), job, token=runner)[0] == 403


def test_the_code_server_may_not_start_jobs(kubernetes: KubernetesServer):
    token = kubernetes.token(NAMESPACE, "postclick-code")
    assert kubernetes.ask("POST", path_of(run_job("dev")) + "?dryRun=All", run_job("dev"), token=token)[0] == 403
