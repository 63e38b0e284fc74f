"""The job `tune`: a search by a form in the launchpad; what is run is `assets.tuning`'s."""

from enum import Enum
from typing import get_args

import dagster as dg
from pydantic import Field

from assets.resources import DataRefused, Platform
from assets.training_runs import final_refusals
from assets.tuning import run_tuning, study_page
from ml.data.dataset import DatasetSpec
from ml.models.configs.catalog import model_names
from ml.tuning.objective import OBJECTIVES
from ml.tuning.pages import INDEX_FILE, TRIALS_FILE
from ml.tuning.records import PrunerName, StudyRecord
from ml.tuning.search_space import parse_assignments
from orchestration.review_job import day_of_log
from orchestration.settings import Settings
from orchestration.training_ops import training_op
from orchestration.tune_request import tune_request

TUNE = "tune"
TunedModel = Enum("TunedModel", {name: name for name in model_names()})
TuneObjective = Enum("TuneObjective", {name: name for name in OBJECTIVES})
TunePruner = Enum("TunePruner", {name: name for name in get_args(PrunerName)})

#: What the launchpad is filled in with; as it is, the run refuses it, since no day is named.
_BLANK = {"as_of": "", "search": ["learning_rate={low: 1e-4, high: 1e-2, log: true}"], "settings": [], "trials": 20}


class TuneForm(dg.Config):
    """The form of `tune`."""

    as_of: str = Field(description="such as 2026-01-31; trials are trained on the window before it, it is not read")
    model: TunedModel | None = Field(  # pyright: ignore[reportInvalidTypeForm]
        default=None, description="the dataset spec's if absent"
    )
    search: list[str] = Field(
        default_factory=list,
        description="NAME=SPEC, SPEC a list of values or {low: …, high: …, log: true} or {low: …, high: …, step: …}; "
        "a default for every model if empty",
    )
    settings: list[str] = Field(default_factory=list, description="NAME=VALUE of every trial, such as epochs=3")
    trials: int = Field(default=20, ge=1, le=100_000, description="the study's in all, ended ones among them")
    study: str | None = Field(default=None, description="its name; <model>-<day> if absent")
    objective: TuneObjective | None = Field(  # pyright: ignore[reportInvalidTypeForm]
        default=None, description=f"score if absent; {'; '.join(f'{o.name}: {o.title}' for o in OBJECTIVES.values())}"
    )
    pruner: TunePruner | None = Field(  # pyright: ignore[reportInvalidTypeForm]
        default=None, description="which trials are ended early; median if absent"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="of what is proposed; that of training is a setting")
    cores: int | None = Field(default=None, ge=1, description="cores in all; POSTCLICK_THREADS if absent")
    threads: int = Field(default=1, ge=1, description="threads of a trial")
    timeout_minutes: float | None = Field(default=None, gt=0, description="after so long no trial is begun")


def build_tune_job(settings: Settings, spec: DatasetSpec) -> dg.JobDefinition:
    """The job of a dataset: one op, which goes on where an earlier run of the same study ended."""

    @dg.op(
        name="run_trials",
        description="Runs the trials that the study lacks, and writes its page.",
        **training_op(settings),
    )
    def run_trials(context: dg.OpExecutionContext, config: TuneForm, platform: dg.ResourceParam[Platform]) -> None:
        try:
            request = tune_request(
                settings,
                spec,
                as_of=day_of_log(config.as_of, spec),
                model=None if config.model is None else config.model.value,
                space=parse_assignments(config.search),
                changes=config.settings,
                trials=config.trials,
                study=config.study,
                objective="score" if config.objective is None else config.objective.value,
                pruner="median" if config.pruner is None else config.pruner.value,
                seed=config.seed,
                cores=config.cores,
                threads=config.threads,
                timeout_minutes=config.timeout_minutes,
            )
        except (DataRefused, ValueError) as refusal:
            raise dg.Failure(description=str(refusal), allow_retries=False) from refusal
        with final_refusals():
            record = run_tuning(platform, spec, request, tell=context.log.info, run_id=context.run_id)
        page, trials = (study_page(platform, request, name=name) for name in (INDEX_FILE, TRIALS_FILE))
        metadata = _metadata(record, page=page, trials=trials)
        context.add_output_metadata(metadata)
        if record.best is None:
            why = next((trial.reason for trial in record.trials if trial.reason), "all were pruned")
            raise dg.Failure(
                description=f"none of {len(record.trials)} trials is complete: {why}",
                metadata=metadata,
                allow_retries=False,
            )

    @dg.job(
        name=TUNE,
        config={"ops": {"run_trials": {"config": _BLANK}}},
        description="Searches hyper-parameters and training settings on validation rows: fill in the form in the "
        "Launchpad. Needs the day's embeddings and graphs (job experiment_inputs); the same as `postclick tune`.",
    )
    def run() -> None:
        run_trials()

    return run


def _metadata(record: StudyRecord, *, page: str, trials: str) -> dict[str, dg.MetadataValue]:
    counted = {state: dg.MetadataValue.int(record.count(state)) for state in ("complete", "pruned", "failed")}
    shown: dict[str, dg.MetadataValue] = {
        "page": dg.MetadataValue.path(page),
        "trials": dg.MetadataValue.path(trials),
        **counted,
    }
    best = record.best_trial
    if best is not None and best.value is not None and record.command is not None:
        shown[f"best {record.settings.objective}"] = dg.MetadataValue.float(best.value)
        shown["train the best"] = dg.MetadataValue.text(record.command)
    return shown
