"""What a training run's metrics say of its records, from before the first one on; serving has tests of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest

from infra.training_metrics import TrainingCollector

RUN = {"dataset": "shop", "asset": "cvr_model", "partition": "2026-01-09", "model_id": "abc"}
STEP = {
    "kind": "step",
    "epoch": 2,
    "step": 40,
    "rows": 10,
    "loss": 0.5,
    "losses": {"ctr": 0.3, "ctcvr": 0.2},
    "learning_rate": 0.01,
    "samples_per_second": 1234.5,
    "peak_memory_bytes": 5000,
}
EPOCH = {"kind": "epoch", "epoch": 1, "validation": {"auc_ctr": 0.7, "auc_cvr": None, "auc_cvr_reason": "no click"}}


def values(collector: TrainingCollector, **labels: str) -> dict[str, float]:
    """Value by name (without the common prefix) and own labels."""
    registry = CollectorRegistry()
    registry.register(collector)
    found = {}
    for family in registry.collect():
        for sample in family.samples:
            own = {name: value for name, value in sample.labels.items() if name not in RUN}
            assert {name: sample.labels[name] for name in RUN} == RUN
            found["".join([sample.name.removeprefix("postclick_training_"), *own.values()])] = sample.value
    assert generate_latest(registry)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "train" / "metrics.jsonl"


def write(file: Path, *records: dict[str, Any], torn: str = "") -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records) + torn)


def test_before_the_first_record_it_says_that_training_has_begun(file: Path):
    found = values(TrainingCollector(file, labels=RUN, clock=lambda: 100.0))
    assert found == {"started_timestamp_seconds": 100.0, "last_record_timestamp_seconds": 100.0}


def test_the_newest_records_are_told_and_what_is_not_measurable_is_absent(file: Path):
    older = {**STEP, "step": 1, "losses": {"gone": 1.0}}
    write(file, {"kind": "delayed_feedback"}, older, EPOCH, STEP, torn='{"kind": "step", "epo')
    found = values(TrainingCollector(file, labels=RUN, clock=lambda: 100.0))
    assert found.pop("last_record_timestamp_seconds") == file.stat().st_mtime
    assert found == {
        "started_timestamp_seconds": 100.0,
        "samples_per_second": 1234.5,
        "epoch": 2,
        "step": 40,
        "learning_rate": 0.01,
        "peak_memory_bytes": 5000,
        "losstotal": 0.5,
        "lossctr": 0.3,
        "lossctcvr": 0.2,
        "validation_aucctr": 0.7,
    }


def test_a_gpu_s_memory_is_told_where_there_is_one(file: Path):
    write(file, {**STEP, "gpu_memory_bytes": 7, "peak_gpu_memory_bytes": 9})
    found = values(TrainingCollector(file, labels=RUN))
    assert (found["gpu_memory_bytes"], found["peak_gpu_memory_bytes"]) == (7, 9)
