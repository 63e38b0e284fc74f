"""A stand-in for the kubelets of a few nodes: runs the pods bound to them as local processes; it schedules nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.cluster.pod_folder import CannotStart, PodFolder, prepare
from tests.infra.kubernetes_server import KubernetesServer

LOOK_SECONDS = 0.25
HEARTBEAT_SECONDS = 10
#: Between two starts of a container that is always to run (Kubernetes: 10 s at first, then longer).
RESTART_SECONDS = 5
_INIT = str(Path(__file__).with_name("container_init.py"))


def missing_namespaces() -> str | None:
    """Why no process here can be given a process tree and a host name of its own, or None."""
    probe = [sys.executable, "-S", "-E", _INIT, "probe", "", "true"]
    tried = subprocess.run(probe, check=False, capture_output=True, text=True)
    if tried.returncode == 0:
        return None
    why = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"pods are played in namespaces of their own, which needs root or user namespaces: {why}"


@dataclass(frozen=True)
class Node:
    """What a node says of itself when it joins."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    resources: Mapping[str, str] = field(default_factory=dict)


CPU_NODE = Node("cpu-0")
GPU_NODE = Node(
    "gpu-0",
    labels={"postclick/node-pool": "gpu"},
    taints=({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},),
    resources={"nvidia.com/gpu": "1"},
)


@dataclass
class _Running:
    """A pod and the process that plays its container. `owed`: a status that the API server has not taken yet."""

    pod: dict[str, Any]
    made: PodFolder
    process: "subprocess.Popen[bytes]"
    restarts: int = 0
    restart_at: float | None = None
    kill_at: float | None = None
    reason: str | None = None
    message: str | None = None
    is_lost: bool = False
    owed: dict[str, Any] | None = None


