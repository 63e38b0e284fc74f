"""Schema rules on the dataset's own fields: numbers, texts, weights and missing values; labels are judged elsewhere."""

import math
from collections.abc import Callable

from data_checks.expectations import between
from data_checks.families.day_rule import Bound, on_day
from data_checks.rules import IS_IMPRESSION, NULL_CELL, WHERE_FROM, Quantity, Rule
from ml.data.dataset import DatasetSpec
from ml.data.engine import identifier

Columns = Callable[[DatasetSpec], tuple[str, ...]]
CellFault = Callable[[DatasetSpec, str, str], bool]


def _numbers(spec: DatasetSpec) -> tuple[str, ...]:
    return tuple(field.name for field in spec.fields if field.kind == "number")


def _texts(spec: DatasetSpec) -> tuple[str, ...]:
    return tuple(field.name for field in spec.fields if field.kind in ("id", "category"))


def _ranged(spec: DatasetSpec) -> tuple[str, ...]:
    return tuple(
        name
        for name, thresholds in spec.validation.fields.items()
        if thresholds.min is not None or thresholds.max is not None
    )


def _weighted(spec: DatasetSpec) -> tuple[str, ...]:
    return tuple(field.name for field in spec.fields if field.weighted)


def _finite_fault(spec: DatasetSpec) -> list[str]:
    return [f"NOT isfinite({identifier(name)})" for name in _numbers(spec)]


def _range_fault(spec: DatasetSpec) -> list[str]:
    faults = []
    for name in _ranged(spec):
        thresholds, column = spec.validation.fields[name], identifier(name)
        # A number that is not finite lies in no range; it has a rule of its own.
        below = [f"{column} < {thresholds.min!r}"] if thresholds.min is not None else []
        above = [f"{column} > {thresholds.max!r}"] if thresholds.max is not None else []
        faults.append(f"(isfinite({column}) AND ({' OR '.join(below + above)}))")
    return faults


def _text_fault(spec: DatasetSpec) -> list[str]:
    # Line breaks come from a quote that is not closed or from Windows' line ends read as text, NULs from a file of
    # another encoding. Other control characters are rare, and looking for them costs as much as all other rules.
    signs = ("chr(10)", "chr(13)", "chr(0)")
    return [
        f"(strlen({column}) > $max_text_length OR {' OR '.join(f'contains({column}, {sign})' for sign in signs)})"
        for column in map(identifier, _texts(spec))
    ]


def _weights_fault(spec: DatasetSpec) -> list[str]:
    faults = []
    for field in (field for field in spec.fields if field.weighted):
        values, weights = identifier(field.name), identifier(field.weights_column)
        bad = f"list_count(list_filter({weights}, lambda weight: isfinite(weight))) < len({weights})"
        faults.append(f"(len({values}) IS DISTINCT FROM len({weights}) OR {bad})")
    return faults


def _cell_not_finite(spec: DatasetSpec, column: str, cell: str) -> bool:
    return cell != NULL_CELL and not math.isfinite(float(cell))


def _cell_out_of_range(spec: DatasetSpec, column: str, cell: str) -> bool:
    thresholds = spec.validation.fields[column]
    number = math.nan if cell == NULL_CELL else float(cell)
    return number < (-math.inf if thresholds.min is None else thresholds.min) or number > (
        math.inf if thresholds.max is None else thresholds.max
    )


def _cell_malformed(spec: DatasetSpec, column: str, cell: str) -> bool:
    # A cell that is too long to be shown whole ends in an ellipsis.
    return any(sign in cell for sign in "\n\r\0") or cell.endswith("…") or _too_long(spec, cell)


def _too_long(spec: DatasetSpec, text: str) -> bool:
    return len(text.encode()) > spec.validation.max_text_length


def _of_fields(
    name: str,
    *,
    description: str,
    faults: Callable[[DatasetSpec], list[str]],
    columns: Columns,
    none: str,
    at_fault: CellFault = lambda spec, column, cell: True,
) -> Rule:
    """A rule that holds a fault against each of some fields; its quantity is how many of them have it."""

    def counted(spec: DatasetSpec) -> str:
        listed = " + ".join(f"coalesce({fault}, FALSE)::BIGINT" for fault in faults(spec))
        return f"CASE WHEN {IS_IMPRESSION} THEN {listed} END" if listed else "NULL::BIGINT"

    def any_fault(spec: DatasetSpec) -> str:
        listed = " OR ".join(faults(spec))
        return f"{IS_IMPRESSION} AND ({listed})" if listed else "FALSE"

    return Rule(
        id=f"schema.{name}",
        effect="quarantine",
        description=description,
        mask_sql=any_fault,
        quantity=Quantity(name=f"fields_{name}", sql=counted),
        expectation=between(f"fields_{name}", low=0, high=0),
        unjudged="no impressions",
        sample_columns=lambda spec: ("impression_id", *columns(spec), *WHERE_FROM),
        offending=columns,
        at_fault=at_fault,
        not_applicable=lambda spec: "" if columns(spec) else none,
    )


RULES = (
    _of_fields(
        "number_not_finite",
        description="a number field is NaN or infinite",
        faults=_finite_fault,
        columns=_numbers,
        at_fault=_cell_not_finite,
        none="the dataset has no number fields",
    ),
    _of_fields(
        "number_out_of_range",
        description="a number field lies outside the range that the dataset spec gives it",
        faults=_range_fault,
        columns=_ranged,
        at_fault=_cell_out_of_range,
        none="no field has a range (validation.fields)",
    ),
    _of_fields(
        "text_malformed",
        description="an id or category is longer than max_text_length, or holds a line break or a NUL",
        faults=_text_fault,
        columns=_texts,
        at_fault=_cell_malformed,
        none="the dataset has no id or category fields",
    ),
    _of_fields(
        "weights_mismatch",
        description="a weighted sequence has not one finite weight a value",
        faults=_weights_fault,
        columns=_weighted,
        none="the dataset has no weighted sequences",
    ),
    on_day(
        "schema.field_lost",
        effect="refuse",
        description="a field misses far more values than it may, or than on the trailing days",
        measure="null_share",
        high=Bound(),
        evidence=("field", "null_share"),
    ),
)
