"""A slow reader of Ali-CCP's files in plain Python, one line after the other: what the fast one is held against."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml.data.fields import FieldSpec

SHOWN = {1: "␁", 2: "␂", 3: "␃"}


def parse_slowly(text: str, fields: Iterable[FieldSpec]) -> tuple[int, dict[str, list[Any]], list[str]]:
    """Items found, values by field, and what is wrong: of a text like `field␂id␃value␁…`, not ended by ␁."""
    items = text.split("\x01") if text else []
    well_formed, broken = [], []
    for raw in items:
        parts = raw.replace("\x03", "\x02").split("\x02")
        marks = [mark for mark in raw if mark in "\x00\x02\x03"]
        if marks == ["\x02", "\x03"] and all(parts):
            well_formed.append((raw, *parts))
        else:
            broken.append(raw)
    faults = [f"features={raw[:80].translate(SHOWN)}" for raw in broken[:1]]
    values: dict[str, list[Any]] = {}
    for field in fields:
        mine = [(raw, one, value) for raw, number, one, value in well_formed if number == field.source_column]
        if field.kind == "number" or field.weighted:
            faults += [f"features={raw[:80].translate(SHOWN)}" for raw, _, value in mine if not _readable(value)]
            mine = [part for part in mine if _readable(part[2])]
        if field.weighted:
            pairs = [(one, float(value)) for _, one, value in mine]
            values[field.name] = sorted(pairs, key=lambda pair: pair[1])[-field.max_length :]
        elif field.kind == "sequence":
            values[field.name] = [one for _, one, _ in mine]
        else:
            given = list(dict.fromkeys(float(value) if field.kind == "number" else one for _, one, value in mine))
            values[field.name] = given if len(given) == 1 else []
            if len(given) > 1:
                faults.append(f"{field.name}=" + "|".join(map(str, given))[:80])
    return len(items), values, faults


def land_slowly(samples: Sequence[str], commons: Sequence[str], *, fields: Sequence[FieldSpec]) -> list[dict[str, Any]]:
    """The rows of a train file, in its order: `fields`, labels, and `unparsed_columns` as a set."""
    by_index: dict[str, list[tuple[dict[str, list[Any]], list[str]]]] = {}
    for line in commons:
        index, count, text = line.split(",", maxsplit=2)
        found, values, faults = parse_slowly(text, fields)
        faults = [f"common_{fault}" if fault.startswith("features=") else fault for fault in faults]
        faults += [] if count == str(found) else [f"common_feature_count={count}, {found} found"]
        by_index.setdefault(index, []).append((values, faults))
    return [_row(line, by_index, fields) for line in samples]


def pseudo_days(numbers: Sequence[int | None], *, days: int) -> list[int]:
    """The day of each row by the order of the numbers, rows without one first; equal numbers share the first's day."""
    order = sorted(-1 if number is None else number for number in numbers)
    return [order.index(-1 if number is None else number) * days // len(order) for number in numbers]


def _row(line: str, by_index: Mapping[str, list[Any]], fields: Sequence[FieldSpec]) -> dict[str, Any]:
    number, click, bought, index, count, text = line.split(",", maxsplit=5)
    found, mine, faults = parse_slowly(text, fields)
    faults += [] if count == str(found) else [f"feature_count={count}, {found} found"]
    faults += [] if number.isdigit() else [f"sample_id={number}"]
    faults += [f"{name}={raw}" for name, raw in (("click", click), ("conversion", bought)) if raw not in ("0", "1")]
    copies = by_index.get(index, [])
    theirs: dict[str, list[Any]] = {}
    if len(copies) == 1:
        theirs, common_faults = copies[0]
        faults += common_faults
    else:
        why = "not in" if not copies else f"{len(copies)} rows of"
        faults.append(f"common_feature_index={index}, {why} common_features_train.csv")
    row: dict[str, Any] = {"impression_id": f"train-{number}" if number else None}
    for name, raw in (("click", click), ("conversion", bought)):
        row[name] = int(raw) if raw in ("0", "1") else None
    for field in fields:
        one, other = mine[field.name], theirs.get(field.name, [])
        values = one or other
        if one and other and one != other:
            faults.append(f"{field.name}={_said(field, one)}|{_said(field, other)}"[:80])
            values = []
        row |= _columns(field, values)
    return row | {"unparsed_columns": set(faults)}


def _columns(field: FieldSpec, values: list[Any]) -> dict[str, Any]:
    if field.weighted:
        ids, weights = [one for one, _ in values], [weight for _, weight in values]
        return {field.name: ids or None, field.weights_column: weights or None}
    return {field.name: (values or None) if field.kind == "sequence" else (values or [None])[0]}


def _said(field: FieldSpec, values: list[Any]) -> Any:
    return _columns(field, values)[field.name]


def _readable(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
