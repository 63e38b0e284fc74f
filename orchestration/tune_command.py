"""The command `postclick tune`: parses what is asked for and prints the best trials; running them is `assets`'."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from assets.resources import DataRefused
from assets.tuning import run_tuning, study_page
from assets.tuning_trials import TuningRequest
from infra.artifacts import ArtifactMissing
from ml.data.window import WindowRefused
from ml.tuning.dimensions import choice_key
from ml.tuning.objective import OBJECTIVES
from ml.tuning.pages import INDEX_FILE, ranked_trials
from ml.tuning.records import StudyRecord
from ml.tuning.search_space import parse_assignments
from orchestration.build import build_platform
from orchestration.dataset_option import DatasetOption, open_dataset
from orchestration.day_arguments import one_day
from orchestration.telling import tell
from orchestration.training_inputs import require_inputs
from orchestration.tune_request import read_space_file, tune_request
from orchestration.tune_sweep import run_sweep_trial, sweep_space, write_sweep

SOME_COMPLETE, NONE_COMPLETE = 0, 1
_OBJECTIVES = "; ".join(f"{each.name}: {each.title}" for each in OBJECTIVES.values())
_PLAIN_WIDTH = 160
_LISTED = 10


def tune(
    as_of: Annotated[str, typer.Option(help="Trials are trained on the window before this day, which is not read.")],
    dataset: DatasetOption = None,
    model: Annotated[
        str | None, typer.Option(help="Model to search for (see `postclick models`); the dataset spec's if absent.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials that the study shall hold, ended ones among them.")] = 20,
    space: Annotated[Path | None, typer.Option(help="YAML file of ranges and values by setting.")] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=SPEC, such as 'learning_rate={low: 1e-4, high: 1e-2, log: true}' or 'batch_size=[500, 1000]'; "
            "may be given often, and comes before --space."
        ),
    ] = None,
    settings_given: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, a setting of every trial; may be given often.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study; <model>-<day> if absent.")] = None,
    objective: Annotated[str, typer.Option(help=_OBJECTIVES)] = "score",
    pruner: Annotated[str, typer.Option(help="median, halving or none: which trials are ended early.")] = "median",
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is proposed; that of training is --set seed=….")] = 0,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores in all; POSTCLICK_THREADS if absent.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a trial.")] = 1,
    timeout_minutes: Annotated[float | None, typer.Option(min=0.01, help="After so long no trial is begun.")] = None,
    export_sweep: Annotated[
        Path | None, typer.Option(help="Write the search as a file for `wandb sweep` instead, and run nothing.")
    ] = None,
    sweep_trial: Annotated[
        str | None, typer.Option(help="Train one setting, a JSON object, for the W&B agent that calls this.")
    ] = None,
) -> None:
    """Search hyper-parameters and training settings, judged on validation rows of the window alone.

    Run it again to go on: trials that have ended are kept. Exit codes: 0 done, 1 no trial is complete, 2 wrong
    arguments, or data that was refused.
    """
    settings, spec = open_dataset(dataset)
    day = one_day(as_of, spec)
    try:
        if sweep_trial is not None:
            described = sweep_space(sweep_trial, sweep_id=settings.wandb_sweep_id)
        else:
            described = {**(read_space_file(space) if space else {}), **parse_assignments(search or [])}
        request = tune_request(
            settings,
            spec,
            as_of=day,
            model=model,
            space=described,
            changes=settings_given or [],
            trials=trials,
            study=study,
            objective=objective,
            pruner=pruner,
            seed=seed,
            cores=cores,
            threads=threads,
            timeout_minutes=timeout_minutes,
        )
        platform = build_platform(settings, spec)
        if export_sweep is not None:
            tell(write_sweep(platform, request, export_sweep))
            return
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        with _ended_in_order():
            require_inputs(platform, settings, spec, day, tell=tell)
            if sweep_trial is not None:
                raise typer.Exit(run_sweep_trial(platform, spec, request, tell=tell))
            record = run_tuning(platform, spec, request, tell=tell)
    except (WindowRefused, ArtifactMissing) as refusal:
        raise DataRefused(str(refusal)) from refusal
    _print(record, request, page=study_page(platform, request))
    raise typer.Exit(NONE_COMPLETE if record.best is None else SOME_COMPLETE)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends children and writes the study's files, as Ctrl-C does."""

    def interrupt(number: int, _frame: Any) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print(record: StudyRecord, request: TuningRequest, *, page: str) -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=_PLAIN_WIDTH)
    names = list(record.settings.space.dimensions)
    shown = Table("trial", "state", record.settings.objective, "epoch", *names, title=f"study {record.name}")
    for trial in ranked_trials(record)[:_LISTED]:
        values = (_short(choice_key(trial.settings[name])) for name in names)
        shown.add_row(str(trial.number), trial.state, f"{trial.value:.5f}", str(trial.best_epoch), *values)
    console.print(shown)
    for trial in record.trials:
        if trial.state == "failed":
            tell(f"trial {trial.number} failed: {trial.reason}")
    said = ", ".join(f"{record.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    here = str(request.out / INDEX_FILE)
    console.print(f"{said}; see {here}", soft_wrap=True, highlight=False)
    if page != here:
        console.print(f"kept in the store: {page}", soft_wrap=True, highlight=False)
    if record.command is not None:
        console.print(f"train the best: {record.command}", soft_wrap=True, highlight=False, markup=False)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
