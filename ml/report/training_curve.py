"""Reads the loss and validation curves that training left in metrics.jsonl; drawing them belongs in pictures.py."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LOSS_KEYS = ("loss", "total", "training_loss", "train_loss")
_MOST_POINTS = 2000


@dataclass(frozen=True)
class TrainingCurve:
    """Losses by step, and by epoch every validation number; `unreadable` counts lines passed over."""

    steps: tuple[tuple[float, float], ...]
    epochs: dict[str, tuple[tuple[float, float], ...]]
    unreadable: int
    note: str


def read_training_curve(path: Path | None) -> TrainingCurve:
    """Curves of metrics.jsonl; a file that is absent or holds no losses gives empty curves and a note, never an error.

    The picture is an ornament of the report: a training log of another version must not stop an evaluation. Steps that
    begin anew each epoch are laid end to end; numbers that are not finite are left out.
    """
    if path is None or not path.is_file():
        return TrainingCurve(steps=(), epochs={}, unreadable=0, note="The training left no metrics.jsonl.")
    steps: list[tuple[float, float]] = []
    epochs: dict[str, list[tuple[float, float]]] = {}
    unreadable, offset, previous = 0, 0.0, 0.0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        record = _record(line)
        if record is None:
            unreadable += 1
        elif record.get("kind") == "epoch":
            epoch = _number(record.get("epoch"))
            for name, number in _numbers(record):
                if epoch is not None and ("loss" in name or "auc" in name):
                    epochs.setdefault(name, []).append((epoch, number))
        elif record.get("kind") == "step":
            step, loss = _number(record.get("step")), _first_number(record)
            if step is None or loss is None:
                continue
            if step <= previous and steps:
                offset += previous
            previous = step
            steps.append((offset + step, loss))
    note = "" if steps or epochs else "metrics.jsonl holds no step or epoch with a loss."
    every = max(1, -(-len(steps) // _MOST_POINTS))
    return TrainingCurve(
        steps=tuple(steps[::every]),
        epochs={name: tuple(points) for name, points in sorted(epochs.items())},
        unreadable=unreadable,
        note=note,
    )


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _first_number(record: dict[str, Any]) -> float | None:
    return next((number for key in _LOSS_KEYS if (number := _number(record.get(key))) is not None), None)


def _numbers(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _numbers(value, prefix=f"{prefix}{name}_")
        elif (number := _number(value)) is not None:
            yield f"{prefix}{name}", number


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
