"""A training's pod ended by memory, by its node or by the scheduler: what the run says of it, and what comes after."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from dagster import DagsterRunStatus

from tests.cluster.chain_state import AS_OF
from tests.cluster.test_lost_pods import REST, TRAINS, check_whole, resumed_from

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
URGENT = "urgent-training"
URGENT_SECONDS = 30


def test_a_training_needs_more_memory_than_its_limit(before_training: Any, told: Callable[..., None]):
    cluster = before_training
    run_id = cluster.runs.models(AS_OF, assets=REST)
    first = cluster.training_pod(run_id, saying=TRAINS, kept=True)
    cluster.kubelet.kill(first, reason="OOMKilled")
    assert cluster.runs.end(run_id) == DagsterRunStatus.FAILURE
    failure = cluster.runs.failure(run_id)
    assert "out of memory (OOMKilled): it needed more than its limit of 16Gi" in failure
    assert "POSTCLICK_TRAINING_MEMORY" in failure
    assert cluster.runs.retries(run_id) == [], "the same pod would only end the same way"
    assert list(cluster.platform.artifacts.keys("models/")) == []
    cluster.deployment.set(POSTCLICK_TRAINING_MEMORY="32Gi")
    try:
        again = cluster.runs.models(AS_OF, assets=REST)
        check_whole(cluster, again)
    finally:
        cluster.deployment.set(POSTCLICK_TRAINING_MEMORY=None)
    assert first in resumed_from(cluster, cluster.step_pods(again, "cvr_model")[-1])
    told(
        fault="cvr_model OOMKilled in mid-training",
        outcome="failed with limit and setting named, no retry; with 32Gi the next run went on from the checkpoint",
    )


def test_a_node_that_is_short_of_memory_evicts_a_training(before_training: Any, told: Callable[..., None]):
    cluster = before_training
    run_id = cluster.runs.models(AS_OF, assets=REST)
    first = cluster.training_pod(run_id, saying=TRAINS, kept=True)
    cluster.kubelet.evict(first, "The node was low on resource: memory.")
    check_whole(cluster, run_id)
    (why,) = cluster.runs.retries(run_id)
    assert "evicted from its node: The node was low on resource: memory." in why
    assert first in resumed_from(cluster, cluster.step_pods(run_id, "cvr_model")[-1])
    told(
        fault="cvr_model evicted: its node is low on memory",
        outcome="“evicted from its node: …”, begun again, went on from the checkpoint; same weights",
    )


def test_the_scheduler_preempts_a_training(before_training: Any, told: Callable[..., None]):
    cluster = before_training
    run_id = cluster.runs.models(AS_OF, assets=REST)
    first = cluster.training_pod(run_id, saying=TRAINS)
    _start_what_is_more_urgent(cluster.deployment.server)
    try:
        check_whole(cluster, run_id)
    finally:
        _remove_what_was_more_urgent(cluster.deployment.server)
    assert cluster.kubelet.placed[URGENT] == "gpu-0"
    messages = cluster.runs.messages(run_id)
    assert "preempted: a pod of higher priority took its place" in messages
    assert "waiting for GPU: 0/2 nodes are available" in messages
    assert first in resumed_from(cluster, cluster.step_pods(run_id, "cvr_model")[-1])
    told(
        fault=f"a pod of higher priority takes the one GPU for {URGENT_SECONDS} s",
        outcome="“preempted …”, “waiting for GPU …”, then went on from the checkpoint; same weights",
    )


def test_a_training_without_receipts(clean: Any, told: Callable[..., None]):
    clean.use("no-receipts")
    run_id = clean.runs.models(AS_OF, assets=["ctr_embeddings"])
    assert clean.runs.end(run_id) == DagsterRunStatus.FAILURE
    failure = clean.runs.failure(run_id)
    assert "admitted" in failure
    assert clean.runs.retries(run_id) == []
    assert list(clean.platform.objects.list_keys("ctr_embeddings/")) == []
    told(fault="no day of the window has a receipt", outcome=f"refused, no retry: “{failure[:60]}…”")


def _start_what_is_more_urgent(server: Any) -> None:
    """A pod that asks for the only GPU and may take it from others."""
    priority = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": URGENT},
        "value": 1_000_000,
    }
    container = {
        "name": "main",
        "image": "none",
        "command": [sys.executable, "-c", f"import time; time.sleep({URGENT_SECONDS})"],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    spec = {
        "containers": [container],
        "priorityClassName": URGENT,
        "restartPolicy": "Never",
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }
    server.wait_for_account("default")
    for address, made in (
        ("/apis/scheduling.k8s.io/v1/priorityclasses", priority),
        ("/api/v1/namespaces/default/pods", {"metadata": {"name": URGENT}, "spec": spec}),
    ):
        status, answer = server.ask("POST", address, {"apiVersion": "v1", "kind": "Pod", **made})
        assert status == 201, answer


def _remove_what_was_more_urgent(server: Any) -> None:
    server.ask("DELETE", f"/api/v1/namespaces/default/pods/{URGENT}?gracePeriodSeconds=0")
    server.ask("DELETE", f"/apis/scheduling.k8s.io/v1/priorityclasses/{URGENT}")
