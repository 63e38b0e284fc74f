"""Experiments on a dataset: which cells the papers' tables need, run from the artifacts of an as-of day; rendering them
is `ml.experiments`'."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assets.cell_children import CellFailed, alone_in, shared_runtime
from assets.experiment_cells import Workplace
from assets.models import conversion_train_spec
from assets.receipts import admitted_samples, day_standing
from assets.resources import DataRefused, Platform
from assets.setting_faults import faults_in_words
from assets.training_runs import training_window
from ml.data.dataset import DatasetSpec
from ml.experiments.cells import Cell, CellFailure
from ml.experiments.definitions import Row, TableDefinition
from ml.experiments.pages import write_tables
from ml.experiments.scheduling import CoreBudget, run_cells
from ml.experiments.summary import Circumstances, PlannedRow, TableResult, summarize_table
from ml.experiments.tables.catalog import choose_tables, table_letters
from ml.training.presets import training_preset
from ml.training.spec import TrainSpec

#: The dataset on which the papers print the figures that stand in the tables' definitions.
PUBLISHED_ON = "ali_ccp_papers"


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


@dataclass(frozen=True)
class ExperimentOutcome:
    """What was written, and how many cells there were and failed; rows without any cell are among neither."""

    tables: tuple[TableResult, ...]
    pages: tuple[Path, ...]
    cells: int
    failures: tuple[CellFailure, ...]


def run_experiment(
    platform: Platform, spec: DatasetSpec, request: ExperimentRequest, *, tell: Callable[[str], None]
) -> ExperimentOutcome:
    """Run the cells that are not finished and write the tables into `request.out`.

    Raises DataRefused for a judged day that is not admitted, WindowRefused and ArtifactMissing as `cvr_model` does.
    """
    try:
        tables = choose_tables(request.tables, models=request.models)
    except ValueError as error:
        raise DataRefused(str(error)) from error
    standing = day_standing(platform, request.as_of)
    if not standing.admitted or standing.receipt_id is None:
        raise DataRefused(f"the judged day {request.as_of} is not admitted: {standing.why}; choose another as-of day")
    samples, receipt = admitted_samples(platform, request.as_of, receipt_id=standing.receipt_id)
    window = training_window(platform, as_of=request.as_of, policy=spec.window)
    base = conversion_train_spec(
        platform, spec, as_of=request.as_of, window=window, settings={**_training(spec, request), "model": _BASE_MODEL}
    )
    workplace = Workplace(
        platform=platform,
        threads=request.budget.threads,
        samples=samples,
        content_sha256=receipt.content_sha256,
        keep_models=request.keep_models,
    )
    out = request.out.resolve()
    with alone_in(
        out, otherwise=f"another experiment is writing into {out}; wait for it, or give another --out"
    ):  # Two experiments that wrote into one folder would run each cell twice, over each other.
        plan = _Plan(spec=spec, request=request, base=base, workplace=workplace, graphs=out / "graphs")
        planned = {table.slug: [plan.row(row) for row in table.rows] for table in tables}
        outcomes = run_cells(list(plan.cells.values()), out=out, budget=request.budget, run=workplace.run, tell=tell)
        shared = Circumstances(
            dataset=spec.name,
            as_of=request.as_of,
            seeds=request.seeds,
            preset=request.preset,
            settings={**request.training, **request.model},
            shows_published=spec.name == PUBLISHED_ON,
        )
        notes = {
            table.slug: _notes(spec, table, window_days=len(window.days), mature=receipt.labels_mature)
            for table in tables
        }
        results = [
            summarize_table(
                table, planned[table.slug], outcomes, shared.model_copy(update={"notes": notes[table.slug]})
            )
            for table in tables
        ]
        pages = write_tables(results, out)
    failures = tuple(outcome for outcome in outcomes.values() if isinstance(outcome, CellFailure))
    return ExperimentOutcome(tables=tuple(results), pages=tuple(pages), cells=len(outcomes), failures=failures)


#: Stands in the base run until a row's own model takes its place.
_BASE_MODEL = {"name": "mlp"}


class _Plan:
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


def _training(spec: DatasetSpec, request: ExperimentRequest) -> dict[str, Any]:
    if request.preset is not None:
        settings = training_preset(request.preset).model_dump()
    else:
        settings = spec.training.training_settings()
    # Rare ids were counted when the vocabulary was made, with the CTR pre-training.
    return {**settings, **request.training, "min_count": spec.training.min_count}


def _notes(spec: DatasetSpec, table: TableDefinition, *, window_days: int, mature: bool) -> tuple[str, ...]:
    notes = [f"Trained on {window_days} admitted days; ids seen fewer than {spec.training.min_count} times are one."]
    if not mature:
        notes.append("The judged day's labels are provisional: conversions may still come.")
    names = {row.model_name for row in table.rows}
    if "gmv" in names and not any(field.kind == "sequence" and field.of for field in spec.fields):
        notes.append("The log has no sequence of a field's values: model gmv has nothing to attend to.")
    if "calibration" in names and not any(field.bias for field in spec.fields):
        notes.append("No field is tagged as display bias: model calibration has no bias network.")
    return tuple(notes)
