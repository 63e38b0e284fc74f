"""Cells and results made by hand, so that planning, scheduling and tables are tested without training anything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ml.evaluation.measurement import Measured
from ml.experiments.cells import Cell, CellResult
from ml.training.spec import TrainSpec

AS_OF = date(2026, 1, 9)


@pytest.fixture
def make_cell() -> Callable[..., Cell]:
    """make_cell(model="esmm", seed=0, judged="j", **changes): a cell whose files need not exist."""

    def make(model: str = "esmm", *, seed: int = 0, judged: str = "j", **changes: Any) -> Cell:
        values: dict[str, Any] = {
            "task": "cvr",
            "model": {"name": model},
            "fields": [
                {"name": "user", "entity": "user", "kind": "id"},
                {"name": "item", "entity": "item", "kind": "id"},
            ],
            "user_key": "user",
            "item_key": "item",
            "as_of": AS_OF,
            "days": [{"day": date(2026, 1, 8), "samples": "s", "receipt_id": "r", "content_sha256": "c"}],
            "inputs": {"vocabulary_dir": "v", "vocabulary_version": "1"},
            "runtime": {"threads": 1, "encoded_cache": "e"},
            "seed": seed,
        }
        return Cell.of(TrainSpec.model_validate({**values, **changes}), judged_content=judged)

    return make


def result_of(cell: Cell, *, kept_epoch: int | None = None, **figures: float) -> CellResult:
    """A finished cell with these figures."""
    return CellResult(
        identity=cell.identity,
        model_id=cell.train.identity(),
        model=cell.train.model.model_dump(mode="json"),
        seed=cell.train.seed,
        rows=10,
        clicks=5,
        conversions=2,
        measures={name: Measured(value=value) for name, value in figures.items()},
        training_seconds=1.0,
        peak_memory_bytes=1,
        kept_epoch=kept_epoch,
    )


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return tmp_path / "experiment"
