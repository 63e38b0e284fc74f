"""The manifests before a real API server: it accepts every object, and refuses what the accounts and quotas forbid."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.kubernetes_manifests import (
    NAMESPACE,
    OVERLAYS,
    named,
    needs_kubectl,
    objects,
    pod_templates,
    run_job,
    step_job,
)
from tests.infra.kubernetes_server import KubernetesServer, kubernetes_server, missing_part

PLURALS = {"NetworkPolicy": "networkpolicies", "PriorityClass": "priorityclasses"}
CLUSTER_WIDE = {"Namespace", "PriorityClass"}
PATIENCE_SECONDS = 90


def path_of(item: dict[str, Any], namespace: str = NAMESPACE) -> str:
    """The address that objects of this kind are posted to."""
    version = item["apiVersion"]
    root = "/api/v1" if version == "v1" else f"/apis/{version}"
    plural = PLURALS.get(item["kind"], item["kind"].lower() + "s")
    return f"{root}/{plural}" if item["kind"] in CLUSTER_WIDE else f"{root}/namespaces/{namespace}/{plural}"


def as_this_server_knows_it(item: dict[str, Any], minor: int) -> dict[str, Any]:
    """The object in the words of an older API server; on one of today it is left as it is."""
    if minor < 21 and item["kind"] == "PodDisruptionBudget":
        item["apiVersion"] = "policy/v1beta1"
    if minor < 24:
        spec = item.get("spec", {})
        for container in spec.get("template", {}).get("spec", spec).get("containers", []):
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if "grpc" in container.get(probe, {}):
                    container[probe]["tcpSocket"] = {"port": container[probe].pop("grpc")["port"]}
    return item


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesServer]:
    """A control plane with the namespace, accounts, roles and priorities of the manifests, and a Secret to guard."""
    reason = missing_part()
    if reason:
        pytest.skip(reason)
    needs_kubectl()
    with kubernetes_server(tmp_path_factory.mktemp("kubernetes")) as started:
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


@pytest.fixture(scope="module")
def minor(server: KubernetesServer) -> int:
    return int(server.ask("GET", "/version")[1]["minor"].rstrip("+"))


@pytest.fixture(scope="module")
def runner(server: KubernetesServer) -> str:
    """The token of a run's pod."""
    return server.token(NAMESPACE, "postclick-runner")


def make(server: KubernetesServer, item: dict[str, Any], namespace: str = NAMESPACE) -> dict[str, Any]:
    status, answer = server.ask("POST", path_of(item, namespace), item)
    assert status == 201, answer
    return answer


