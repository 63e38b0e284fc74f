"""The Kubernetes Job of a step or a run as the API shows it: status, pods, events; it draws no conclusion."""

from __future__ import annotations

import json
import re
from typing import Any

from dagster_k8s.client import DagsterKubernetesClient
from kubernetes.client import ApiClient, ApiException

from infra.pod_endings import PodEnding, pod_ending

#: Phases that a pod does not leave.
ENDED_PHASES = ("Succeeded", "Failed")


class KubernetesJob:
    """A look at a Job: each was true at one moment. Pods and events are dictionaries as the API gives them.

    status: None where there is no such Job. pods: oldest first.
    Raises what the client raises where the API server does not answer.
    """

    def __init__(self, client: DagsterKubernetesClient, *, name: str, namespace: str) -> None:
        self.name = name
        self._client = client
        self._namespace = namespace
        self.status = client.get_job_status(job_name=name, namespace=namespace)
        found = map(_as_dict, client.get_pods_in_job(name, namespace))
        self.pods = sorted(found, key=lambda pod: pod["metadata"].get("creationTimestamp", ""))

    @property
    def conditions(self) -> list[dict[str, Any]]:
        """Those of the Job's status."""
        return [_as_dict(condition) for condition in (self.status and self.status.conditions) or []]

    @property
    def is_finished(self) -> bool:
        """Whether it is there and will start no more pods."""
        if self.status is None:
            return False
        ended = [each["type"] for each in self.conditions if each["status"] == "True"]
        return bool(self.status.failed or self.status.succeeded or {"Failed", "Complete"} & set(ended))

    def events(self) -> list[dict[str, Any]]:
        """Events of the Job and of its pods, oldest first; those of a pod outlive it by an hour."""
        try:
            listed: Any = self._client.core_api.list_namespaced_event(self._namespace)
        except ApiException:
            return []  # They only put words to what is known without them.
        # A retry's Job is called like the first one's, with a number behind it.
        own_name = re.compile(re.escape(self.name) + "(-[a-z0-9]{5})?")
        found = map(_as_dict, listed.items)
        own = [event for event in found if own_name.fullmatch(event.get("involvedObject", {}).get("name", ""))]
        return sorted(own, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))

    def ending(self, pod: dict[str, Any] | None) -> PodEnding:
        """Why `pod`, one of its own or one that is gone, ended."""
        return pod_ending(pod, events=self.events(), job_conditions=self.conditions)

    def delete(self) -> None:
        """Delete it and its pods; one that is gone already is no fault."""
        self._client.delete_job(job_name=self.name, namespace=self._namespace)


def pod_uid(pod: dict[str, Any]) -> str:
    """What tells a pod from another that took its place."""
    return pod["metadata"]["uid"]


def pod_phase(pod: dict[str, Any] | None) -> str | None:
    """Pending, Running, Succeeded, Failed or Unknown; None without a pod."""
    return None if pod is None else pod["status"].get("phase")


def pod_exit_code(pod: dict[str, Any] | None) -> int | None:
    """How the program of its one container ended; None where it has not, or there is no pod."""
    for container in (pod or {}).get("status", {}).get("containerStatuses") or []:
        return ((container.get("state") or {}).get("terminated") or {}).get("exitCode")
    return None


def is_told_to_end(pod: dict[str, Any]) -> bool:
    """Whether it was deleted, and has perhaps not ended yet."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def server_answer(fault: Any) -> tuple[int | None, str]:
    """Status and message of what the API server answered, or what kept it from answering."""
    try:
        return fault.status, " ".join(json.loads(fault.body)["message"].split())
    except (AttributeError, TypeError, ValueError, KeyError):
        return getattr(fault, "status", None), " ".join(str(fault).split())


def _as_dict(made: Any) -> dict[str, Any]:
    given: Any = made if isinstance(made, dict) else ApiClient().sanitize_for_serialization(made)
    return given
