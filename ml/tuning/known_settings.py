"""The settings that a model and its training have, and values held against one of them; ranges are `search_space`'s."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ml.models.configs.catalog import config_classes
from ml.training.settings import TrainingSettings

MODEL_PREFIX = "model."
_COUNTED = "min_count"

#: Settings that a search on validation rows cannot judge, and why.
NOT_SEARCHED: Mapping[str, str] = types.MappingProxyType(
    {
        "seed": "the best of several seeds is luck; give it with --set",
        "validation_share": "trials would be judged on different rows; give it with --set",
        _COUNTED: "rare ids are counted when the vocabulary is made, with the CTR pre-training",
        "calibration": "it is fitted on the validation rows after training, and moves no objective",
        "calibration_field": "it is fitted on the validation rows after training, and moves no objective",
    }
)


class SpaceInvalid(ValueError):
    """A search space that cannot be searched: which setting is wrong, and what there is."""


def read_fixed(values: Mapping[str, Any], *, model: str) -> dict[str, JsonValue]:
    """Settings that all trials share, by name, each held against its own type and bounds.

    Raises SpaceInvalid naming each that is unknown or wrong; what they must agree on is `require_possible`'s.
    """
    faults: list[str] = []
    fixed: dict[str, JsonValue] = {}
    known = _known(model)
    for given, value in values.items():
        name = given.removeprefix(MODEL_PREFIX)
        try:
            if name not in known or name == _COUNTED:
                raise SpaceInvalid(_unknown(model, set(known) - {_COUNTED}))
            adapter = adapter_of(known[name])
            fixed[name] = adapter.dump_python(checked(adapter, value), mode="json")
        except SpaceInvalid as error:
            faults.append(f"{given}: {error}")
    if faults:
        raise SpaceInvalid("; ".join(faults))
    return fixed


def searched_setting(given: str, *, model: str) -> tuple[str, FieldInfo]:
    """A setting by its name, `model.NAME` or NAME; SpaceInvalid where there is none, or where it is not searched."""
    name = given.removeprefix(MODEL_PREFIX)
    known = _known(model)
    if given.startswith(MODEL_PREFIX):
        known = {each: field for each, field in known.items() if each not in TrainingSettings.model_fields}
    if name not in known:
        raise SpaceInvalid(_unknown(model, set(known) - set(NOT_SEARCHED)))
    if name in NOT_SEARCHED:
        raise SpaceInvalid(f"it is not searched: {NOT_SEARCHED[name]}")
    return name, known[name]


def _known(model: str) -> dict[str, FieldInfo]:
    of_model = {name: field for name, field in config_classes()[model].model_fields.items() if name != "name"}
    return {**of_model, **TrainingSettings.model_fields}


def _unknown(model: str, there_are: set[str]) -> str:
    return f"model {model} and its training have no such setting; there are {', '.join(sorted(there_are))}"


def checked(adapter: TypeAdapter[Any], value: Any) -> Any:
    """The value in the setting's own type; SpaceInvalid where it is none."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise SpaceInvalid(f"{value!r}: {in_words(error)}") from error


def adapter_of(field: FieldInfo) -> TypeAdapter[Any]:
    """Of the one field's type and bounds; what several fields must agree on is not in it."""
    annotation: Any = field.annotation
    for bound in field.metadata:
        annotation = Annotated[annotation, bound]
    return TypeAdapter(annotation)


def numeric_type(field: FieldInfo) -> type[int] | type[float] | None:
    """What kind of number the setting is; None where it is none."""
    annotation: Any = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next((each for each in get_args(annotation) if each is not type(None)), None)
    return annotation if annotation in (int, float) else None


def in_words(error: ValidationError) -> str:
    """Each fault with the field it is of."""
    return "; ".join(
        ".".join(str(part) for part in fault["loc"] if part not in ("Range", "Choice"))
        + (": " if fault["loc"] else "")
        + fault["msg"].removeprefix("Value error, ")
        for fault in error.errors(include_url=False)
    )
