"""Reads the loss and validation curves that training left in metrics.jsonl; drawing them belongs in pictures.py."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LOSS_KEYS = ("loss", "total", "training_loss", "train_loss")
_VALIDATED = ("loss", "auc", "order_violations")
_MODEL = "validation_model_"
_MOST_POINTS = 2000


Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class TrainingCurve:
    """Losses by step, and by epoch every validation number; `unreadable` counts lines passed over.

    measures: what the model measured of itself, (epoch, value) by the measure's name. best_epoch: the one whose
    weights were kept, None where the log does not say.
    """

    steps: Points
    epochs: dict[str, Points]
    unreadable: int
    note: str
    measures: dict[str, Points] = field(default_factory=dict)
    best_epoch: int | None = None


def read_training_curve(path: Path | None) -> TrainingCurve:
    """Curves of metrics.jsonl; a file that is absent or holds no losses gives empty curves and a note, never an error.

    The picture is an ornament of the report: a training log of another version must not stop an evaluation. Steps that
    begin anew each epoch are laid end to end; numbers that are not finite are left out; an epoch told twice (a run that
    was resumed) counts as it was told last.
    """
    if path is None or not path.is_file():
        return TrainingCurve(steps=(), epochs={}, unreadable=0, note="The training left no metrics.jsonl.")
    steps: list[tuple[float, float]] = []
    epochs: dict[float, dict[str, Any]] = {}
    unreadable, offset, previous = 0, 0.0, 0.0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        record = _record(line)
        if record is None:
            unreadable += 1
        elif record.get("kind") == "epoch":
            if (epoch := _number(record.get("epoch"))) is not None:
                epochs[epoch] = record
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
        epochs=_by_name(epochs, _validation_numbers),
        unreadable=unreadable,
        note=note,
        measures=_by_name(epochs, lambda record: _numbers(_measures(record))),
        best_epoch=max((int(epoch) for epoch, record in epochs.items() if record.get("is_best") is True), default=None),
    )


def _by_name(
    epochs: Mapping[float, dict[str, Any]], numbers: Callable[[dict[str, Any]], Iterable[tuple[str, float]]]
) -> dict[str, Points]:
    curves: dict[str, list[tuple[float, float]]] = {}
    for epoch, record in sorted(epochs.items()):
        for name, number in numbers(record):
            curves.setdefault(name, []).append((epoch, number))
    return {name: tuple(points) for name, points in sorted(curves.items())}


def _validation_numbers(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, number in _numbers(record):
        if any(kind in name for kind in _VALIDATED) and not name.startswith(_MODEL):
            yield name, number


def _measures(record: dict[str, Any]) -> dict[str, Any]:
    validation = record.get("validation")
    measures = validation.get("model") if isinstance(validation, dict) else None
    return measures if isinstance(measures, dict) else {}


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
