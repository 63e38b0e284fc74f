"""A store that answers badly while the chain runs: the run ends right or says why, and nothing half is left."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from dagster import DagsterRunStatus

from tests.cluster.chain_state import AS_OF, check_events, check_model, weights
from tests.cluster.test_daily_run import MODEL_STEPS
from tests.cluster.test_lost_pods import REST, TRAINS, check_whole, expected_weights
from tests.infra.fault_proxy import Fault, FaultProxy, Request

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture
def proxy(cluster: Any) -> Iterator[FaultProxy]:
    with FaultProxy(cluster.store.endpoint).running() as made:
        yield made


def test_one_request_in_ten_goes_wrong(clean: Any, undisturbed: str, proxy: FaultProxy, told: Callable[..., None]):
    direct, chance = clean.store, random.Random(5)
    direct.copy("data", "bad-store")

    def fault(request: Request) -> Fault | None:
        kind = chance.random()
        if kind < 0.05:
            return Fault(answer=(503, "SlowDown"))
        if kind < 0.07:
            return Fault(lose_answer=True)
        if kind < 0.09:
            return Fault(cut_answer_after=10) if request.method == "GET" else Fault(cut_after=10)
        return None

    proxy.fault = fault
    clean.use("bad-store", store=replace(direct, endpoint=proxy.endpoint))
    try:
        run_id = clean.runs.models(AS_OF)
        assert clean.runs.end(run_id) == DagsterRunStatus.SUCCESS, clean.runs.messages(run_id)
    finally:
        clean.use("bad-store", store=direct)
    assert proxy.faults > 20, "the run passed through the proxy"
    check_events(clean.runs, run_id, steps=MODEL_STEPS)
    check_model(clean.platform)
    assert weights(clean.platform) == expected_weights(clean)
    assert direct.unfinished_uploads() == []
    told(
        fault=f"store: 5 % 503, 2 % answers lost, 2 % connections cut ({proxy.faults} in all)",
        outcome=f"the run ended well, {len(clean.runs.retries(run_id))} steps begun again; same weights",
    )


def test_credentials_expire_in_mid_training(before_training: Any, proxy: FaultProxy, told: Callable[..., None]):
    cluster, direct = before_training, before_training.store
    cluster.use(cluster.prefix, store=replace(direct, endpoint=proxy.endpoint))
    try:
        run_id = cluster.runs.models(AS_OF, assets=REST)
        cluster.training_pod(run_id, saying=TRAINS)
        proxy.fault = lambda request: Fault(answer=(400, "ExpiredToken"))
        cluster.runs.until(lambda: cluster.runs.retries(run_id), what="the step to fail of its credentials")
        assert list(direct.platform(cluster.prefix, cluster.home).artifacts.keys("models/")) == []
        proxy.fault = lambda request: None
        check_whole(cluster, run_id)
    finally:
        cluster.use(cluster.prefix, store=direct)
    assert "expired" in cluster.runs.retries(run_id)[0]
    told(
        fault="the store's credentials expire in mid-training, renewed after the step has failed",
        outcome="“credentials … expired”, no bundle meanwhile; the retry ended well; same weights",
    )
