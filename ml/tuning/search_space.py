"""Which settings a search may move and how far, held against the model and the trainer before anything is run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, model_validator
from pydantic.fields import FieldInfo

from ml.models.configs.base import ModelConfig
from ml.models.configs.catalog import parse_model_config
from ml.training.settings import TrainingSettings
from ml.tuning.dimensions import Choice, Dimension, Range, choice_key, is_whole
from ml.tuning.known_settings import SpaceInvalid, adapter_of, checked, in_words, numeric_type, searched_setting

_MOST_CORNERS = 256


class SearchSpace(BaseModel):
    """The settings that a search moves, by name, sorted; names are those of `postclick run --set`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    dimensions: dict[str, Dimension]

    @model_validator(mode="after")
    def _is_not_empty(self) -> SearchSpace:
        if not self.dimensions:
            raise ValueError("the search space is empty: name at least one setting")
        return self

    def values(self, proposed: Mapping[str, Any]) -> dict[str, JsonValue]:
        """The settings that a study's parameters stand for: keys of choices become the values themselves."""
        found: dict[str, JsonValue] = {}
        for name, value in proposed.items():
            dimension = self.dimensions[name]
            if isinstance(dimension, Choice):
                found[name] = next(each for each in dimension.values if repr(choice_key(each)) == repr(value))
            else:
                found[name] = value
        return found


def read_space(content: Any, *, model: str) -> SearchSpace:
    """The space that a YAML file or arguments say, for one model.

    content: by setting a mapping with low, high, log and step, or a list of values. A hyper-parameter of the model may
    be written ``model.NAME``. Raises SpaceInvalid naming each setting that is unknown, of another type, or not within
    the setting's own bounds.
    """
    if not isinstance(content, Mapping) or not content:
        raise SpaceInvalid(f"a search space is settings by name, found {content!r}: such as learning_rate: [0.001]")
    faults: list[str] = []
    dimensions: dict[str, Dimension] = {}
    for given, described in content.items():
        try:
            name, field = searched_setting(str(given), model=model)
            if name in dimensions:
                raise SpaceInvalid(f"{name} is named twice")
            dimensions[name] = _dimension(field, described)
        except ValidationError as error:
            faults.append(f"{given}: {in_words(error)}")
        except SpaceInvalid as error:
            faults.append(f"{given}: {error}")
    if faults:
        raise SpaceInvalid("; ".join(faults))
    return SearchSpace(model=model, dimensions=dict(sorted(dimensions.items())))


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """`NAME=SPEC` arguments, SPEC in YAML such as [500, 1000] or {low: 1, high: 4}; SpaceInvalid for anything else."""
    found: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not name.strip():
            raise SpaceInvalid(f"{assignment!r} is not NAME=SPEC, such as learning_rate={{low: 1e-4, high: 1e-2}}")
        try:
            found[name.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SpaceInvalid(f"{assignment!r}: {text!r} is no YAML ({error})") from error
    return found


def default_space(config: ModelConfig, *, fixed: Sequence[str] = ()) -> SearchSpace:
    """What is searched where no space is given: the settings that matter for every model, but those in ``fixed``.

    A model that starts from the pre-trained table keeps that table's width.
    """
    content: dict[str, Any] = {
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "batch_size": [500, 1000, 2000, 4000],
        "l2": {"low": 1e-8, "high": 1e-4, "log": True},
        "embedding_size": {"low": 4, "high": 16, "step": 4},
    }
    kept = {*fixed, *(["embedding_size"] if config.needs_pretrained_table else [])}
    chosen = {name: described for name, described in content.items() if name not in kept}
    if not chosen:
        raise SpaceInvalid(f"every setting of the default space is fixed ({', '.join(content)}): name others to search")
    return read_space(chosen, model=config.name)


def require_possible(space: SearchSpace, *, training: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Raises SpaceInvalid where the settings that are not searched refuse every combination of the space's ends.

    Bounds of a setting alone are `read_space`'s; this finds a tower with the dropout rates of another depth.
    """
    why = ""
    for corner in itertools.islice(_corners(space), _MOST_CORNERS):
        own, hyper_parameters = split_settings(corner)
        try:
            TrainingSettings.model_validate({**training, **own})
            parse_model_config({**model, **hyper_parameters})
        except ValidationError as error:
            why = why or f"{corner}: {in_words(error)}"
        else:
            return
    raise SpaceInvalid(f"no combination of the search space can be trained with the other settings; such as {why}")


def split_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Training settings and hyper-parameters of the model among settings named as in a space."""
    training = {name: value for name, value in settings.items() if name in TrainingSettings.model_fields}
    return training, {name: value for name, value in settings.items() if name not in training}


def _dimension(field: FieldInfo, described: Any) -> Dimension:
    adapter = adapter_of(field)
    if isinstance(described, list):
        return Choice(values=tuple(adapter.dump_python(checked(adapter, each), mode="json") for each in described))
    if not isinstance(described, Mapping):
        raise SpaceInvalid(f"{described!r} is neither a list of values nor a range such as {{low: 1, high: 4}}")
    found = Range.model_validate(dict(described))
    kind = numeric_type(field)
    if kind is None:
        raise SpaceInvalid("it is no number, so it has no range: list its values")
    for bound in (found.low, found.high):
        checked(adapter, bound)
    if kind is int:
        if not is_whole(found.step or 1):
            raise SpaceInvalid(f"it takes whole numbers, and step is {found.step}")
        whole = {"low": int(found.low), "high": int(found.high), "step": int(found.step) if found.step else None}
        return Range.model_validate({**whole, "log": found.log})
    return Range(low=float(found.low), high=float(found.high), log=found.log, step=found.step and float(found.step))


def _corners(space: SearchSpace) -> Iterator[dict[str, Any]]:
    ends = [
        list(dimension.values) if isinstance(dimension, Choice) else [dimension.low, dimension.high]
        for dimension in space.dimensions.values()
    ]
    for values in itertools.product(*ends):
        yield dict(zip(space.dimensions, values, strict=True))
