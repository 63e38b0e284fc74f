"""Searches on a dataset: the trials that a study lacks, from the artifacts of an as-of day, and the study's files; what
is proposed next is `ml.tuning`'s."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from assets.folder_layouts import FolderLayout
from assets.kept_folders import kept_folder, page_address
from assets.resources import DataRefused, Platform
from assets.tuning_trials import TRIALS, Trials, TuningRequest, trial_folder
from ml.atomic_files import write_json
from ml.data.dataset import DatasetSpec
from ml.tuning.objective import Objective
from ml.tuning.pages import INDEX_FILE, STUDY_FILE, TRIALS_FILE
from ml.tuning.records import JOURNAL_FILE, StudyRecord, StudySettings, as_yaml, best_number
from ml.tuning.search import search

SETTINGS_FILE = "settings.json"
#: What is kept in the store. Trials' folders tell of them and are not gone on with: what has ended, the journal says.
LAYOUT = FolderLayout(
    state=(SETTINGS_FILE, JOURNAL_FILE),
    pages=(INDEX_FILE, STUDY_FILE, TRIALS_FILE, "*.png"),
    folders={f"{TRIALS}/*": ("*.json", "*.log", "train/*.json", "train/*.jsonl")},
)


def run_tuning(
    platform: Platform,
    spec: DatasetSpec,
    request: TuningRequest,
    *,
    tell: Callable[[str], None],
    run_id: str | None = None,
) -> StudyRecord:
    """Run the trials that the study lacks, by what the store has of it, and write its files into `request.out`.

    Trials are compared on validation rows of the window. The judged day is not read, as its report must stay evidence
    for the model that is chosen here. run_id: Dagster's. Raises DataRefused for a study of other settings, data or code
    and for one that another process works on, WindowRefused and ArtifactMissing as `cvr_model` does.
    """
    # Optuna takes a second to load.
    from ml.tuning.study import OpenedStudy

    trials = Trials(platform, spec, request, out=request.out.resolve())
    settings = StudySettings(
        dataset=spec.name,
        as_of=request.as_of,
        model=dict(request.model),
        training=dict(request.training),
        space=request.space,
        objective=request.objective,
        seed=request.seed,
        base=trials.base.identity(),
    )
    other = f"another search is at work in {trials.out}; wait for it, or give another --study"
    key = study_key(request)
    with kept_folder(platform, trials.out, key=key, layout=LAYOUT, otherwise=other, run_id=run_id, log=tell) as kept:
        _require_same(trials.out / SETTINGS_FILE, settings)
        study = OpenedStudy(
            trials.out,
            space=request.space,
            objective=trials.objective,
            pruner=request.pruner,
            seed=request.seed,
        )
        try:
            search(
                study,
                trials=request.trials,
                processes=request.budget.processes,
                objective=trials.objective,
                run=lambda proposal, watch, stop: trials.run(proposal, watch, kept.stops(stop)),
                ended=lambda number: kept.keep(trial_folder(number)),
                tell=tell,
                seconds=None if request.timeout_minutes is None else 60 * request.timeout_minutes,
            )
        finally:
            record = _record(platform, request, settings, study, trials.objective)
    return record


def study_key(request: TuningRequest) -> str:
    """Store key of a study."""
    return f"studies/{request.name}"


def study_page(platform: Platform, request: TuningRequest, *, name: str = INDEX_FILE) -> str:
    """Where people find a page of the study: in the store where it is kept there."""
    return page_address(platform, request.out, key=study_key(request), name=name)


def train_line(platform: Platform, request: TuningRequest, settings: Mapping[str, JsonValue]) -> str:
    """The command that trains these settings on the same days and judges them on the as-of day."""
    day = request.as_of.isoformat()
    dataset = [] if platform.dataset_argument is None else ["--dataset", platform.dataset_argument]
    sets = [f"{name}={as_yaml(value)}" for name, value in {**request.given, **settings}.items()]
    command = ["postclick", "run", *dataset, "--days", day, "--as-of", day, "--model", str(request.model["name"])]
    return shlex.join([*command, *(part for each in sets for part in ("--set", each))])


def _require_same(file: Path, settings: StudySettings) -> None:
    """Trials of other settings, data or code are not comparable, and the proposals would learn from them."""
    if not file.exists():
        write_json(file, settings.model_dump(mode="json"))
        return
    try:
        before = StudySettings.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise DataRefused(f"{file} is no study of this version; give another --study") from error
    if differences := before.differences(settings):
        raise DataRefused(
            f"the study in {file.parent} was begun with others: {'; '.join(differences)}; give another --study"
        )


def _record(
    platform: Platform, request: TuningRequest, settings: StudySettings, study: Any, objective: Objective
) -> StudyRecord:
    from ml.tuning.pages import write_study
    from ml.tuning.study import trial_record

    trials = tuple(trial_record(each, space=request.space, objective=objective) for each in study.ended())
    best = best_number(trials, maximize=objective.goal == "maximize")
    chosen = next((trial for trial in trials if trial.number == best), None)
    record = StudyRecord(
        name=request.name,
        settings=settings,
        pruner=request.pruner,
        trials=trials,
        best=best,
        command=None if chosen is None else train_line(platform, request, chosen.settings),
        importances=dict(study.importances()),
    )
    write_study(record, request.out.resolve())
    return record
