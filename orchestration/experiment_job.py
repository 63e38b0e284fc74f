"""The job `experiment`: the papers' tables by a form in the launchpad; what is run is `assets.experiments`'."""

from enum import Enum
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets.experiments import ExperimentOutcome, run_experiment
from assets.resources import DataRefused, Platform
from assets.training_runs import final_refusals
from ml.data.dataset import DatasetSpec
from ml.experiments.tables.catalog import TABLES, table_letters
from ml.experiments.text_tables import as_markdown
from ml.training.presets import PRESETS
from orchestration.experiment_request import experiment_request
from orchestration.review_job import day_of_log
from orchestration.settings import Settings
from orchestration.training_ops import training_op

EXPERIMENT = "experiment"
#: What an experiment reads of its as-of day beside the samples, without a model or a promotion.
EXPERIMENT_INPUTS = "experiment_inputs"
INPUT_ASSETS = ("ctr_embeddings", "user_graph", "item_graph")
ExperimentPreset = Enum("ExperimentPreset", {name: name for name in PRESETS})

#: What the launchpad is filled in with; as it is, the run refuses it, since no day is named.
_BLANK = {"as_of": "", "tables": list(table_letters()), "models": [], "seeds": 5, "preset": "paper"}


class ExperimentForm(dg.Config):
    """The form of `experiment`."""

    as_of: str = Field(description="the judged day, such as 2026-01-31; models are trained on the days before it")
    tables: list[str] = Field(
        default_factory=lambda: list(table_letters()),
        description="; ".join(f"{table.letter}: {table.title}" for table in TABLES),
    )
    models: list[str] = Field(default_factory=list, description="rows of these models alone; all if empty")
    seeds: int = Field(default=5, ge=1, le=1000, description="runs of each row: seeds 0 to n − 1")
    preset: ExperimentPreset | None = Field(  # pyright: ignore[reportInvalidTypeForm]
        default=None, description="paper: the papers' settings in place of the dataset spec's"
    )
    settings: list[str] = Field(default_factory=list, description="NAME=VALUE of every cell, such as epochs=3")
    cores: int | None = Field(default=None, ge=1, description="cores in all; POSTCLICK_THREADS if absent")
    threads: int = Field(default=1, ge=1, description="threads of a cell")
    keep_models: bool = Field(
        default=False, description="keep bundles and predictions, in the folder of this machine alone"
    )
    out: str | None = Field(default=None, description="folder; <dataset's home>/experiments/<day> if absent")


def build_experiment_job(settings: Settings, spec: DatasetSpec) -> dg.JobDefinition:
    """The job of a dataset: one op, which goes on where an earlier run of the same folder ended."""

    @dg.op(
        name="run_tables",
        description="Trains and judges the cells that are not finished, and writes the tables.",
        **training_op(settings),
    )
    def run_tables(
        context: dg.OpExecutionContext, config: ExperimentForm, platform: dg.ResourceParam[Platform]
    ) -> None:
        try:
            request = experiment_request(
                settings,
                spec,
                as_of=day_of_log(config.as_of, spec),
                tables=config.tables,
                models=config.models,
                seeds=config.seeds,
                preset=None if config.preset is None else config.preset.value,
                changes=config.settings,
                cores=config.cores,
                threads=config.threads,
                keep_models=config.keep_models,
                out=None if config.out is None else Path(config.out),
            )
        except (DataRefused, ValueError) as refusal:
            raise dg.Failure(description=str(refusal), allow_retries=False) from refusal
        with final_refusals():
            outcome = run_experiment(platform, spec, request, tell=context.log.info, run_id=context.run_id)
        context.add_output_metadata(_metadata(outcome))
        if outcome.failures:
            why = "; ".join(f"{each.identity[:16]}: {each.reason.splitlines()[0]}" for each in outcome.failures)
            raise dg.Failure(
                description=f"{len(outcome.failures)} of {outcome.cells} cells failed, the tables are written without "
                f"them: {why}",
                metadata=_metadata(outcome),
                allow_retries=False,
            )

    @dg.job(
        name=EXPERIMENT,
        config={"ops": {"run_tables": {"config": _BLANK}}},
        description="The papers' tables on this dataset: fill in the form in the Launchpad. What is finished is not "
        "run again; the same as `postclick experiment`.",
    )
    def run() -> None:
        run_tables()

    return run


def build_experiment_inputs_job() -> Any:
    """Embeddings and graphs as of a day: `experiment` itself makes no asset."""
    return dg.define_asset_job(
        EXPERIMENT_INPUTS,
        selection=dg.AssetSelection.assets(*INPUT_ASSETS),
        description="Embeddings and graphs as of a day, which `experiment` reads. Trains and promotes no model.",
    )


def _metadata(outcome: ExperimentOutcome) -> dict[str, dg.MetadataValue]:
    tables = {table.slug: dg.MetadataValue.md(as_markdown(table)) for table in outcome.tables}
    return {"cells": dg.MetadataValue.int(outcome.cells), "pages": dg.MetadataValue.path(outcome.page), **tables}
