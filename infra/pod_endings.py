"""Says in words why a pod ended or does not start, from what the Kubernetes API tells of it; it asks no server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]

_MEMORY_REMEDY = (
    "give it more (POSTCLICK_TRAINING_MEMORY, or POSTCLICK_DATA_MEMORY for steps that do not train), or a smaller "
    "batch or fewer days"
)
_DEADLINE_REMEDY = "POSTCLICK_POD_DEADLINE_SECONDS says how long a step may run"
#: Conditions of a pod that something other than its own program ended (Kubernetes 1.26 and later), and pods' reasons.
_DISRUPTIONS = {
    "PreemptionByScheduler": "preempted: a pod of higher priority took its place",
    "DeletionByTaintManager": "its node was lost or is to be emptied (taint)",
    "EvictionByEvictionAPI": "evicted: its node is being drained",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "ended by its node, which was short of something or shut down",
    "Preempting": "preempted: its node needed the place for a system pod",
    "NodeLost": "its node was lost: it no longer answers",
    "NodeShutdown": "its node was shut down",
    "Terminated": "its node was shut down",
}
#: Events of a pod that outlive it.
_LAST_EVENTS = {
    "Preempted": "preempted: a pod of higher priority took its place",
    "TaintManagerEviction": "its node was lost or is to be emptied (taint)",
    "NodeNotReady": "its node was lost: it no longer answers",
    "Evicted": "evicted from its node",
    "NodeShutdown": "its node was shut down",
}
_IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")


@dataclass(frozen=True)
class PodEnding:
    """Why a pod ended. `may_retry`: whether the same pod, tried again, may well end otherwise."""

    sentence: str
    may_retry: bool


def pod_ending(
    pod: Object | None, *, events: Sequence[Object] = (), job_conditions: Sequence[Object] = ()
) -> PodEnding:
    """Why the pod of a step or a run ended without having said so itself.

    pod: as the API gives it, None if it is gone. events: of the pod and of its Job, oldest first. job_conditions: the
    conditions in the Job's status.
    """
    for condition in job_conditions:
        if condition.get("reason") == "DeadlineExceeded":
            return PodEnding(f"it was ended after its time (DeadlineExceeded): {_DEADLINE_REMEDY}", may_retry=False)
    if pod is None:
        return _ending_of_a_pod_that_is_gone(events)
    status, is_deleted = pod.get("status", {}), bool(pod.get("metadata", {}).get("deletionTimestamp"))
    known = _ending_by_status(status) or _ending_by_disruption(status)
    if known is None and not is_deleted:
        known = _ending_by_container(pod)
    return known or _ending_of_a_pod_that_is_gone(events, exists=not is_deleted)


def pod_waiting(pod: Object | None, *, events: Sequence[Object] = (), asks_for_gpu: bool = False) -> str | None:
    """What a pod that does not run yet waits for, with the server's own message; None while it is merely starting."""
    what = "GPU" if asks_for_gpu else "a node"
    if pod is None:
        refused = [event for event in events if event.get("reason") == "FailedCreate"]
        return f"waiting for {what}: {_text(refused[-1])}" if refused else None
    status = pod.get("status", {})
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"waiting for {what}: {_text(condition)}"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _IMAGE_REASONS:
            return f"waiting for its image: {waiting['reason']}: {_text(waiting, default=container.get('image', ''))}"
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"waiting for its container: {waiting['reason']}: {_text(waiting)}"
    mounts = [event for event in events if event.get("reason") in ("FailedMount", "FailedAttachVolume")]
    return f"waiting for a volume: {_text(mounts[-1])}" if mounts else None


def _ending_by_status(status: Object) -> PodEnding | None:
    reason, message = status.get("reason"), _text(status)
    if reason == "DeadlineExceeded":
        return PodEnding(f"it was ended after its time (DeadlineExceeded): {_DEADLINE_REMEDY}", may_retry=False)
    if reason == "Evicted":
        # A pod that outgrew a limit of its own outgrows it again; one that stood on a full node may find another.
        return PodEnding(f"evicted from its node: {message}", may_retry="exceeds" not in message)
    if reason in _DISRUPTIONS:
        return PodEnding(_joined(_DISRUPTIONS[reason], status), may_retry=True)
    if reason:
        return PodEnding(f"its node did not take it ({reason}): {message}", may_retry=True)
    return None


def _ending_by_disruption(status: Object) -> PodEnding | None:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            words = _DISRUPTIONS.get(condition.get("reason", ""), f"disrupted ({condition.get('reason')})")
            return PodEnding(_joined(words, condition), may_retry=True)
    return None


def _ending_by_container(pod: Object) -> PodEnding | None:
    for container in pod.get("status", {}).get("containerStatuses") or []:
        state = container.get("state") or {}
        ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
        if ended is not None:
            return _ending_by_exit(pod, container["name"], ended)
        waiting = state.get("waiting") or {}
        if waiting.get("reason") in _IMAGE_REASONS:
            said = _text(waiting, default=container.get("image", ""))
            return PodEnding(f"its image could not be fetched ({waiting['reason']}): {said}", may_retry=False)
    return None


def _ending_by_exit(pod: Object, container: str, ended: Object) -> PodEnding:
    code, reason = ended.get("exitCode"), ended.get("reason")
    if reason == "OOMKilled":
        sentence = f"out of memory (OOMKilled): it needed more than its limit{_memory_limit(pod, container)}"
        return PodEnding(f"{sentence}; {_MEMORY_REMEDY}", may_retry=False)
    if reason in ("ContainerCannotRun", "StartError", "CreateContainerError"):
        return PodEnding(f"its program could not be started ({reason}): {_text(ended)}", may_retry=False)
    if code == 0:
        return PodEnding(
            "it ended without saying how the step went: its pod was replaced and refused to begin the step twice",
            may_retry=True,
        )
    if code == 137:
        return PodEnding(
            "killed (exit code 137, SIGKILL): deleted by force, its node gone, or out of memory", may_retry=True
        )
    if code == 143:
        return PodEnding("ended on request (exit code 143, SIGTERM), without a last word", may_retry=True)
    said = f": {ended['message'].strip()}" if ended.get("message") else "; the pod's log says why"
    return PodEnding(f"its process ended with exit code {code}{said}", may_retry=True)


def _ending_of_a_pod_that_is_gone(events: Sequence[Object], *, exists: bool = False) -> PodEnding:
    for event in reversed(events):
        if event.get("reason") in _LAST_EVENTS:
            return PodEnding(_joined(_LAST_EVENTS[event["reason"]], event), may_retry=True)
    if exists:
        return PodEnding("its pod does not say why it ended; kubectl describe may tell more", may_retry=True)
    return PodEnding(
        "its pod was deleted before its work had ended (a drained node, a preemption, a person): no event tells of it",
        may_retry=True,
    )


def _memory_limit(pod: Object, container: str) -> str:
    for declared in pod.get("spec", {}).get("containers") or []:
        limit = ((declared.get("resources") or {}).get("limits") or {}).get("memory")
        if declared.get("name") == container and limit:
            return f" of {limit}"
    return ""


def _joined(words: str, said: Object) -> str:
    message = _text(said, default="")
    return f"{words}: {message}" if message else words


def _text(said: Object, *, default: str = "no message") -> str:
    return " ".join(str(said.get("message") or default).split())
