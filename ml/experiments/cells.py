"""A cell of an experiment and what became of it, each a file that is written whole; running it is not this module's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ml.atomic_files import write_json
from ml.evaluation.measurement import Measurement
from ml.training.spec import TrainSpec

RUNS = "runs"
RESULT_FILE = "result.json"
FAILURE_FILE = "failure.json"
RESULT_FORMAT = 1
"""Another format makes other cells: what an older version measured is not mixed with what this one does."""
_SHOWN = 16


class Cell(BaseModel):
    """One training run, its seed within ``train``, judged on the day whose samples are ``judged_content`` (sha256)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str
    train: TrainSpec
    judged_content: str

    @classmethod
    def of(cls, train: TrainSpec, *, judged_content: str) -> Cell:
        """The cell, known by all that determines its figures: settings, seed, data, graphs, code, judged day."""
        content = {"model_id": train.identity(), "judged": judged_content, "format": RESULT_FORMAT}
        identity = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return cls(identity=identity, train=train, judged_content=judged_content)

    @property
    def name(self) -> str:
        """The model and seed, for people."""
        return f"{self.train.model.name} seed {self.train.seed} ({self.identity[:8]})"

    @property
    def run_path(self) -> str:
        """Its run folder, relative to the experiment's."""
        return f"{RUNS}/{self.identity[:_SHOWN]}"


class CellResult(BaseModel):
    """The figures of a finished cell. Seconds and memory are those of the training child; ``kept_epoch``: the one whose
    weights were judged, from 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str
    model_id: str
    model: dict[str, Any]
    seed: int
    rows: int
    clicks: int
    conversions: int
    measures: dict[str, Measurement]
    training_seconds: float
    peak_memory_bytes: int
    kept_epoch: int | None = None

    def save(self, run: Path) -> None:
        """Writes result.json into the run folder, and takes away what an earlier attempt failed of."""
        write_json(run / RESULT_FILE, self.model_dump(mode="json"))
        (run / FAILURE_FILE).unlink(missing_ok=True)


class CellFailure(BaseModel):
    """Why a cell has no figures. It is tried again when the experiment is run again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str
    reason: str

    def save(self, run: Path) -> None:
        """Writes failure.json into the run folder."""
        write_json(run / FAILURE_FILE, self.model_dump(mode="json"))


CellOutcome = CellResult | CellFailure


def finished(cell: Cell, run: Path) -> CellResult | None:
    """The cell's result if it lies in its run folder, whole and this cell's own; None where it has to be run."""
    try:
        result = CellResult.model_validate_json((run / RESULT_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return result if result.identity == cell.identity else None