class Kubelet:
    """Runs pods until `stop`. Each has a folder, a process tree and a host name of its own, as if on a machine alone.

    image: the environment that the containers' image sets, PATH to the programs in it included.
    `deaths`: how each ended pod's process ended, by the pod's name.
    """

    def __init__(
        self, server: KubernetesServer, folder: Path, *, nodes: Sequence[Node], image: Mapping[str, str]
    ) -> None:
        self._server = server
        self._folder = folder
        self._nodes = nodes
        self._image = dict(image)
        self._running: dict[str, _Running] = {}
        self._seen: set[str] = set()
        self._told: set[str] = set()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._beat = 0.0
        self._thread = threading.Thread(target=self._work, name="kubelet", daemon=True)
        self.deaths: dict[str, int] = {}
        self.placed: dict[str, str] = {}

    def start(self) -> None:
        """Join the nodes to the cluster and begin to run pods."""
        for node in self._nodes:
            made = {"metadata": {"name": node.name, "labels": dict(node.labels)}, "spec": {"taints": [*node.taints]}}
            status, answer = self._server.ask("POST", "/api/v1/nodes", made)
            assert status in (201, 409), answer
        self._thread.start()

    def stop(self) -> None:
        """Kill every pod's processes, the lost ones too; the API server is told nothing."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        for running in self._running.values():
            running.process.kill()
            running.process.wait()

    def log(self, pod: str) -> str:
        """What the pod printed."""
        found = self._folder / f"{pod}.log"
        return found.read_text(encoding="utf-8", errors="replace") if found.exists() else ""

    def folder(self, pod: str) -> Path:
        """The container's own files."""
        return self._folder / pod

    def kill(self, pod: str, *, reason: str | None = None) -> None:
        """SIGKILL without a word before, as the kernel's out-of-memory killer does (reason: "OOMKilled")."""
        with self._lock:
            running = self._named(pod)
            running.reason = reason
            running.process.kill()

    def evict(self, pod: str, message: str) -> None:
        """End a pod as a node that is short of something does: SIGKILL, and the pod Failed as Evicted."""
        with self._lock:
            running = self._named(pod)
            running.message = message
            running.process.kill()

    def lose(self, pod: str) -> None:
        """The pod's node is cut off: nobody hears of the pod, nobody can end it, and its processes live on."""
        with self._lock:
            self._named(pod).is_lost = True

    def freeze(self, pod: str) -> None:
        """Stop the pod's processes where they are, as on a machine that stands still; `thaw` lets them go on."""
        self._signal_all(pod, signal.SIGSTOP)

    def thaw(self, pod: str) -> None:
        """Let the processes of a frozen pod go on, knowing nothing of the time between."""
        self._signal_all(pod, signal.SIGCONT)

    def _signal_all(self, pod: str, number: signal.Signals) -> None:
        with self._lock:
            for process in _family(self._named(pod).process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)

    def restarts(self, pod: str) -> int:
        """How often the pod's container was started again."""
        with self._lock:
            return self._named(pod).restarts

    def is_alive(self, pod: str) -> bool:
        """Whether the pod's process lives, whatever the API server thinks."""
        with self._lock:
            return pod not in self.deaths and self._named(pod).process.poll() is None

    def _named(self, name: str) -> _Running:
        (found,) = [running for running in self._running.values() if running.pod["metadata"]["name"] == name]
        return found

    def _work(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):  # The API server is away: pods run on.
                self._beat_if_due()
                with self._lock:
                    self._look()
            time.sleep(LOOK_SECONDS)

    def _beat_if_due(self) -> None:
        if time.monotonic() - self._beat < HEARTBEAT_SECONDS:
            return
        for node in self._nodes:
            capacity = {"cpu": "64", "memory": "256Gi", "pods": "110", **node.resources}
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a stand-in"}
            times = {"lastHeartbeatTime": _now(), "lastTransitionTime": _now()}
            status = {"capacity": capacity, "allocatable": capacity, "conditions": [{**ready, **times}]}
            self._patch(f"/api/v1/nodes/{node.name}/status", {"status": status})
        self._beat = time.monotonic()

    def _look(self) -> None:
        status, listed = self._server.ask("GET", "/api/v1/pods")
        if status != 200:
            return
        pods = {pod["metadata"]["uid"]: pod for pod in listed["items"] if self._is_ours(pod)}
        for uid, running in list(self._running.items()):
            if not running.is_lost:
                self._tend(uid, running, pods.get(uid))
        for uid, pod in pods.items():
            if uid not in self._seen and pod["status"]["phase"] == "Pending":
                self._begin(uid, pod)
            elif uid not in self._running and "deletionTimestamp" in pod["metadata"]:
                self._remove(pod)

    def _is_ours(self, pod: dict[str, Any]) -> bool:
        return pod["spec"].get("nodeName") in {node.name for node in self._nodes}

    def _begin(self, uid: str, pod: dict[str, Any]) -> None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        if "deletionTimestamp" in pod["metadata"]:
            self._remove(pod)
            return

        def read(kind: str, wanted: str) -> dict[str, Any] | None:
            status, found = self._server.ask("GET", f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{wanted}")
            return found if status == 200 else None

        try:
            made = prepare(pod, self._folder / name, read=read, server=self._server.server, image=self._image)
        except CannotStart as fault:
            waiting = {"reason": "CreateContainerConfigError", "message": str(fault)}
            if uid not in self._told:
                self._told.add(uid)
                self._report(pod, _status(pod, "Pending", {"waiting": waiting}, is_ready=False))
            return
        self._seen.add(uid)
        self._running[uid] = running = _Running(pod, made, self._spawn(name, made))
        self.placed[name] = pod["spec"]["nodeName"]
        running.owed = _status(pod, "Running", {"running": {"startedAt": _now()}}, is_ready=True)
        self._pay(running)

    def _spawn(self, name: str, made: PodFolder) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{name}.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-S", "-E", _INIT, name, _folders(made), *made.command],
                env=made.environment,
                cwd=made.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _tend(self, uid: str, running: _Running, pod: dict[str, Any] | None) -> None:
        code = running.process.poll()
        if code is None:
            self._end_if_asked(running, pod)
        elif pod is not None and "deletionTimestamp" not in pod["metadata"] and _is_restarted(pod):
            self._restart(running)
            return
        elif running.pod["metadata"]["name"] not in self.deaths:
            code = code if code >= 0 else 128 - code
            self.deaths[running.pod["metadata"]["name"]] = code
            ended: dict[str, Any] = {"exitCode": code, "finishedAt": _now()}
            ended["reason"] = running.reason or ("Error" if code else "Completed")
            running.owed = _status(
                running.pod, "Failed" if code else "Succeeded", {"terminated": ended}, is_ready=False
            )
            if running.message:
                running.owed |= {"reason": "Evicted", "message": running.message}
        if running.owed is not None and pod is not None:
            self._pay(running)
        if code is not None and (pod is None or running.owed is None):
            del self._running[uid]
            if pod is not None and "deletionTimestamp" in pod["metadata"]:
                self._remove(pod)

    def _restart(self, running: _Running) -> None:
        if running.restart_at is None:
            running.restart_at = time.monotonic() + RESTART_SECONDS
        elif time.monotonic() >= running.restart_at:
            running.restart_at = None
            running.restarts += 1
            running.process = self._spawn(running.pod["metadata"]["name"], running.made)

    def _end_if_asked(self, running: _Running, pod: dict[str, Any] | None) -> None:
        if pod is None:  # Deleted by force: the node finds out and ends it with no grace.
            running.process.kill()
        elif "deletionTimestamp" in pod["metadata"]:
            if running.kill_at is None:
                grace = pod["metadata"].get("deletionGracePeriodSeconds") or 0
                running.kill_at = time.monotonic() + grace
                os.kill(running.process.pid, signal.SIGTERM)
            elif time.monotonic() > running.kill_at:
                running.process.kill()

    def _pay(self, running: _Running) -> None:
        assert running.owed is not None
        if self._report(running.pod, running.owed):
            running.owed = None

    def _report(self, pod: dict[str, Any], status: dict[str, Any]) -> bool:
        return self._patch(f"{_address(pod)}/status", {"status": status}) in (200, 404)

    def _remove(self, pod: dict[str, Any]) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        self._server.ask("DELETE", _address(pod), {"apiVersion": "v1", "kind": "DeleteOptions", **options})

    def _patch(self, address: str, body: dict[str, Any]) -> int:
        return self._server.ask("PATCH", address, body)[0]


def _folders(made: PodFolder) -> str:
    return "-" if made.writable is None else ":".join(map(str, made.writable))


def _family(process: int) -> list[int]:
    """The process and all below it."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [process, *(found for child in children for found in _family(int(child)))]


def _address(pod: Mapping[str, Any]) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _status(pod: Mapping[str, Any], phase: str, state: dict[str, Any], *, is_ready: bool) -> dict[str, Any]:
    container = pod["spec"]["containers"][0]
    entry = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
    conditions = [{"type": kind, "status": str(is_ready)} for kind in ("Ready", "ContainersReady")]
    return {
        "phase": phase,
        "startTime": _now(),
        "podIP": "127.0.0.1",
        "conditions": conditions,
        "containerStatuses": [{**entry, "ready": is_ready, "started": is_ready, "state": state}],
    }


def _is_restarted(pod: Mapping[str, Any]) -> bool:
    return pod["spec"].get("restartPolicy", "Always") == "Always"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
