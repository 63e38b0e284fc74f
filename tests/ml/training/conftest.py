"""Specs over little days of samples, and the chain up to a trained model, run in this process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.data.fields import FieldSpec
from ml.training.spec import TrainSpec

FIRST_DAY = date(2026, 11, 1)
ROWS = 300


@pytest.fixture
def make_spec(
    tmp_path: Path, sample_fields: tuple[FieldSpec, ...], write_samples: Callable[..., tuple[Path, str]]
) -> Callable[..., TrainSpec]:
    """make_spec(task="ctr_pretraining", days=3, rows=300, samples={}, **changes): a spec, its samples written."""

    def make(
        *, task: str = "ctr_pretraining", days: int = 3, rows: int = ROWS, samples: dict | None = None, **changes: Any
    ) -> TrainSpec:
        window = []
        for offset in range(days):
            day = FIRST_DAY + timedelta(days=offset)
            path, sha256 = write_samples(day, rows, **(samples or {}))
            window.append({"day": day, "samples": path, "receipt_id": f"receipt-{day}", "content_sha256": sha256})
        values = {
            "task": task,
            "fields": sample_fields,
            "user_key": "user",
            "item_key": "item",
            "model": {"name": "ctr" if task == "ctr_pretraining" else "esmm"},
            "epochs": 2,
            "batch_size": 64,
            "min_count": 2,
            "as_of": FIRST_DAY + timedelta(days=days),
            "days": window,
            "runtime": {"encoded_cache": tmp_path / "encoded"},
        }
        return TrainSpec.model_validate({**values, **changes})

    return make
