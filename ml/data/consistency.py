"""What the parts of a dataset spec must agree on: fields, derived fields, windows; no single setting is checked."""

from datetime import timedelta
from typing import TYPE_CHECKING

from ml.data.fields import FieldSpec
from ml.data.source_spec import AliCcp, EventStreams

if TYPE_CHECKING:
    from ml.data.dataset import DatasetSpec


def check_fields(spec: "DatasetSpec") -> None:
    """Raise ValueError unless field names are unique, both keys name fields of their side, sequences name a field."""
    names = [field.name for field in spec.fields]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"fields named twice: {', '.join(repeated)}")
    for side, key in (("user", spec.user_key), ("item", spec.item_key)):
        field = spec.field(key) if key in names else None
        if field is None or field.entity != side or field.kind not in ("id", "category"):
            raise ValueError(f"{side}_key {key!r} must name a field of entity {side} and kind id or category")
    columns = set(names)
    for field in spec.fields:
        if field.of is not None and (field.of not in names or spec.field(field.of).kind == "sequence"):
            raise ValueError(f"sequence {field.name!r} is of {field.of!r}, which is no field that holds single values")
        if field.weighted and field.weights_column in columns:
            raise ValueError(
                f"field {field.weights_column!r} has the name of the column of {field.name!r}'s weights; rename it"
            )


def check_derived_fields(spec: "DatasetSpec") -> None:
    """Raise ValueError unless every derived field rests on fields and stages that the log itself has."""
    for field in spec.derived_fields:
        if spec.labels_complete:
            raise ValueError(
                f"field {field.name!r} is derived from earlier events, which a log of kind {spec.source.kind} does not "
                "have; remove it, or give the log as event_streams"
            )
        for name in _fields_below(field):
            known = {logged.name: logged for logged in spec.logged_fields}
            if name not in known or known[name].kind == "sequence":
                raise ValueError(
                    f"field {field.name!r} is derived from {name!r}; name a field that the log itself holds, one value "
                    "a row"
                )
        mean_of = field.aggregate.mean_of if field.aggregate else None
        if mean_of is not None and spec.field(mean_of).kind != "number":
            raise ValueError(f"field {field.name!r} is the mean of {mean_of!r}, which is no number field")
        for stage in _stages_below(field):
            if stage not in spec.stages:
                raise ValueError(
                    f"field {field.name!r} needs the stage {stage!r}; this log has {', '.join(spec.stages)}"
                )


def check_field_thresholds(spec: "DatasetSpec") -> None:
    """Raise ValueError unless `validation.fields` names fields there are, and gives ranges to number fields alone."""
    known = {field.name: field for field in spec.fields}
    for name, thresholds in spec.validation.fields.items():
        if name not in known:
            raise ValueError(f"validation.fields names {name!r}, which is no field; there are {', '.join(known)}")
        if known[name].kind != "number" and (thresholds.min is not None or thresholds.max is not None):
            raise ValueError(
                f"validation.fields gives {name!r} a range, but its kind is {known[name].kind!r}; only a number has one"
            )


def check_gate_fields(spec: "DatasetSpec") -> None:
    """Raise ValueError unless the gate slices by fields of one value a row, and shows bias by a number field."""
    known = {field.name: field for field in spec.fields}
    slices = {f"gate.slice_fields[{place}]": name for place, name in enumerate(spec.gate.slice_fields or ())}
    for path, name in slices.items():
        if name not in known or known[name].kind == "sequence":
            fit = ", ".join(field.name for field in spec.fields if field.kind != "sequence")
            raise ValueError(f"{path} names {name!r}, which is no field of one value a row; there are {fit}")
    name = spec.gate.value_field
    if name is not None and (name not in known or known[name].kind != "number"):
        numbers = ", ".join(field.name for field in spec.fields if field.kind == "number")
        raise ValueError(
            f"gate.value_field names {name!r}, which is no number field; there are {numbers or 'none: leave it out'}"
        )


def check_windows(spec: "DatasetSpec") -> None:
    """Raise ValueError unless windows, days and attribution fit the kind of log."""
    window = spec.attribution.conversion_window_days
    if spec.labels_complete and window:
        raise ValueError(
            f"conversion_window_days is {window}, but the labels of a log of kind {spec.source.kind} are complete as "
            "published; set attribution.conversion_window_days to 0"
        )
    if not spec.labels_complete and not window:
        raise ValueError(
            "conversion_window_days is 0, in which no conversion can be credited; give the days from click to "
            "conversion (attribution.conversion_window_days)"
        )
    if isinstance(spec.source, AliCcp):
        length = None if spec.days.last is None else (spec.days.last - spec.days.first).days
        if length != spec.source.pseudo_days:
            raise ValueError(
                f"days cover {spec.days.first} .. {spec.days.last}, but pseudo_days is {spec.source.pseudo_days} and "
                "the test file is the day after them; set days.last to "
                f"{spec.days.first + timedelta(days=spec.source.pseudo_days)}"
            )
    tables = {}
    if isinstance(spec.source, EventStreams):
        tables = {name: getattr(spec.source, name) for name in ("conversions", "carts", "favourites")}
    inferred = [name for name, table in tables.items() if table is not None and table.refers_to == "user_item_time"]
    if spec.attribution.touch == "none" and inferred:
        raise ValueError(
            f"attribution.touch is 'none', which infers nothing, but {' and '.join(inferred)} name neither click nor "
            "impression (refers_to: user_item_time); set touch to last or first"
        )


def _fields_below(field: FieldSpec) -> list[str]:
    aggregate = field.aggregate
    named = [] if aggregate is None else [*aggregate.by, *([aggregate.mean_of] if aggregate.mean_of else [])]
    return [*named, *([field.of] if field.of else [])]


def _stages_below(field: FieldSpec) -> list[str]:
    stages: list[str] = [field.behaviour] if field.behaviour else []
    if field.aggregate is not None:
        stages += [field.aggregate.count, *([field.aggregate.per] if field.aggregate.per else [])]
    return stages