def pod(template: dict[str, Any], name: str) -> dict[str, Any]:
    metadata = {**template["metadata"], "name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def gpu_pod(name: str) -> dict[str, Any]:
    return pod(step_job("production", "training")["spec"]["template"], name)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_accepts_every_object(server: KubernetesServer, minor: int, overlay: str):
    jobs = [run_job(overlay), step_job(overlay, "other"), step_job(overlay, "training")]
    for item in [as_this_server_knows_it(found, minor) for found in [*objects(overlay), *jobs]]:
        status, answer = server.ask("POST", path_of(item) + "?dryRun=All", item)
        there_already = status == 409 and answer["reason"] == "AlreadyExists"
        assert status == 201 or there_already, (item["kind"], item["metadata"]["name"], answer.get("message"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_accepts_every_pod(server: KubernetesServer, minor: int, overlay: str):
    for name, template in pod_templates(overlay):
        made = pod(template, name)
        # A StatefulSet's claims become volumes of its pods; by themselves they are not there.
        volumes = {volume["name"] for volume in made["spec"]["volumes"]}
        for container in made["spec"]["containers"]:
            container["volumeMounts"] = [found for found in container["volumeMounts"] if found["name"] in volumes]
        status, answer = server.ask("POST", path_of(made) + "?dryRun=All", as_this_server_knows_it(made, minor))
        assert status == 201, (name, answer.get("message"))


def test_the_server_refuses_half_a_gpu_with_its_reason(server: KubernetesServer):
    wrong = gpu_pod("half")
    for bound in wrong["spec"]["containers"][0]["resources"].values():
        bound["nvidia.com/gpu"] = "500m"
    status, answer = server.ask("POST", path_of(wrong) + "?dryRun=All", wrong)
    assert status == 422
    assert "must be an integer" in answer["message"]


def test_a_run_starts_watches_and_deletes_its_steps(server: KubernetesServer, runner: str):
    job = run_job("dev")
    job["metadata"]["name"] = "step"
    assert server.ask("POST", path_of(job), job, token=runner)[0] == 201
    jobs, pods = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs", f"/api/v1/namespaces/{NAMESPACE}/pods"
    name = first_pod(server, runner, "step")
    for path in (
        f"{jobs}/step",
        f"{jobs}/step/status",
        f"{jobs}?watch=1&timeoutSeconds=1",
        f"{pods}/{name}",
        f"{pods}?watch=1&timeoutSeconds=1",
        f"/api/v1/namespaces/{NAMESPACE}/events",
    ):
        assert server.ask("GET", path, token=runner)[0] == 200, path
    # No node runs the pod, so it has no log; but the account may ask for it.
    assert server.ask("GET", f"{pods}/{name}/log", token=runner)[0] in {200, 204, 400}
    assert server.ask("DELETE", f"{jobs}/step", token=runner)[0] == 200
    assert server.ask("DELETE", f"{pods}/{name}?gracePeriodSeconds=0", token=runner)[0] == 200


def first_pod(server: KubernetesServer, token: str, job: str) -> str:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=job-name%3D{job}"
        found = server.ask("GET", path, token=token)[1]["items"]
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
def test_no_account_may(server: KubernetesServer, account: str, deed: str):
    method, path, body = FORBIDDEN[deed]
    status, answer = server.ask(method, path, body, token=server.token(NAMESPACE, account))
    assert (status, answer["reason"]) == (403, "Forbidden"), answer


def test_a_run_may_not_start_jobs_elsewhere(server: KubernetesServer, runner: str):
    job = run_job("dev")
    job["metadata"]["namespace"] = "elsewhere"
    assert server.ask("POST", path_of(job, "elsewhere"), job, token=runner)[0] == 403


def test_the_code_server_may_not_start_jobs(server: KubernetesServer):
    token = server.token(NAMESPACE, "postclick-code")
    assert server.ask("POST", path_of(run_job("dev")) + "?dryRun=All", run_job("dev"), token=token)[0] == 403


def enforce(server: KubernetesServer, overlay: str, namespace: str) -> None:
    """A namespace with the overlay's GPU quota, counted by the controller, and the accounts that its pods name."""
    make(server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for kind, name in (("ServiceAccount", "postclick-runner"), ("ResourceQuota", "postclick-gpu")):
        item = named(overlay, kind, name)
        item["metadata"]["namespace"] = namespace
        make(server, item, namespace)
    server.wait_for_account(namespace, "postclick-runner", seconds=PATIENCE_SECONDS)
    end = time.monotonic() + PATIENCE_SECONDS
    while "hard" not in server.ask("GET", f"/api/v1/namespaces/{namespace}/resourcequotas/postclick-gpu")[1]["status"]:
        assert time.monotonic() < end, "the quota is not counted"
        time.sleep(0.1)


def test_a_quota_of_no_gpus_holds_a_training_and_says_why(server: KubernetesServer):
    enforce(server, "dev", "no-gpus")
    status, answer = server.ask("POST", path_of(POD, "no-gpus"), gpu_pod("direct"))
    assert status == 403
    assert "exceeded quota: postclick-gpu" in answer["message"]
    assert "limited: requests.nvidia.com/gpu=0" in answer["message"]
    job = step_job("production", "training")
    job["metadata"]["namespace"] = "no-gpus"
    make(server, job, "no-gpus")
    end, told = time.monotonic() + PATIENCE_SECONDS, []
    while not told and time.monotonic() < end:
        events = server.ask("GET", "/api/v1/namespaces/no-gpus/events")[1]["items"]
        told = [found["message"] for found in events if found["reason"] == "FailedCreate"]
        time.sleep(0.2)
    assert "exceeded quota: postclick-gpu" in told[0]
    assert server.ask("GET", "/api/v1/namespaces/no-gpus/pods")[1]["items"] == []


def test_productions_quota_lets_four_trainings_in_and_no_fifth(server: KubernetesServer):
    enforce(server, "production", "four-gpus")
    answers = [server.ask("POST", path_of(POD, "four-gpus"), gpu_pod(f"training-{number}")) for number in range(5)]
    assert [status for status, _ in answers] == [201] * 4 + [403]
    assert "used: requests.nvidia.com/gpu=4" in answers[4][1]["message"]


def test_a_cpu_step_is_not_held_by_the_gpu_quota(server: KubernetesServer):
    enforce(server, "dev", "cpu-alone")
    made = pod(run_job("dev")["spec"]["template"], "cpu-step")
    assert server.ask("POST", path_of(made, "cpu-alone"), made)[0] == 201
