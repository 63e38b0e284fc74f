"""Experiments on a dataset: the papers' tables, their cells run from the artifacts of an as-of day; which cells those
are is `experiment_plan`'s, rendering them `ml.experiments`'."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from assets.experiment_cells import Workplace
from assets.experiment_plan import BASE_MODEL, GRAPHS, ExperimentRequest, Plan, shared_training
from assets.folder_layouts import FolderLayout
from assets.kept_folders import kept_folder, page_address
from assets.models import conversion_train_spec
from assets.receipts import admitted_samples, day_standing
from assets.resources import DataRefused, Platform
from assets.training_runs import training_window
from ml.data.dataset import DatasetSpec
from ml.experiments.cells import RUNS, CellFailure
from ml.experiments.definitions import TableDefinition
from ml.experiments.pages import INDEX_FILE, write_tables
from ml.experiments.scheduling import run_cells
from ml.experiments.summary import Circumstances, TableResult, summarize_table
from ml.experiments.tables.catalog import TABLES, choose_tables

#: The dataset on which the papers print the figures that stand in the tables' definitions.
PUBLISHED_ON = "ali_ccp_papers"
#: What is kept in the store. No state: cells are known by their content, and the tables are made of them. Graphs are,
#: as their bytes are part of what cells are known by. Models and predictions are not: no finished cell needs them.
LAYOUT = FolderLayout(
    pages=(
        INDEX_FILE,
        *(f"{table.slug}.{kind}" for table in TABLES for kind in ("md", "csv", "json", "html")),
        *(f"{table.slug}-*.png" for table in TABLES),
    ),
    folders={
        f"{RUNS}/*": ("*.json", "*.log", "train/*.json", "train/*.jsonl", "score/*.json"),
        f"{GRAPHS}/*/*": ("*.safetensors", "*.json"),
    },
)


@dataclass(frozen=True)
class ExperimentOutcome:
    """What was written, and how many cells there were and failed; rows without any cell are among neither.

    page: where people find all tables, in the store where they are kept there.
    """

    tables: tuple[TableResult, ...]
    page: str
    pages: tuple[Path, ...]
    cells: int
    failures: tuple[CellFailure, ...]


def run_experiment(
    platform: Platform,
    spec: DatasetSpec,
    request: ExperimentRequest,
    *,
    tell: Callable[[str], None],
    run_id: str | None = None,
) -> ExperimentOutcome:
    """Run the cells that are not finished, here or by what the store has of the day, and write the tables into
    `request.out`.

    run_id: Dagster's. Raises DataRefused for a judged day that is not admitted, and where another process works on the
    same; WindowRefused and ArtifactMissing as `cvr_model` does.
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
        platform,
        spec,
        as_of=request.as_of,
        window=window,
        settings={**shared_training(spec, request), "model": BASE_MODEL},
    )
    workplace = Workplace(
        platform=platform,
        threads=request.budget.threads,
        samples=samples,
        content_sha256=receipt.content_sha256,
        keep_models=request.keep_models,
    )
    out = request.out.resolve()
    key = f"experiments/{request.as_of.isoformat()}"
    other = f"another experiment is writing into {out}; wait for it, or give another --out"
    # Two experiments that wrote into one folder would run each cell twice, over each other.
    with kept_folder(platform, out, key=key, layout=LAYOUT, otherwise=other, run_id=run_id, log=tell) as kept:
        plan = Plan(spec=spec, request=request, base=base, workplace=workplace, graphs=out / GRAPHS)
        planned = {table.slug: [plan.row(row) for row in table.rows] for table in tables}
        kept.keep_all()
        outcomes = run_cells(
            list(plan.cells.values()),
            out=out,
            budget=request.budget,
            run=lambda cell, folder, stop: workplace.run(cell, folder, kept.stops(stop)),
            tell=tell,
            ended=lambda cell: kept.keep(cell.run_path),
        )
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
    return ExperimentOutcome(
        tables=tuple(results),
        page=page_address(platform, out, key=key, name=INDEX_FILE),
        pages=tuple(pages),
        cells=len(outcomes),
        failures=failures,
    )


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
