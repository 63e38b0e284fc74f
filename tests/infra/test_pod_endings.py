"""Why a pod ended or waits, in words: one row for each thing that Kubernetes says of pods."""

from typing import Any

import pytest

from infra.pod_endings import PodEnding, pod_ending, pod_waiting


def pod(*, reason: str | None = None, message: str | None = None, **status: Any) -> dict[str, Any]:
    limits = {"limits": {"memory": "16Gi"}}
    return {
        "metadata": {"name": "step-abcde"},
        "spec": {"containers": [{"name": "dagster", "resources": limits}]},
        "status": {"reason": reason, "message": message, **status},
    }


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "dagster", "image": "registry/postclick:1", "state": state}]}


def exited(code: int, *, reason: str = "Error", message: str | None = None) -> dict[str, Any]:
    return container(terminated={"exitCode": code, "reason": reason, "message": message})


def disrupted(reason: str) -> dict[str, Any]:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "the server's words"}
    return pod(phase="Failed", conditions=[condition], **exited(143))


def event(reason: str, message: str = "the server's words") -> dict[str, Any]:
    return {"reason": reason, "message": message}


ENDINGS = [
    (pod(**exited(137, reason="OOMKilled")), "out of memory (OOMKilled): it needed more than its limit of 16Gi", False),
    (pod(reason="Evicted", message="The node was low on resource: memory."), "evicted from its node: The node", True),
    (
        pod(reason="Evicted", message='Usage of EmptyDir volume "scratch" exceeds the limit "8Gi".'),
        'EmptyDir volume "scratch" exceeds',
        False,
    ),
    (pod(reason="DeadlineExceeded"), "ended after its time (DeadlineExceeded): POSTCLICK_POD_DEADLINE_SECONDS", False),
    (
        pod(reason="NodeLost", message="node g1 is unresponsive"),
        "its node was lost: it no longer answers: node g1",
        True,
    ),
    (pod(reason="Preempting"), "preempted: its node needed the place for a system pod", True),
    (pod(reason="UnexpectedAdmissionError", message="no GPU"), "did not take it (UnexpectedAdmissionError): no", True),
    (
        disrupted("PreemptionByScheduler"),
        "preempted: a pod of higher priority took its place: the server's words",
        True,
    ),
    (disrupted("DeletionByTaintManager"), "its node was lost or is to be emptied (taint)", True),
    (disrupted("EvictionByEvictionAPI"), "evicted: its node is being drained", True),
    (disrupted("SomethingNew"), "disrupted (SomethingNew): the server's words", True),
    (pod(**exited(137)), "killed (exit code 137, SIGKILL)", True),
    (pod(**exited(143)), "ended on request (exit code 143, SIGTERM)", True),
    (pod(**exited(0, reason="Completed")), "ended without saying how the step went", True),
    (pod(**exited(1)), "its process ended with exit code 1; the pod's log says why", True),
    (pod(**exited(1, message="no such module\n")), "its process ended with exit code 1: no such module", True),
    (
        pod(**exited(128, reason="StartError", message="exec: not found")),
        "could not be started (StartError): exec",
        False,
    ),
    (
        pod(**container(waiting={"reason": "ImagePullBackOff", "message": "Back-off pulling"})),
        "could not be fetched (ImagePullBackOff): Back-off pulling",
        False,
    ),
    (pod(phase="Failed"), "its pod does not say why it ended", True),
    (None, "its pod was deleted before its work had ended", True),
    # Told to end, it ended well: nothing of the program explains it.
    (
        {**pod(**exited(0)), "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
        "its pod was deleted before its work had ended",
        True,
    ),
]


@pytest.mark.parametrize(("ended", "words", "may_retry"), ENDINGS)
def test_a_pod_that_ended_is_explained(ended: dict[str, Any] | None, words: str, may_retry: bool):
    ending = pod_ending(ended)
    assert words in ending.sentence
    assert ending.may_retry is may_retry


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Preempted", "preempted: a pod of higher priority took its place: the server's words"),
        ("TaintManagerEviction", "its node was lost or is to be emptied (taint): the server's words"),
        ("NodeNotReady", "its node was lost: it no longer answers: the server's words"),
    ],
)
def test_of_a_pod_that_is_gone_its_last_event_tells(reason: str, words: str):
    events = [event("Scheduled"), event(reason), event("Killing", "Stopping container dagster")]
    assert pod_ending(None, events=events) == PodEnding(words, may_retry=True)


def test_the_jobs_deadline_comes_before_what_became_of_its_pod():
    condition = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    ending = pod_ending(None, job_conditions=[condition])
    assert "POSTCLICK_POD_DEADLINE_SECONDS" in ending.sentence
    assert not ending.may_retry


QUOTA = 'Error creating: pods "step-x" is forbidden: exceeded quota: postclick-gpu, limited: requests.nvidia.com/gpu=0'
NO_NODE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
WAITING = [
    (None, [event("FailedCreate", "earlier"), event("FailedCreate", QUOTA)], f"waiting for GPU: {QUOTA}"),
    (None, [], None),
    (
        pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_NODE}]),
        [],
        f"waiting for GPU: {NO_NODE}",
    ),
    (
        pod(**container(waiting={"reason": "ErrImagePull", "message": "not found"})),
        [],
        "waiting for its image: ErrImagePull: not found",
    ),
    (
        pod(**container(waiting={"reason": "CreateContainerConfigError", "message": 'secret "s3" not found'})),
        [],
        'waiting for its container: CreateContainerConfigError: secret "s3" not found',
    ),
    (
        pod(**container(waiting={"reason": "ContainerCreating"})),
        [event("FailedMount", "no such claim")],
        "waiting for a volume: no such claim",
    ),
    (pod(**container(waiting={"reason": "ContainerCreating"})), [event("Scheduled")], None),
]


@pytest.mark.parametrize(("waits", "events", "words"), WAITING)
def test_what_a_pod_waits_for_is_told_in_the_servers_words(
    waits: dict[str, Any] | None, events: list[dict[str, Any]], words: str | None
):
    assert pod_waiting(waits, events=events, asks_for_gpu=True) == words


def test_a_step_without_a_gpu_waits_for_a_node():
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    assert pod_waiting(pod(conditions=[condition])) == f"waiting for a node: {condition['message']}"
