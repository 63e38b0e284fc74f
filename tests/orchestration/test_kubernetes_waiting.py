"""Steps whose pods wait for a GPU, or are refused by the API server: what is said, and when it is given up."""

import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("dagster_k8s", reason="dagster-k8s is not installed: pip install -e .[k8s]")

import orchestration.kubernetes_executor
from tests.orchestration.fake_cluster import refusal
from tests.orchestration.step_bench import Bench, wait_until

UNSCHEDULABLE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
QUOTA = 'pods "step" is forbidden: exceeded quota: postclick-gpu, limited: requests.nvidia.com/gpu=0'


@pytest.mark.parametrize("by_quota", [False, True], ids=["no node", "quota"])
def test_a_step_without_a_gpu_says_what_it_waits_for_and_gives_up_in_time(
    bench: Bench, by_quota: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(orchestration.kubernetes_executor, "PodSteps", impatient(seconds=2))
    if by_quota:
        bench.cluster.without_pod = True
    else:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": UNSCHEDULABLE}
        bench.cluster.hold = {"conditions": [condition]}

    def refuse() -> None:
        wait_until(lambda: bench.cluster.jobs)
        name = next(iter(bench.cluster.jobs), "")
        for pod in ("step", "other-name") if by_quota else ():
            message = QUOTA.replace("step", pod)
            bench.cluster.events.append(
                {"reason": "FailedCreate", "message": message, "involvedObject": {"name": name}}
            )
            wait_until(lambda: "waiting for GPU" in bench.messages())

    assert not bench.run(refuse)
    told = "exceeded quota: postclick-gpu" if by_quota else UNSCHEDULABLE
    (line,) = [line for line in bench.messages().splitlines() if line.startswith("waiting for GPU: ")]
    assert told in line
    assert "did not start within 2 s (POSTCLICK_POD_PENDING_SECONDS): waiting for GPU: " in bench.failure()
    assert told in bench.failure()
    assert bench.cluster.jobs == {}


def impatient(*, seconds: float) -> Callable[..., Any]:
    made = orchestration.kubernetes_executor.PodSteps
    return lambda **arguments: made(**{**arguments, "pending_seconds": seconds})


def test_a_gpu_that_comes_late_is_used(bench: Bench):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": UNSCHEDULABLE}
    bench.cluster.hold = {"conditions": [condition]}

    def come() -> None:
        wait_until(lambda: bench.cluster.jobs)
        time.sleep(0.5)
        bench.cluster.hold = None
        job = bench.cluster.job()
        job.pods.clear()
        bench.cluster._start(job)

    assert bench.run(come)
    assert f"waiting for GPU: {UNSCHEDULABLE}" in bench.messages()


def test_a_quantity_that_the_server_refuses_fails_at_once_in_its_words(bench: Bench):
    words = "spec.containers[0].resources.limits[nvidia.com/gpu]: Invalid value: must be an integer"
    bench.cluster.refuse = [refusal(422, words)]
    assert not bench.run()
    assert bench.attempts() == []
    assert bench.failure().startswith(f"Kubernetes refused the step's pod: {words}; POSTCLICK_GPUS")


def test_a_server_that_cannot_take_the_job_now_is_asked_again(bench: Bench):
    bench.cluster.refuse = [refusal(403, "exceeded quota: postclick-objects, limited: count/jobs.batch=500")]
    assert bench.run()
    assert bench.attempts() == ["1"]
    (retry,) = bench.retries()
    assert "Kubernetes did not take job dagster-step-" in retry
    assert "exceeded quota: postclick-objects" in retry
