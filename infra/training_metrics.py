"""A training run's Prometheus metrics, read from its child's metrics.jsonl; serving them is metrics_server's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from infra.metrics_server import served

LABELS = ("dataset", "asset", "partition", "model_id")
#: Figure of the newest step record by metric: name after `postclick_training_`, and what it is.
_OF_STEPS = {
    "samples_per_second": ("samples_per_second", "training rows a second, of the present epoch so far"),
    "epoch": ("epoch", "the present epoch, from 1"),
    "step": ("step", "steps done in all epochs"),
    "learning_rate": ("learning_rate", "of the newest step"),
    "peak_memory_bytes": ("peak_memory_bytes", "largest resident memory of the training process"),
    "gpu_memory_bytes": ("gpu_memory_bytes", "GPU memory in tensors, absent on a CPU"),
    "peak_gpu_memory_bytes": ("peak_gpu_memory_bytes", "most GPU memory in tensors, absent on a CPU"),
}
_TASKS = ("ctr", "cvr", "ctcvr")


def serve_training(
    file: Path, *, port: int, labels: Mapping[str, str], tell: Callable[[str], None]
) -> AbstractContextManager[bool]:
    """Serve the run that writes `file`, which need not be there yet, within the block. labels: those of LABELS."""
    return served([TrainingCollector(file, labels=labels)], port=port, tell=tell)


class TrainingCollector(Collector):
    """Reads the newest records at each scrape: nothing is done while nobody asks, and nothing in the training child."""

    def __init__(self, file: Path, *, labels: Mapping[str, str], clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._values = tuple(labels[name] for name in LABELS)
        self._started = clock()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """What is known so far: before the first record, that training has begun."""
        yield self._gauge("started_timestamp_seconds", "when the training was begun", self._started)
        newest, changed = self._newest()
        yield self._gauge(
            "last_record_timestamp_seconds", "when it last recorded anything, at first its start", changed
        )
        step, epoch = newest.get("step", {}), newest.get("epoch", {})
        for name, (key, meaning) in _OF_STEPS.items():
            if step.get(key) is not None:
                yield self._gauge(name, meaning, step[key])
        if step:
            parts = {"total": step["loss"], **step.get("losses", {})}
            yield self._gauges("loss", "mean training loss since the record before", "part", parts)
        validation = epoch.get("validation", {})
        aucs = {task: validation[f"auc_{task}"] for task in _TASKS if validation.get(f"auc_{task}") is not None}
        if aucs:
            yield self._gauges("validation_auc", "AUC on the held-out rows after the last epoch", "task", aucs)

    def _newest(self) -> tuple[dict[str, dict[str, Any]], float]:
        """The newest record of each kind, and when the file last changed."""
        try:
            lines, changed = self._file.read_text(encoding="utf-8").splitlines(), self._file.stat().st_mtime
        except FileNotFoundError:
            return {}, self._started
        newest: dict[str, dict[str, Any]] = {}
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:  # the last one, being written
                continue
            newest[record["kind"]] = record
        return newest, changed

    def _gauge(self, name: str, meaning: str, value: float) -> GaugeMetricFamily:
        gauge = GaugeMetricFamily(f"postclick_training_{name}", meaning, labels=LABELS)
        gauge.add_metric(self._values, value)
        return gauge

    def _gauges(self, name: str, meaning: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
        gauge = GaugeMetricFamily(f"postclick_training_{name}", meaning, labels=(*LABELS, label))
        for part, value in values.items():
            gauge.add_metric((*self._values, part), value)
        return gauge
