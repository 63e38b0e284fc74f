"""A search's request from what a command or a form says, held against what there is; it runs nothing."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from assets.setting_faults import faults_in_words
from assets.tuning_trials import TuningRequest
from ml.data.dataset import DatasetSpec
from ml.experiments.scheduling import CoreBudget
from ml.models.configs.catalog import model_names, parse_model_config
from ml.tuning.known_settings import SpaceInvalid, read_fixed
from ml.tuning.objective import OBJECTIVES
from ml.tuning.records import PrunerName
from ml.tuning.search_space import (
    SearchSpace,
    default_space,
    parse_assignments,
    read_space,
    require_possible,
    split_settings,
)
from orchestration.settings import Settings


def tune_request(
    settings: Settings,
    spec: DatasetSpec,
    *,
    as_of: date,
    model: str | None,
    space: Mapping[str, Any],
    changes: Sequence[str] = (),
    trials: int = 20,
    study: str | None = None,
    objective: str = "score",
    pruner: str = "median",
    seed: int = 0,
    cores: int | None = None,
    threads: int = 1,
    timeout_minutes: float | None = None,
) -> TuningRequest:
    """The request; ValueError says what is unknown or out of range, and what there is, before anything is run.

    space: ranges and values by setting, a default for every model if empty. changes: NAME=VALUE of every trial, in
    place of the dataset spec's; values are YAML. Without `cores`, the settings' threads; without `study`, one named by
    model and day.
    """
    name = spec.training.model["name"] if model is None else model
    _require_known("model", name, model_names())
    _require_known("objective", objective, tuple(OBJECTIVES))
    _require_known("pruner", pruner, get_args(PrunerName))
    given = read_fixed(parse_assignments(changes), model=name)
    training_given, model_given = split_settings(given)
    own = spec.training.model if spec.training.model["name"] == name else {}
    all_model = {"embedding_size": spec.training.embedding_dim, **own, **model_given, "name": name}
    all_training = {**spec.training.training_settings(), **training_given}
    searched = _space(space, all_model, given)
    require_possible(searched, training=all_training, model=all_model)
    study = f"{name}-{as_of.isoformat()}" if study is None else study
    try:
        return TuningRequest(
            as_of=as_of,
            name=study,
            out=settings.dataset_home(spec) / "studies" / study,
            training=all_training,
            model=all_model,
            given=given,
            space=searched,
            trials=trials,
            objective=objective,  # pyright: ignore[reportArgumentType]
            pruner=pruner,  # pyright: ignore[reportArgumentType]
            seed=seed,
            budget=CoreBudget(cores=settings.threads if cores is None else cores, threads=threads),
            timeout_minutes=timeout_minutes,
        )
    except ValidationError as error:
        raise ValueError(faults_in_words(error)) from error


def read_space_file(file: Path) -> dict[str, Any]:
    """The mapping of a YAML file; ValueError naming the file where it holds none."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"the search space {file} cannot be read: {error}") from error
    if not isinstance(content, dict) or not content:
        raise ValueError(f"the search space {file} holds no settings: such as `batch_size: [500, 1000]`")
    return content


def _space(content: Mapping[str, Any], model: Mapping[str, Any], given: Mapping[str, Any]) -> SearchSpace:
    if content:
        return read_space(content, model=model["name"])
    try:
        config = parse_model_config(model)
    except ValidationError as error:
        raise SpaceInvalid(faults_in_words(error)) from error
    return default_space(config, fixed=tuple(given))


def _require_known(what: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise ValueError(f"{what} {given} is unknown; there is {', '.join(known)}")
