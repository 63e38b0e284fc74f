"""The API server or the database away for a while in the middle of a run: the run ends as if nothing had been."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.chain_state import AS_OF
from tests.cluster.test_lost_pods import REST, TRAINS, check_whole

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
AWAY_SECONDS = 20


def test_the_api_server_is_away(before_training: Any, told: Callable[..., None]):
    cluster = before_training
    run_id = cluster.runs.models(AS_OF, assets=REST)
    cluster.training_pod(run_id, saying=TRAINS)
    server = cluster.deployment.server
    server.stop_api_server()
    try:
        time.sleep(AWAY_SECONDS)
    finally:
        server.start_api_server()
    check_whole(cluster, run_id)
    told(fault=f"API server away for {AWAY_SECONDS} s during the training", outcome="the run ended well; same weights")


def test_postgresql_is_restarted(before_training: Any, told: Callable[..., None]):
    cluster = before_training
    run_id = cluster.runs.models(AS_OF, assets=REST)
    cluster.training_pod(run_id, saying=TRAINS)
    database = cluster.deployment.database
    database.stop()
    time.sleep(2)
    database.start()
    check_whole(cluster, run_id)
    told(fault="PostgreSQL restarted during the training", outcome="the run ended well; same weights")
