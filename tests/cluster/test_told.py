"""What pods tell while they run: metrics for Prometheus, and logs of a JSON object a line."""

import json
import socket
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.chain_state import AS_OF
from tests.cluster.test_lost_pods import REST, TRAINS, check_whole

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


def test_metrics_and_logs_of_a_training(before_training: Any, told: Callable[..., None]):
    cluster = before_training
    # Pods share the machine's network here, and the code server has the port that is every pod's own elsewhere.
    port = _free_port()
    cluster.deployment.set(POSTCLICK_METRICS_PORT=str(port))
    try:
        run_id = cluster.runs.models(AS_OF, assets=REST)
        training = cluster.training_pod(run_id, saying=TRAINS)
        metrics = cluster.runs.until(lambda: _with(port, "postclick_training_loss"), what="the training's metrics")
        check_whole(cluster, run_id)
    finally:
        cluster.deployment.set(POSTCLICK_METRICS_PORT="9464")
    labels = next(line for line in metrics.splitlines() if line.startswith("postclick_training_samples_per_second{"))
    assert 'asset="cvr_model",dataset="tiny",model_id="' in labels
    assert f'partition="{AS_OF}"' in labels
    (worker,) = cluster.worker_pods(run_id)
    records = {pod: _records(cluster.kubelet.log(pod)) for pod in (training, worker)}
    assert all(records.values())
    said = [record for record in records[training] if TRAINS in record.get("message", "")]
    assert {(record["run_id"], record["step"], record["partition"]) for record in said} == {
        (run_id, "cvr_model", AS_OF.isoformat())
    }
    assert len({record["model_id"] for record in said}) == 1
    told(
        fault="none: what pods tell",
        outcome=f"loss and samples/s served with model_id; {sum(map(len, records.values()))} log lines, all JSON",
    )


def _records(log: str) -> list[dict[str, Any]]:
    """The lines of a log; ValueError holds the first one that is no JSON object."""
    records = []
    for line in log.splitlines():
        try:
            records.append(dict(json.loads(line)))
        except (TypeError, ValueError) as fault:
            raise ValueError(f"no JSON object: {line!r}") from fault
    return records


def _with(port: int, name: str) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    return text if f"\n{name}{{" in text else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
