"""The GPU quotas of the manifests as a real control plane counts them."""

import time

from tests.infra.kubernetes_manifests import named, run_job, step_job
from tests.infra.kubernetes_objects import PATIENCE_SECONDS, gpu_pod, make, path_of, pod
from tests.infra.kubernetes_server import KubernetesServer


def enforce(kubernetes: KubernetesServer, overlay: str, namespace: str) -> None:
    """A namespace with the overlay's GPU quota, counted by the controller, and the accounts that its pods name."""
    make(kubernetes, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for kind, name in (("ServiceAccount", "postclick-runner"), ("ResourceQuota", "postclick-gpu")):
        item = named(overlay, kind, name)
        item["metadata"]["namespace"] = namespace
        make(kubernetes, item, namespace)
    kubernetes.wait_for_account(namespace, "postclick-runner", seconds=PATIENCE_SECONDS)
    quota, end = f"/api/v1/namespaces/{namespace}/resourcequotas/postclick-gpu", time.monotonic() + PATIENCE_SECONDS
    while "hard" not in kubernetes.ask("GET", quota)[1]["status"]:
        assert time.monotonic() < end, "the quota is not counted"
        time.sleep(0.1)


def test_a_quota_of_no_gpus_holds_a_training_and_says_why(kubernetes: KubernetesServer):
    enforce(kubernetes, "dev", "no-gpus")
    status, answer = kubernetes.ask("POST", "/api/v1/namespaces/no-gpus/pods", gpu_pod("direct"))
    assert status == 403
    assert "exceeded quota: postclick-gpu" in answer["message"]
    assert "limited: requests.nvidia.com/gpu=0" in answer["message"]
    job = step_job("production", "training")
    job["metadata"]["namespace"] = "no-gpus"
    make(kubernetes, job, "no-gpus")
    end, told = time.monotonic() + PATIENCE_SECONDS, []
    while not told and time.monotonic() < end:
        events = kubernetes.ask("GET", "/api/v1/namespaces/no-gpus/events")[1]["items"]
        told = [found["message"] for found in events if found["reason"] == "FailedCreate"]
        time.sleep(0.2)
    assert "exceeded quota: postclick-gpu" in told[0]
    assert kubernetes.ask("GET", "/api/v1/namespaces/no-gpus/pods")[1]["items"] == []


def test_productions_quota_lets_four_trainings_in_and_no_fifth(kubernetes: KubernetesServer):
    enforce(kubernetes, "production", "four-gpus")
    pods = "/api/v1/namespaces/four-gpus/pods"
    answers = [kubernetes.ask("POST", pods, gpu_pod(f"training-{number}")) for number in range(5)]
    assert [status for status, _ in answers] == [201] * 4 + [403]
    assert "used: requests.nvidia.com/gpu=4" in answers[4][1]["message"]


def test_a_cpu_step_is_not_held_by_the_gpu_quota(kubernetes: KubernetesServer):
    enforce(kubernetes, "dev", "cpu-alone")
    made = pod(run_job("dev")["spec"]["template"], "cpu-step")
    assert kubernetes.ask("POST", path_of(made, "cpu-alone"), made)[0] == 201
