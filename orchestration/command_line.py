"""The console command `postclick`: parses arguments, calls the jobs and prints; the work itself is the assets'."""

import json
import os
import shlex
import sys
from datetime import date
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from assets.resources import DataRefused
from infra.structured_logs import installed
from ml.data.dataset import DatasetSpec
from ml.data.dataset_file import DatasetInvalid
from ml.models.configs.catalog import model_names
from orchestration.build import build_platform
from orchestration.dataset_option import DatasetOption, open_dataset
from orchestration.day_arguments import parse_days
from orchestration.day_commands import list_days, page, review
from orchestration.definitions import build_definitions
from orchestration.experiment_command import experiment
from orchestration.history_command import history
from orchestration.instance import open_instance, prepare_dagster_home
from orchestration.log_settings import prepare_log
from orchestration.model_arguments import form_values
from orchestration.model_list import print_settings
from orchestration.rollback_command import rollback
from orchestration.runs import RunOutcome, run_data, run_models
from orchestration.serve_command import serve
from orchestration.settings import Settings, SettingsInvalid
from orchestration.summary import (
    DaySummary,
    ModelSummary,
    as_json,
    print_days,
    print_models,
    refused_model,
    summarize_day,
    summarize_model,
    table_console,
)
from orchestration.telling import tell, tell_fault
from orchestration.tune_command import tune

ALL_WORKED, FAULT, WRONG_ARGUMENTS, DATA_WAS_REFUSED, NO_EVIDENCE = 0, 1, 2, 3, 4

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Daily training of conversion-rate models.")
app.command()(experiment)
app.command()(tune)
app.command()(history)
app.command()(rollback)
app.command()(review)
app.command()(page)
app.command(name="days")(list_days)
app.command()(serve)


def main() -> None:
    """Entry point: settings and specs that are wrong end with one clear message, not with a traceback."""
    prepare_log()
    try:
        # Where lines are JSON, what is said of wrong arguments is a line too.
        code = app(standalone_mode=installed() is None)
    except TyperException as error:
        tell_fault(error.format_message() or "a command is missing: see postclick --help")
        sys.exit(error.exit_code)
    except (SettingsInvalid, DatasetInvalid, DataRefused) as error:
        tell_fault(str(error))
        sys.exit(WRONG_ARGUMENTS)
    sys.exit(code)


@app.command()
def run(
    days: Annotated[str, typer.Option(help="FIRST..LAST, or one day: materialized in one range run.")],
    dataset: DatasetOption = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="FIRST..LAST, or one day, to train models as of; the newest mature day of --days if absent."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model to train (see `postclick models`); the dataset spec's if absent.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="paper: the papers' settings in place of the dataset spec's.")
    ] = None,
    settings_given: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE, a hyper-parameter or training setting; may be given often."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Most passes over the window.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of weights, order and split.")] = None,
    data_only: Annotated[bool, typer.Option("--data-only", help="Validate the days and train nothing.")] = False,
    as_json_only: Annotated[bool, typer.Option("--json", help="The summary as JSON on standard output.")] = False,
) -> None:
    """Run the chain from raw logs to promotion; recorded in the instance that the UI shows.

    Exit codes: 0 all worked, 1 a fault, 2 wrong arguments, 3 data was refused, 4 nothing promoted for lack of evidence.
    """
    settings, spec = open_dataset(dataset)
    definitions = build_definitions(settings)
    data_days = parse_days(days, spec)
    model_days = [] if data_only else _as_of_days(as_of, data_days, spec)
    shorthands = [f"{name}={value}" for name, value in (("epochs", epochs), ("seed", seed)) if value is not None]
    form = form_values(spec, model=model, preset=preset, settings=[*shorthands, *(settings_given or [])])
    with open_instance(settings, spec) as instance:
        platform = build_platform(settings, spec)
        outcomes = [run_data(definitions, instance, days=data_days, tell=tell)]
        day_rows = [summarize_day(platform, day) for day in data_days]
        model_rows = []
        for day in model_days:
            if outcomes[-1].was_told_to_end:
                break
            outcome = run_models(definitions, instance, as_of=day, form=form, tell=tell)
            outcomes.append(outcome)
            model_rows.append(_model_row(platform, day, outcome, model))
    code = exit_code(outcomes, day_rows, model_rows)
    if as_json_only:
        print(json.dumps(as_json(day_rows, model_rows), indent=1))
    else:
        console = table_console()
        print_days(console, day_rows)
        print_models(console, model_rows)
        console.print(f"see it in the UI: {ui_command(settings)}", soft_wrap=True, highlight=False)
    for outcome in outcomes:
        if outcome.fault:
            tell_fault(outcome.fault)
    raise typer.Exit(code)


@app.command(name="models")
def list_models(
    name: Annotated[str | None, typer.Argument(help="A model, to see its hyper-parameters.")] = None,
) -> None:
    """List the models that can be trained, or what can be set of one: name, default, meaning and the paper's value."""
    if name is not None and name not in model_names():
        raise typer.BadParameter(f"model {name!r} is unknown; there are {', '.join(model_names())}")
    print_settings(table_console(), name)


@app.command()
def ui(
    dataset: DatasetOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the web server.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Start Dagster's UI and daemon on what the dataset's runs have made."""
    settings, spec = open_dataset(dataset)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(prepare_dagster_home(settings, spec)),
        "POSTCLICK_HOME": str(settings.home.resolve()),
        "POSTCLICK_DATASET": settings.dataset,
        **({"POSTCLICK_DATA": folder} if (folder := settings.data_folder()) else {}),
    }
    command = [sys.executable, "-m", "dagster", "dev", "-m", "orchestration.definitions", "-p", str(port), "-h", host]
    command += ["--log-format", "json"] if settings.log_format == "json" else []
    os.execvpe(command[0], command, environment)


def exit_code(outcomes: list[RunOutcome], days: list[DaySummary], models: list[ModelSummary]) -> int:
    """The command's exit code; a fault outweighs refused data, and refused data a lack of evidence."""
    if any(outcome.fault for outcome in outcomes):
        return FAULT
    refused_days = any(day.verdict in ("refused", "no receipt") and not day.usable for day in days)
    if refused_days or any(outcome.refusal for outcome in outcomes):
        return DATA_WAS_REFUSED
    decisions = [model.decision for model in models]
    if "insufficient_evidence" in decisions and not {"promoted", "unchanged"} & set(decisions):
        return NO_EVIDENCE
    return ALL_WORKED


def ui_command(settings: Settings) -> str:
    """The command that shows what this run made."""
    # As it was called: the environment that it is installed in need not be on the PATH.
    program = sys.argv[0] if sys.argv[0].endswith("postclick") else "postclick"
    return shlex.join([program, "ui", "--dataset", settings.dataset])


def _as_of_days(as_of: str | None, data_days: list[date], spec: DatasetSpec) -> list[date]:
    if as_of is not None:
        return parse_days(as_of, spec)
    return [max(spec.last_mature_day(data_days[-1]), data_days[0])]


def _model_row(platform: Any, day: date, outcome: RunOutcome, model: str | None) -> ModelSummary:
    if outcome.refusal:
        return refused_model(day, model, outcome.refusal, decision="refused")
    if outcome.fault:
        return refused_model(day, model, outcome.fault, decision="failed")
    return summarize_model(platform, day)
