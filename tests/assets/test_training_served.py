"""A small real training in a child, scraped while it runs: its metrics are there, and gone when it has ended."""

import dataclasses
import os
import socket
import sys
import urllib.request
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from urllib.error import URLError

import dagster as dg
import pytest

from assets.resources import Platform
from assets.training_children import trained
from assets.training_runs import base_train_spec, training_days, training_window
from ml.data.dataset import DatasetSpec

pytest.importorskip("prometheus_client")

AS_OF = date(2026, 1, 7)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scraped(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode().splitlines()


def test_a_training_is_scraped_while_it_runs(
    platform: Platform,
    instance: dg.DagsterInstance,
    spec: DatasetSpec,
    run_data: Callable[..., Any],
    tmp_path: Path,
    port: int,
):
    assert run_data(platform, instance, spec, date(2026, 1, 5), date(2026, 1, 6)).success
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    own = dataclasses.replace(
        platform,
        metrics_port=port,
        child_environment={**variables, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
    )
    policy = spec.window.model_copy(update={"window_days": 2, "min_days": 2, "max_missing_days": 0})
    window = training_window(own, as_of=AS_OF, policy=policy)
    changes = {"task": "ctr_pretraining", "model": {"name": "ctr"}, "epochs": 3}
    train = base_train_spec(own, spec, as_of=AS_OF, days=training_days(own, window), changes=changes)
    scrapes: list[list[str]] = []

    def log(line: str) -> None:
        # The child says this before it writes what it made; its metrics are served until it has ended.
        if "epochs run" in line:
            scrapes.append(scraped(port))

    manifest, is_new = trained(
        own,
        train,
        find=lambda: None,
        publish=lambda out: own.artifacts.publish_directory("made", out, metadata={}),
        run_id="r1",
        folder=tmp_path,
        log=log,
        labels={"dataset": "tiny", "asset": "ctr_embeddings", "partition": AS_OF.isoformat()},
    )
    assert is_new
    assert "metrics.jsonl" in manifest.files
    [lines] = scrapes
    run = f'asset="ctr_embeddings",dataset="tiny",model_id="{train.identity()[:12]}",partition="2026-01-07"'
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    for name in ("epoch", "samples_per_second", "step", "peak_memory_bytes"):
        assert found[f"postclick_training_{name}{{{run}}}"] > 0
    assert any(key.startswith("postclick_training_loss{") and 'part="total"' in key for key in found)
    assert any(key.startswith("postclick_training_validation_auc{") and 'task="ctr"' in key for key in found)
    with pytest.raises(URLError):
        scraped(port)
