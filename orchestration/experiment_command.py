"""The command `postclick experiment`: parses what is asked for and prints the tables; running them is `assets`'."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.experiments import ExperimentOutcome, run_experiment
from assets.resources import DataRefused
from infra.artifacts import ArtifactMissing
from ml.data.window import WindowRefused
from ml.experiments.definitions import METRICS
from ml.experiments.summary import TableResult
from ml.experiments.tables.catalog import TABLES
from ml.experiments.text_tables import figure
from orchestration.build import build_platform
from orchestration.dataset_option import DatasetOption, open_dataset
from orchestration.day_arguments import one_day
from orchestration.experiment_request import experiment_request
from orchestration.telling import tell
from orchestration.training_inputs import require_inputs

ALL_FINISHED, SOME_FAILED = 0, 1
_LETTERS = "; ".join(f"{table.letter}: {table.title}" for table in TABLES)
_PLAIN_WIDTH = 200


def experiment(
    as_of: Annotated[str, typer.Option(help="The judged day; models are trained on the days before it.")],
    dataset: DatasetOption = None,
    models: Annotated[str | None, typer.Option(help="The tables' rows of these models alone, by comma.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Runs of each row: seeds 0 to n − 1.")] = 5,
    preset: Annotated[
        str | None, typer.Option(help="paper: the papers' settings in place of the dataset spec's.")
    ] = None,
    tables: Annotated[str | None, typer.Option(help=f"Letters by comma, all if absent. {_LETTERS}")] = None,
    settings_given: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, a setting of every cell; may be given often.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; <dataset's home>/experiments/<day> if absent.")] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores in all; POSTCLICK_THREADS if absent.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a cell.")] = 1,
    keep_models: Annotated[
        bool, typer.Option("--keep-models", help="Keep bundles and predictions, here alone.")
    ] = False,
) -> None:
    """Write the papers' tables: every row trained once a seed and judged on one day.

    Run it again to go on: what is finished is not run again. Exit codes: 0 all cells finished, 1 some failed, 2 wrong
    arguments, or data that was refused.
    """
    settings, spec = open_dataset(dataset)
    day = one_day(as_of, spec)
    try:
        request = experiment_request(
            settings,
            spec,
            as_of=day,
            tables=_names(tables),
            models=_names(models),
            seeds=seeds,
            preset=preset,
            changes=settings_given or [],
            cores=cores,
            threads=threads,
            keep_models=keep_models,
            out=out,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    platform = build_platform(settings, spec)
    try:
        require_inputs(platform, settings, spec, day, tell=tell)
        outcome = run_experiment(platform, spec, request, tell=tell)
    except (WindowRefused, ArtifactMissing) as refusal:
        raise DataRefused(str(refusal)) from refusal
    _print(outcome)
    raise typer.Exit(SOME_FAILED if outcome.failures else ALL_FINISHED)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _print(outcome: ExperimentOutcome) -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=_PLAIN_WIDTH)
    for table in outcome.tables:
        console.print(_shown(table))
    for failure in outcome.failures:
        tell(f"{failure.identity[:16]}: {failure.reason}")
    console.print(
        f"{outcome.cells} cells, {len(outcome.failures)} failed; see {outcome.pages[0]}",
        soft_wrap=True,
        highlight=False,
    )
    if outcome.page != str(outcome.pages[0]):
        console.print(f"kept in the store: {outcome.page}", soft_wrap=True, highlight=False)


def _shown(table: TableResult) -> Any:
    titles = (f"{METRICS[name].title}\n{METRICS[name].population}" for name in table.metrics)
    shown = Table("model", *titles, "seeds", title=escape(table.title))
    for row in table.rows:
        figures = (escape(figure(name, row.entries[name])) for name in table.metrics)
        shown.add_row(escape(row.label), *figures, str(len([run for run in row.runs if not run.failure])))
    return shown
