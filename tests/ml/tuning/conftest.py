"""A small space, an opened study of it, and a study's record with a trial of each state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ml.tuning.objective import OBJECTIVES
from ml.tuning.records import StudyRecord, StudySettings, TrialRecord, best_number
from ml.tuning.search_space import SearchSpace, read_space
from ml.tuning.study import OpenedStudy

CONTENT: dict[str, Any] = {
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "batch_size": [500, 1000, 2000],
    "embedding_size": {"low": 4, "high": 16, "step": 4},
    "tower_widths": [[64, 32], [128, 64]],
}


@pytest.fixture
def space() -> SearchSpace:
    return read_space(CONTENT, model="esmm")


@pytest.fixture
def open_study(tmp_path: Path, space: SearchSpace) -> Callable[..., OpenedStudy]:
    """open_study(folder=…, goal objective, pruner, seed): as another process would open it."""

    def opened(folder: Path = tmp_path, **changes: Any) -> OpenedStudy:
        values = {"space": space, "objective": OBJECTIVES["score"], "pruner": "median", "seed": 0, **changes}
        return OpenedStudy(folder, **values)

    return opened


@pytest.fixture
def record(space: SearchSpace) -> StudyRecord:
    def trial(number: int, state: Any, value: float | None, **changes: Any) -> TrialRecord:
        settings = {"batch_size": 500, "embedding_size": 8, "learning_rate": 1e-3, "tower_widths": [64, 32], **changes}
        return TrialRecord(
            number=number, state=state, value=value, best_epoch=2, epochs=3, seconds=1.5, settings=settings
        )

    trials = (
        trial(0, "complete", 1.30),
        trial(1, "complete", 1.42, learning_rate=5e-3, tower_widths=[128, 64]),
        trial(2, "pruned", 1.10, batch_size=2000),
        trial(3, "failed", None).model_copy(update={"reason": "loss is no number <b>&"}),
        trial(4, "complete", 1.42, batch_size=1000),
    )
    settings = StudySettings(
        dataset="shop",
        as_of=date(2026, 1, 9),
        model={"name": "esmm"},
        training={"epochs": 3},
        space=space,
        objective="score",
        seed=0,
        base="b",
    )
    return StudyRecord(
        name="esmm-2026-01-09",
        settings=settings,
        pruner="median",
        trials=trials,
        best=best_number(trials, maximize=True),
        command="postclick run --model esmm --set learning_rate=0.005",
        importances={"learning_rate": 0.7, "batch_size": 0.3},
    )
