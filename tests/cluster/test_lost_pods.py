"""A training's pod, or the run's own, taken away in the middle: what another pod goes on from, and what is stored."""

from collections.abc import Callable
from typing import Any

import pytest
from dagster import DagsterEventType, DagsterRunStatus

from tests.cluster.chain_state import AS_OF, check_events, check_model, weights

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
REST = ["cvr_model", "evaluation_report", "promoted_model"]
TRAINS = "samples/s"


def expected_weights(cluster: Any) -> str:
    """Those of the run to which nothing was done."""
    return weights(cluster.store.platform("undisturbed", cluster.home))


def check_whole(cluster: Any, run_id: str) -> None:
    assert cluster.runs.end(run_id) == DagsterRunStatus.SUCCESS, cluster.runs.messages(run_id)
    check_events(cluster.runs, run_id, steps=set(REST))
    check_model(cluster.platform)
    assert weights(cluster.platform) == expected_weights(cluster)


def resumed_from(cluster: Any, pod: str) -> str:
    """The line in which the trainer says that it goes on from a checkpoint; empty where it began anew."""
    lines = [line for line in cluster.kubelet.log(pod).splitlines() if "checkpoint" in line]
    return next((line for line in lines if "fetched from the store" in line), "")


def test_a_gpu_pod_is_deleted(before_training: Any, told: Callable[..., None]):
    cluster = before_training
    run_id = cluster.runs.models(AS_OF, assets=REST)
    first = cluster.training_pod(run_id, saying=TRAINS)
    cluster.deployment.delete_pod(first)
    check_whole(cluster, run_id)
    second = cluster.step_pods(run_id, "cvr_model")[-1]
    assert first != second
    assert first in resumed_from(cluster, second), "the checkpoint of the first pod"
    assert len(cluster.runs.retries(run_id)) == 1
    assert cluster.kubelet.deaths[first] != 137, "it was given time to keep its checkpoint"
    told(
        fault="kubectl delete pod of cvr_model in mid-training (SIGTERM)",
        outcome="second pod went on from the first's last step; same weights",
    )


def test_a_gpu_pod_is_killed(before_training: Any, told: Callable[..., None]):
    cluster = before_training
    run_id = cluster.runs.models(AS_OF, assets=REST)
    first = cluster.training_pod(run_id, saying=TRAINS, kept=True)
    cluster.deployment.delete_pod(first, grace=0)
    check_whole(cluster, run_id)
    second = cluster.step_pods(run_id, "cvr_model")[-1]
    assert first in resumed_from(cluster, second), "the checkpoint of the first pod"
    assert cluster.kubelet.deaths[first] == 137
    told(
        fault="the same by force (SIGKILL)",
        outcome="second pod went on from the last checkpoint in the store; same weights",
    )


def test_a_gpu_node_stands_still_and_comes_back(before_training: Any, told: Callable[..., None]):
    cluster = before_training
    run_id = cluster.runs.models(AS_OF, assets=REST)
    orphan = cluster.training_pod(run_id, saying=TRAINS, kept=True)
    cluster.kubelet.lose(orphan)
    cluster.kubelet.freeze(orphan)
    cluster.deployment.delete_pod(orphan, grace=0)
    second = cluster.runs.until(
        lambda: next(
            (name for name in cluster.step_pods(run_id, "cvr_model") if "resumed" in cluster.kubelet.log(name)), None
        ),
        what="another pod to go on",
    )
    assert orphan in resumed_from(cluster, second), "the checkpoint of the first pod"
    cluster.kubelet.thaw(orphan)
    check_whole(cluster, run_id)
    cluster.runs.until(lambda: not cluster.kubelet.is_alive(orphan), seconds=120, what="the orphan to end")
    assert "this process is stopped, as another goes on with its work" in cluster.kubelet.log(orphan)
    check_model(cluster.platform)
    assert weights(cluster.platform) == expected_weights(cluster)
    told(
        fault="the GPU node stands still, is given up, and comes back while the retry trains",
        outcome="the orphan found its lease lost and stopped; one bundle, by the retry; same weights",
    )


@pytest.mark.parametrize("grace", [None, 0], ids=["told to end", "killed"])
def test_the_run_worker_is_deleted(before_training: Any, told: Callable[..., None], grace: int | None):
    cluster = before_training
    run_id = cluster.runs.models(AS_OF, assets=REST)
    training = cluster.training_pod(run_id, saying=TRAINS)
    (worker,) = cluster.worker_pods(run_id)
    cluster.deployment.delete_pod(worker, grace=grace)
    check_whole(cluster, run_id)
    trained = [pod for pod in cluster.step_pods(run_id, "cvr_model") if TRAINS in cluster.kubelet.log(pod)]
    assert trained == [training], "the step's pod was left alone"
    starts = cluster.runs.counted(run_id, DagsterEventType.STEP_START)
    assert starts == dict.fromkeys(REST, 1)
    messages = cluster.runs.messages(run_id)
    assert "the run's own pod is gone" in messages
    assert "Resuming run" in messages
    told(
        fault=f"the run worker's pod {'deleted (SIGTERM)' if grace is None else 'killed'} in mid-training",
        outcome="resumed by run monitoring; the training pod was found again and ran on; same weights",
    )
