"""A training whose GPU is not to be had: what the run says, and that it ends."""

from collections.abc import Callable
from typing import Any

import pytest
from dagster import DagsterRunStatus

from tests.cluster.chain_state import AS_OF

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


def test_a_wrong_gpu_quantity_fails_at_once(clean: Any, told: Callable[..., None]):
    clean.use("wrong-quantity")
    clean.deployment.set(POSTCLICK_GPUS="500m")
    try:
        run_id = clean.runs.models(AS_OF, assets=["ctr_embeddings"])
        assert clean.runs.end(run_id) == DagsterRunStatus.FAILURE
    finally:
        clean.deployment.set(POSTCLICK_GPUS="1")
    failure = clean.runs.failure(run_id)
    assert "must be an integer" in failure
    assert "POSTCLICK_GPUS" in failure
    assert clean.runs.retries(run_id) == []
    assert clean.step_pods(run_id, "ctr_embeddings") == []
    told(fault="POSTCLICK_GPUS=500m", outcome="refused at once, no retry: “must be an integer”")


def test_a_quota_of_no_gpu(clean: Any, told: Callable[..., None]):
    clean.use("no-quota")
    clean.deployment.set(POSTCLICK_POD_PENDING_SECONDS="30")
    clean.deployment.set_gpu_quota("0")
    try:
        run_id = clean.runs.models(AS_OF, assets=["ctr_embeddings"])
        clean.runs.until(
            lambda: "waiting for GPU" in clean.runs.messages(run_id), what="the event that tells of the waiting"
        )
        assert clean.runs.end(run_id) == DagsterRunStatus.FAILURE
    finally:
        clean.deployment.set_gpu_quota("4")
        clean.deployment.set(POSTCLICK_POD_PENDING_SECONDS=None)
    failure = clean.runs.failure(run_id)
    assert "exceeded quota: postclick-gpu" in failure
    assert "POSTCLICK_POD_PENDING_SECONDS" in failure
    assert clean.step_pods(run_id, "ctr_embeddings") == []
    assert clean.deployment.jobs(run_id, "ctr_embeddings") == []
    told(fault="quota of 0 GPUs", outcome="“waiting for GPU: exceeded quota”, failed after its 30 s, no Job left")
