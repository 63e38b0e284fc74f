"""An experiment's request from what a command or a form says, held against what there is; it runs nothing."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from assets.experiment_plan import ExperimentRequest
from assets.setting_faults import faults_in_words
from ml.data.dataset import DatasetSpec
from ml.experiments.scheduling import CoreBudget
from ml.experiments.tables.catalog import table_letters
from ml.models.configs.base import ModelConfig
from ml.models.configs.catalog import model_names
from ml.training.presets import PRESETS
from ml.training.settings import TrainingSettings
from orchestration.settings import Settings

#: A cell's own seed and the counting of the vocabulary are not settings of all cells.
_NOT_SET = frozenset({"seed", "min_count"})


def experiment_request(
    settings: Settings,
    spec: DatasetSpec,
    *,
    as_of: date,
    tables: Sequence[str] | None,
    models: Sequence[str] | None,
    seeds: int,
    preset: str | None,
    changes: Sequence[str],
    cores: int | None,
    threads: int,
    keep_models: bool,
    out: Path | None,
) -> ExperimentRequest:
    """The request; ValueError says what is unknown or out of range, and what there is, before anything is run.

    changes: NAME=VALUE of every cell. Without `cores`, the settings' threads; without `out`, a folder of the dataset's
    own by the as-of day.
    """
    chosen = table_letters() if not tables else tuple(tables)
    _refuse_unknown("table", chosen, table_letters())
    _refuse_unknown("model", models or (), model_names())
    _refuse_unknown("preset", () if preset is None else (preset,), tuple(PRESETS))
    training, model = shared_settings(changes)
    try:
        return ExperimentRequest(
            as_of=as_of,
            out=settings.dataset_home(spec) / "experiments" / as_of.isoformat() if out is None else out,
            tables=chosen,
            models=tuple(models) if models else None,
            seeds=seeds,
            preset=preset,
            training=training,
            model=model,
            budget=CoreBudget(cores=settings.threads if cores is None else cores, threads=threads),
            keep_models=keep_models,
        )
    except ValidationError as error:
        raise ValueError(faults_in_words(error, whole="experiment")) from error


def shared_settings(given: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Training settings and model settings of every cell from `NAME=VALUE`; a value is YAML.

    Raises ValueError for what is unknown or out of range: settings that only some models have are the tables' rows'.
    """
    training: dict[str, Any] = {}
    model: dict[str, Any] = {}
    of_training = [name for name in TrainingSettings.model_fields if name not in _NOT_SET]
    of_models = [name for name in ModelConfig.model_fields if name != "name"]
    for setting in given:
        name, separator, text = setting.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{setting!r}: {text!r} is no YAML value ({error})") from error
        if separator and name in of_training:
            training[name] = value
        elif separator and name in of_models:
            model[name] = value
        else:
            raise ValueError(
                f"{setting!r} is no NAME=VALUE of every cell; there are {', '.join(sorted((*of_training, *of_models)))}"
            )
    try:
        TrainingSettings.model_validate(training)
    except ValidationError as error:
        raise ValueError(faults_in_words(error, whole="experiment")) from error
    return training, model


def _refuse_unknown(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"{what} {', '.join(unknown)} is unknown; there is {', '.join(known)}")
