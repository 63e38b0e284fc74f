"""What a run tells while it runs: metrics.jsonl, the truth, and one progress line every few seconds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

TIMING_KEYS = frozenset(
    {"seconds", "samples_per_second", "peak_memory_bytes", "gpu_memory_bytes", "peak_gpu_memory_bytes"}
)
"""Keys of a record that differ from run to run; all others are the same for the same inputs."""


class MetricsLog:
    """Appends records to metrics.jsonl, one JSON object a line, and keeps them for the bundle."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.records: list[dict[str, Any]] = []

    def add(self, kind: str, **values: Any) -> None:
        """Appends ``{"kind": kind, **values}``; a value that is not finite is refused with ``ValueError``."""
        record = {"kind": kind, **values}
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self.records.append(record)

    def restore(self, records: Sequence[dict[str, Any]]) -> None:
        """Begins again with ``records``, in the file too: those of a run that goes on."""
        self.records = list(records)
        lines = "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in self.records)
        self._path.write_text(lines, encoding="utf-8")

    def deterministic_lines(self) -> str:
        """The records without timings and memory, one JSON line each: what a bundle keeps."""
        kept = [{key: value for key, value in r.items() if key not in TIMING_KEYS} for r in self.records]
        return "".join(json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n" for record in kept)


class Progress:
    """Prints ``epoch 1/3 · 34 % · 41,200 samples/s · 12 s left · loss 0.412`` at most every ``every_seconds``.

    Time left is that of all epochs; early stopping can end a run before.
    """

    def __init__(
        self,
        *,
        epochs: int,
        rows_per_epoch: int,
        every_seconds: float,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._epochs = epochs
        self._rows_per_epoch = rows_per_epoch
        self._every_seconds = every_seconds
        self._out = out if out is not None else sys.stdout
        self._clock = clock
        self._epoch = 0
        self._started = clock()
        self._printed = clock()
        self._loss: float | None = None

    def start_epoch(self, epoch: int, *, seconds: float = 0.0) -> None:
        """Epochs count from 1; speed is measured within the epoch, of which ``seconds`` have passed before."""
        self._epoch = epoch
        self._started = self._clock() - seconds

    def loss(self, loss: float) -> None:
        """The newest mean loss, shown in the lines to come."""
        self._loss = loss

    @property
    def seconds(self) -> float:
        """Since the start of the epoch."""
        return self._clock() - self._started

    def speed(self, rows: int) -> float:
        """Samples per second of the epoch, after ``rows`` of them."""
        return rows / max(self.seconds, 1e-9)

    def rows_done(self, rows: int) -> None:
        """Prints a line if it is time; ``rows`` of this epoch are done."""
        if self._clock() - self._printed < self._every_seconds:
            return
        self._printed = self._clock()
        print(self.line(rows), file=self._out, flush=True)

    def line(self, rows: int) -> str:
        """The progress line after ``rows`` of this epoch."""
        speed = self.speed(rows)
        left = ((self._epochs - self._epoch + 1) * self._rows_per_epoch - rows) / max(speed, 1e-9)
        share = 100 * rows // max(1, self._rows_per_epoch)
        loss = "" if self._loss is None else f" · loss {self._loss:.3f}"
        return f"epoch {self._epoch}/{self._epochs} · {share} % · {speed:,.0f} samples/s · {left:,.0f} s left{loss}"
