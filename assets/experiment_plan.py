"""What an experiment is asked for, and the cells that its tables' rows need; running them is `experiments`'."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assets.cell_children import CellFailed, shared_runtime
from assets.experiment_cells import Workplace
from assets.resources import DataRefused
from assets.setting_faults import faults_in_words
from ml.data.dataset import DatasetSpec
from ml.experiments.cells import Cell
from ml.experiments.definitions import Row
from ml.experiments.scheduling import CoreBudget
from ml.experiments.summary import PlannedRow
from ml.experiments.tables.catalog import table_letters
from ml.training.presets import training_preset
from ml.training.spec import TrainSpec

#: Folder of graphs that are not the dataset's own.
GRAPHS = "graphs"
#: Stands in the base run until a row's own model takes its place.
BASE_MODEL = {"name": "mlp"}


class ExperimentRequest(BaseModel):
    """What is asked for: tables, models, seeds 0 … n − 1, settings of all cells, and the machine's share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    out: Path
    tables: tuple[str, ...] = Field(default_factory=table_letters, min_length=1)
    models: tuple[str, ...] | None = None
    seeds: int = Field(default=5, ge=1, le=1000)
    preset: str | None = None
    training: Mapping[str, Any] = Field(default_factory=dict, description="training settings of every cell")
    model: Mapping[str, Any] = Field(default_factory=dict, description="settings of every cell's model")
    budget: CoreBudget
    keep_models: bool = False


class Plan:
    """Makes each row's cells; those of one content are one cell, whichever rows share it."""

    def __init__(
        self, *, spec: DatasetSpec, request: ExperimentRequest, base: TrainSpec, workplace: Workplace, graphs: Path
    ) -> None:
        self._spec, self._request, self._base = spec, request, base
        self._workplace, self._graphs = workplace, graphs
        self.cells: dict[str, Cell] = {}

    def row(self, row: Row) -> PlannedRow:
        if row.unavailable is not None:
            return PlannedRow(row=row)
        try:
            cells = [self._cell(row, seed) for seed in range(self._request.seeds)]
        except ValidationError as error:
            return PlannedRow(row=row, refusal=faults_in_words(error, shows_found=False))
        except (CellFailed, DataRefused) as refusal:
            return PlannedRow(row=row, refusal=str(refusal))
        self.cells |= {cell.identity: cell for cell in cells}
        return PlannedRow(row=row, cells=tuple((cell.train.seed, cell.identity, cell.run_path) for cell in cells))

    def _cell(self, row: Row, seed: int) -> Cell:
        inputs = self._base.inputs
        if row.graph_neighbours not in (None, self._spec.training.graph_neighbours):
            inputs = self._workplace.graph_inputs(self._base, neighbours=row.graph_neighbours, folder=self._graphs)
        budget = self._request.budget
        runtime = shared_runtime(self._base.runtime.model_dump(), threads=budget.threads, processes=budget.processes)
        values = {name: getattr(self._base, name) for name in TrainSpec.model_fields}
        changes = {"model": self._model(row), "seed": seed, "inputs": inputs, "runtime": runtime}
        train = TrainSpec.model_validate({**values, **changes})
        return Cell.of(train, judged_content=self._workplace.content_sha256)

    def _model(self, row: Row) -> dict[str, Any]:
        spec_model = self._spec.training.model
        defaults: dict[str, Any] = {}
        if self._request.preset is None:
            own = spec_model if spec_model["name"] == row.model_name else {}
            defaults = {"embedding_size": self._spec.training.embedding_dim, **own}
        return {**defaults, **self._request.model, **row.model}


def shared_training(spec: DatasetSpec, request: ExperimentRequest) -> dict[str, Any]:
    """The training settings of every cell."""
    if request.preset is not None:
        settings = training_preset(request.preset).model_dump()
    else:
        settings = spec.training.training_settings()
    # Rare ids were counted when the vocabulary was made, with the CTR pre-training.
    return {**settings, **request.training, "min_count": spec.training.min_count}
