"""A daily run in pods, from raw logs to the promoted model: where its steps run, and what it leaves behind."""

from collections.abc import Callable
from typing import Any

import pytest
from dagster import DagsterRunStatus

from tests.cluster.chain_state import AS_OF, DATA_STEPS, DAYS, check_data, check_events, check_model, weights

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
TRAINING = {"ctr_embeddings", "cvr_model"}
MODEL_STEPS = {*TRAINING, "user_graph", "item_graph", "evaluation_report", "promoted_model"}


def test_from_raw_logs_to_the_champion(cluster: Any, data: str, undisturbed: str, told: Callable[..., None]):
    runs = cluster.runs
    for run_id in (data, undisturbed):
        assert runs.instance.get_run_by_id(run_id).status == DagsterRunStatus.SUCCESS, runs.messages(run_id)
    check_events(runs, data, steps=DATA_STEPS)
    check_events(runs, undisturbed, steps=MODEL_STEPS)
    cluster.use("undisturbed")
    check_data(cluster.platform)
    check_model(cluster.platform)
    placed = {step: cluster.node_of(data, step) for step in DATA_STEPS}
    placed |= {step: cluster.node_of(undisturbed, step) for step in MODEL_STEPS}
    assert {step for step, node in placed.items() if node == "gpu-0"} == TRAINING
    for step in TRAINING:
        (pod,) = cluster.deployment.pods(**{"dagster/run-id": undisturbed, "dagster/op": step})
        assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    told(fault="none, store on moto", outcome=f"{len(placed)} step pods; training on the GPU node; one champion")


def test_the_same_on_ceph(clean: Any, undisturbed: str, ceph: Any, told: Callable[..., None]):
    from tests.cluster.stores import Store

    before, user = clean.store, ceph.user("cluster")
    expected = weights(before.platform("undisturbed", clean.home))
    keys = {"AWS_ACCESS_KEY_ID": user.access_key_id, "AWS_SECRET_ACCESS_KEY": user.secret_access_key}
    store = Store(ceph.endpoint, keys)
    store.create()
    try:
        clean.use("daily", store=store)
        for launch in (lambda: clean.runs.data(DAYS), lambda: clean.runs.models(AS_OF)):
            run_id = launch()
            assert clean.runs.end(run_id) == DagsterRunStatus.SUCCESS, clean.runs.messages(run_id)
        check_data(clean.platform)
        check_model(clean.platform)
        assert weights(clean.platform) == expected
        assert store.unfinished_uploads() == []
    finally:
        clean.use("undisturbed", store=before)
    told(fault="none, store on Ceph RGW", outcome="one champion; weights equal to those made on moto")
