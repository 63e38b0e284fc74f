"""What a step's pod asks for, as the tag `dagster-k8s/config`: plain dictionaries; who sends them is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TAG = "dagster-k8s/config"
SHARED_MEMORY = "shared-memory"


@dataclass(frozen=True, kw_only=True)
class PodLimits:
    """How long a step's pod may take, in seconds.

    wait: until it runs, a node that is started for it included. work: running, all in all. grace: between SIGTERM and
    SIGKILL. kept: how long its Job can still be looked at with kubectl.
    """

    wait: int = 1800
    work: int = 86_400
    grace: int = 120
    kept: int = 86_400


@dataclass(frozen=True, kw_only=True)
class GpuNodes:
    """The GPUs of a training step and the nodes that have them.

    quantity: as Kubernetes writes it, such as "1". resource: the device plugin's name for it, which is also the key of
    the taint that clouds put on such nodes. selector: labels of the nodes; any node with the resource if empty.
    """

    quantity: str = "1"
    resource: str = "nvidia.com/gpu"
    selector: Mapping[str, str] = field(default_factory=dict)
    priority_class: str | None = None


def step_tags(*, cpu: str, memory: str, limits: PodLimits) -> dict[str, Any]:
    """Tags of a step that computes on CPU cores. Quantities are Kubernetes' ("2", "500m", "4Gi")."""
    return {TAG: _config(_resources({"cpu": cpu, "memory": memory}), limits)}


def training_tags(
    *, cpu: str, memory: str, shared_memory: str, limits: PodLimits, gpus: GpuNodes | None
) -> dict[str, Any]:
    """Tags of a step that trains: on GPU nodes, or on CPU cores where `gpus` is None.

    shared_memory: at most so much of `memory` may lie in /dev/shm, where torch's processes hand tensors to each other;
    a container's own is 64 MiB.
    """
    quantities = {"cpu": cpu, "memory": memory}
    if gpus is not None:
        quantities[gpus.resource] = gpus.quantity
    config = _config(_resources(quantities), limits)
    config["container_config"]["volume_mounts"] = [{"name": SHARED_MEMORY, "mount_path": "/dev/shm"}]
    pod = config["pod_spec_config"]
    pod["volumes"] = [{"name": SHARED_MEMORY, "empty_dir": {"medium": "Memory", "size_limit": shared_memory}}]
    if gpus is not None:
        pod["tolerations"] = [{"key": gpus.resource, "operator": "Exists", "effect": "NoSchedule"}]
        if gpus.selector:
            pod["node_selector"] = dict(gpus.selector)
        if gpus.priority_class:
            pod["priority_class_name"] = gpus.priority_class
    return {TAG: config}


def _resources(quantities: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Limits equal requests: such a pod is the last to be evicted, and an extended resource allows nothing else."""
    return {"requests": dict(quantities), "limits": dict(quantities)}


def _config(resources: Mapping[str, Any], limits: PodLimits) -> dict[str, Any]:
    return {
        "container_config": {"resources": resources},
        "pod_spec_config": {"termination_grace_period_seconds": limits.grace},
        "job_spec_config": {
            # A pod that Kubernetes replaces finds the step begun and refuses it: retries are the step's RetryPolicy.
            "backoff_limit": 0,
            # Counted from the Job's creation: what was spent waiting is not taken from the work.
            "active_deadline_seconds": limits.wait + limits.work,
            "ttl_seconds_after_finished": limits.kept,
        },
    }
