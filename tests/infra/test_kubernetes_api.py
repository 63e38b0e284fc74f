"""The manifests before a real API server: it accepts every object and pod, and says why where it does not."""

from typing import Any

import pytest

from tests.infra.kubernetes_manifests import OVERLAYS, objects, pod_templates, run_job, step_job
from tests.infra.kubernetes_objects import gpu_pod, path_of, pod
from tests.infra.kubernetes_server import KubernetesServer


@pytest.fixture(scope="module")
def minor(kubernetes: KubernetesServer) -> int:
    return int(kubernetes.ask("GET", "/version")[1]["minor"].rstrip("+"))


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


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_accepts_every_object(kubernetes: KubernetesServer, minor: int, overlay: str):
    jobs = [run_job(overlay), step_job(overlay, "other"), step_job(overlay, "training")]
    for item in [as_this_server_knows_it(found, minor) for found in [*objects(overlay), *jobs]]:
        status, answer = kubernetes.ask("POST", path_of(item) + "?dryRun=All", item)
        there_already = status == 409 and answer["reason"] == "AlreadyExists"
        assert status == 201 or there_already, (item["kind"], item["metadata"]["name"], answer.get("message"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_accepts_every_pod(kubernetes: KubernetesServer, minor: int, overlay: str):
    for name, template in pod_templates(overlay):
        made = pod(template, name)
        # A StatefulSet's claims become volumes of its pods; by themselves they are not there.
        volumes = {volume["name"] for volume in made["spec"]["volumes"]}
        for container in made["spec"]["containers"]:
            container["volumeMounts"] = [found for found in container["volumeMounts"] if found["name"] in volumes]
        status, answer = kubernetes.ask("POST", path_of(made) + "?dryRun=All", as_this_server_knows_it(made, minor))
        assert status == 201, (name, answer.get("message"))


def test_the_server_refuses_half_a_gpu_with_its_reason(kubernetes: KubernetesServer):
    wrong = gpu_pod("half")
    for bound in wrong["spec"]["containers"][0]["resources"].values():
        bound["nvidia.com/gpu"] = "500m"
    status, answer = kubernetes.ask("POST", path_of(wrong) + "?dryRun=All", wrong)
    assert status == 422
    assert "must be an integer" in answer["message"]
