"""The stand-in kubelet itself: what a pod is given, and how each of its ends looks to the API server."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.kubelet import CPU_NODE, GPU_NODE, Kubelet, missing_namespaces
from tests.infra.kubernetes_server import KubernetesServer, kubernetes_server, missing_part

PODS = "/api/v1/namespaces/default/pods"
SHOW = """
import os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: (print('asked to end', flush=True), sys.exit(3)))
print(os.getpid() < 9, socket.gethostname(), os.environ['GREETING'], os.environ['SECRET'], os.environ['CORES'],
      os.environ['SPACE'], open(os.environ['FILE']).read(), os.path.isdir(os.environ['EMPTY']), flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesServer]:
    if reason := missing_part() or missing_namespaces():
        pytest.skip(reason)
    with kubernetes_server(tmp_path_factory.mktemp("kubernetes")) as started:
        started.wait_for_account("default")
        for kind, name, data in (
            ("ConfigMap", "words", {"data": {"GREETING": "hello", "file.txt": "mounted"}}),
            ("Secret", "password", {"stringData": {"key": "hidden"}}),
        ):
            made = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **data}
            assert started.ask("POST", f"/api/v1/namespaces/default/{kind.lower()}s", made)[0] == 201
        yield started


@pytest.fixture(scope="module")
def kubelet(server: KubernetesServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubelet]:
    started = Kubelet(
        server, tmp_path_factory.mktemp("pods"), nodes=[CPU_NODE, GPU_NODE], image={"PATH": "/usr/bin:/bin"}
    )
    started.start()
    yield started
    started.stop()


def pod(name: str, *command: str, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "none",
        "command": list(command),
        "envFrom": [{"configMapRef": {"name": "words"}}, {"secretRef": {"name": "absent", "optional": True}}],
        "env": [
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "password", "key": "key"}}},
            {"name": "CORES", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "SPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "FILE", "value": "/etc/words/file.txt"},
            {"name": "EMPTY", "value": "/var/empty-one"},
        ],
        "resources": {"limits": {"cpu": "1500m", **spec.pop("limits", {})}},
        "volumeMounts": [
            {"name": "words", "mountPath": "/etc/words/file.txt", "subPath": "file.txt"},
            {"name": "empty", "mountPath": "/var/empty-one"},
        ],
    }
    volumes = [{"name": "words", "configMap": {"name": "words"}}, {"name": "empty", "emptyDir": {}}]
    spec = {"containers": [container], "volumes": volumes, "restartPolicy": "Never", **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def until(holds: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.1)
    return found


def status(server: KubernetesServer, name: str) -> dict[str, Any]:
    return server.ask("GET", f"{PODS}/{name}")[1].get("status", {})


def start(server: KubernetesServer, kubelet: Kubelet, name: str) -> None:
    code, answer = server.ask("POST", PODS, pod(name, sys.executable, "-c", SHOW))
    assert code == 201, answer
    until(lambda: "hello" in kubelet.log(name))


def ended(server: KubernetesServer, name: str) -> tuple[str, int, str]:
    until(lambda: status(server, name).get("phase") in ("Succeeded", "Failed"))
    found = status(server, name)
    terminated = found["containerStatuses"][0]["state"]["terminated"]
    return found["phase"], terminated["exitCode"], terminated["reason"]


def test_a_pod_gets_what_it_asks_for_and_time_to_end(server: KubernetesServer, kubelet: Kubelet):
    start(server, kubelet, "shown")
    assert kubelet.log("shown").split() == ["True", "shown", "hello", "hidden", "2", "default", "mounted", "True"]
    assert until(lambda: status(server, "shown").get("phase") == "Running")
    assert kubelet.placed["shown"] == "cpu-0"
    assert server.ask("DELETE", f"{PODS}/shown")[0] == 200
    until(lambda: server.ask("GET", f"{PODS}/shown")[0] == 404)
    assert "asked to end" in kubelet.log("shown")
    assert kubelet.deaths["shown"] == 3


def test_a_pod_that_needs_a_gpu_is_placed_on_the_node_that_has_one(server: KubernetesServer, kubelet: Kubelet):
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    made = pod("trains", "sh", "-c", "exit 7", limits={"nvidia.com/gpu": "1"}, tolerations=tolerations)
    assert server.ask("POST", PODS, made)[0] == 201
    assert ended(server, "trains") == ("Failed", 7, "Error")
    assert kubelet.placed["trains"] == "gpu-0"


def test_ends_that_a_pod_does_not_choose(server: KubernetesServer, kubelet: Kubelet):
    for name in ("hungry", "evicted", "forced", "lost"):
        start(server, kubelet, name)
    kubelet.kill("hungry", reason="OOMKilled")
    assert ended(server, "hungry") == ("Failed", 137, "OOMKilled")
    kubelet.evict("evicted", "The node was low on resource: memory.")
    assert ended(server, "evicted")[0] == "Failed"
    assert status(server, "evicted")["reason"] == "Evicted"
    for name in ("forced", "lost"):
        if name == "lost":
            kubelet.lose(name)
        assert server.ask("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")[0] == 200
    until(lambda: not kubelet.is_alive("forced"))
    assert "asked to end" not in kubelet.log("forced")
    assert kubelet.is_alive("lost"), "a node that is cut off goes on with what it runs"


def test_a_read_only_root_leaves_its_volumes_to_write_to(server: KubernetesServer, kubelet: Kubelet):
    write = """
import os, tempfile
for folder in (os.environ["EMPTY"], "/dev/shm", os.getcwd(), "/tmp"):
    try:
        tempfile.TemporaryFile(dir=folder).close()
        print("written", flush=True)
    except OSError as fault:
        print(fault.strerror, flush=True)
"""
    made = pod("reads", sys.executable, "-c", write)
    made["spec"]["containers"][0]["securityContext"] = {"readOnlyRootFilesystem": True}
    assert server.ask("POST", PODS, made)[0] == 201
    assert ended(server, "reads") == ("Succeeded", 0, "Completed")
    assert kubelet.log("reads").splitlines() == ["written", "written", *["Read-only file system"] * 2]
