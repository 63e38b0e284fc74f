"""Steps in pods that are taken away or end of themselves: what is said of it, and what is begun again."""

import signal
import time
from typing import Any

import pytest

pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")

from tests.orchestration.step_bench import Bench


def test_a_step_runs_in_a_pod_that_asks_for_what_its_tags_say(bench: Bench):
    assert bench.run()
    assert bench.attempts() == ["0"]
    (container,) = bench.cluster.job().body["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}
    assert container["args"][:3] == ["dagster", "api", "execute_step"]
    assert bench.cluster.job().body["spec"]["backoffLimit"] == 0


def test_a_pod_deleted_with_grace_is_begun_again_once(bench: Bench):
    bench.hold(0)

    def delete() -> None:
        bench.wait_for_attempts(1)
        bench.cluster.events = [
            {
                "reason": "Preempted",
                "message": "Preempted by other/training on node g1",
                "involvedObject": {"name": bench.cluster.job().pods[-1]["metadata"]["name"]},
            }
        ]
        bench.cluster.take_away(bench.cluster.job(), signal.SIGTERM)

    assert bench.run(delete)
    assert bench.attempts() == ["0", "1"]
    assert "attempt 1 was interrupted: preempted: a pod of higher priority took its place" in bench.messages()


@pytest.mark.parametrize("replaces", [False, True], ids=["counted", "replaced"])
def test_a_pod_deleted_by_force_is_begun_again_once(bench: Bench, replaces: bool):
    bench.hold(0)
    bench.cluster.replaces = replaces

    def delete() -> None:
        bench.wait_for_attempts(1)
        # Seen running, as after 20 s of any training.
        time.sleep(0.5)
        bench.cluster.take_away(bench.cluster.job(), signal.SIGKILL)

    assert bench.run(delete)
    assert bench.attempts() == ["0", "1"]
    assert len(bench.retries()) == 1


def test_pods_that_are_lost_again_and_again_end_in_a_failure_that_says_so(bench: Bench):
    bench.hold(0, 1, 2)

    def delete() -> None:
        for attempt in (1, 2, 3):
            bench.wait_for_attempts(attempt)
            bench.cluster.take_away(bench.cluster.job(-1), signal.SIGKILL)

    assert not bench.run(delete)
    assert bench.attempts() == ["0", "1", "2"]
    assert "its pod was deleted before its work had ended" in bench.failure()


@pytest.mark.parametrize(
    ("status", "condition", "words"),
    [
        ({"reason": "Evicted", "message": 'EmptyDir "scratch" exceeds the limit'}, None, "evicted from its node"),
        (
            {
                "containerStatuses": [
                    {"name": "dagster", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
                ]
            },
            None,
            "out of memory (OOMKilled): it needed more than its limit of 16Gi; give it more (POSTCLICK_TRAINING_MEMORY",
        ),
        ({}, "DeadlineExceeded", "POSTCLICK_POD_DEADLINE_SECONDS"),
    ],
)
def test_what_would_only_happen_again_is_not_tried_again(
    bench: Bench, status: dict[str, Any], condition: str | None, words: str
):
    bench.hold(0)

    def fail() -> None:
        bench.wait_for_attempts(1)
        bench.cluster.fail(bench.cluster.job(), condition=condition, **status)

    assert not bench.run(fail)
    assert bench.attempts() == ["0"]
    assert words in bench.failure()
