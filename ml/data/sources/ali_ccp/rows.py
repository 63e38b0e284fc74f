"""Makes landed impressions of samples and the common features they name; it reads no file and writes none."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml.data.dataset import DatasetSpec
from ml.data.fields import FieldSpec
from ml.data.sources.ali_ccp.common import FAULTS, CommonFeatures
from ml.data.sources.ali_ccp.features import FeatureParser, FieldValues
from ml.data.sources.ali_ccp.items import SHOWN_CHARACTERS, runs

#: What `unit_key` may name beside the number of a field.
COMMON_INDEX = "common_feature_index"
_TEXT = pa.string()
#: Values of common features repeat in a file as often as samples name them; they are kept once and numbered.
_NUMBERED_TEXT = pa.dictionary(pa.int32(), pa.string())
_FAULT_TEXTS = pa.list_(pa.string())
_ABSENT = {
    "click_time": pa.timestamp("us"),
    "conversion_time": pa.timestamp("us"),
    "value": pa.float64(),
    "order_id": pa.string(),
}
_PARSED = ("feature_count", "declared", "features")
Rows = NDArray[np.int64]


def common_values(parser: FeatureParser, batch: pa.RecordBatch) -> Mapping[str, FieldValues]:
    """The common features of a batch that `ali_ccp_common.sql` gave, by field; what is wrong with them as FAULTS."""
    parsed = parser.parse(batch["features"])
    _check_counts(batch, parsed.found, parsed.faults)
    if not parsed.faults:
        return parsed.fields
    faults = [[_of_common(text) for text in parsed.faults.get(row, ())] for row in range(batch.num_rows)]
    texts = pa.array([text for row in faults for text in row], pa.string())
    return dict(parsed.fields) | {FAULTS: FieldValues(np.array([len(row) for row in faults]), texts, None)}


def parsed_samples(parser: FeatureParser, fields: Sequence[FieldSpec], batch: pa.RecordBatch) -> pa.Table:
    """The samples of a batch that `ali_ccp_skeleton.sql` gave, their features as columns of `fields`."""
    parsed = parser.parse(batch["features"])
    _check_counts(batch, parsed.found, parsed.faults)
    columns = {name: batch[name] for name in batch.schema.names if name not in _PARSED}
    if parsed.faults:
        before = batch[FAULTS].to_pylist()
        columns[FAULTS] = pa.array(
            [texts + parsed.faults.get(row, []) for row, texts in enumerate(before)], _FAULT_TEXTS
        )
    for field in fields:
        columns |= _columns(field, parsed.fields.get(field.name), batch.num_rows, text=_TEXT)
    return pa.table(columns)


def landed_rows(samples: pa.Table, *, common: CommonFeatures, spec: DatasetSpec, source_file: str) -> pa.Table:
    """The landed impressions of parsed samples: each with what its common features say of it.

    A field belongs to one side of a sample. Where both sides have values of it that differ, the row holds none of them
    and says so.
    """
    samples = samples.combine_chunks()
    lines = samples["_common_line"].combine_chunks()
    known = lines.is_valid().to_numpy(zero_copy_only=False)
    distinct, place = np.unique(lines.drop_null().to_numpy(), return_inverse=True)
    given = np.full(samples.num_rows, -1)
    given[known] = place
    shared = common.fetch(distinct) if len(distinct) else {}
    faults = _Faults(samples[FAULTS].combine_chunks())
    faults.add_common(shared.get(FAULTS), given)
    values: dict[str, pa.Array] = {}
    for field in spec.fields:
        own = {name: samples[name].combine_chunks() for name in _names(field)}
        if common.holds(field.name):
            theirs = _spread(shared.get(field.name), given)
            other = _columns(field, theirs, samples.num_rows, text=_NUMBERED_TEXT)
            own = _merged(field, own, other, faults) if any(map(_has_values, own.values())) else other
        values |= own
    columns = {name: samples[name] for name in ("impression_id", "impression_time", "click", "conversion")}
    columns |= {name: pa.nulls(samples.num_rows, kind) for name, kind in _ABSENT.items()}
    columns |= {"user_key": values[spec.user_key], "item_key": values[spec.item_key]}
    columns |= {"unit_key": _unit_key(spec, values, samples), **values, "unparsed_columns": faults.column()}
    columns |= {"source_file": pa.repeat(pa.scalar(source_file), samples.num_rows)}
    return pa.table(columns | {name: samples[name] for name in ("source_row", "source_line")})


class _Faults:
    """What is wrong with each row of a table, as texts `column=raw`."""

    def __init__(self, column: pa.ListArray) -> None:
        self._column = column
        self._rows: list[list[str]] | None = column.to_pylist() if _has_values(column) else None

    def add(self, row: int, text: str) -> None:
        if self._rows is None:
            self._rows = [[] for _ in range(len(self._column))]
        self._rows[row].append(text)

    def add_common(self, values: FieldValues | None, given: Rows) -> None:
        """Each row gets what is wrong with its common features; `given` is their place in `values`, -1 for none."""
        if values is None or values.ids is None:
            return
        texts, ends = values.ids.to_pylist(), np.cumsum(values.lengths)
        for row in np.flatnonzero((given >= 0) & (values.lengths[given] > 0)):
            end = ends[given[row]]
            for text in texts[end - values.lengths[given[row]] : end]:
                self.add(int(row), text)

    def column(self) -> pa.Array:
        return self._column if self._rows is None else pa.array(self._rows, _FAULT_TEXTS)


def _check_counts(batch: pa.RecordBatch, found: Rows, faults: dict[int, list[str]]) -> None:
    declared = batch["declared"].fill_null(-1).to_numpy()
    for row in np.flatnonzero(declared != found):
        raw = batch["feature_count"][int(row)].as_py() or ""
        faults.setdefault(int(row), []).insert(0, f"feature_count={raw}, {found[row]} found")


def _of_common(text: str) -> str:
    return f"common_{text}" if text.startswith(("feature_count=", "features=")) else text


def _names(field: FieldSpec) -> tuple[str, ...]:
    return (field.name, field.weights_column) if field.weighted else (field.name,)


def _types(field: FieldSpec, text: pa.DataType) -> tuple[pa.DataType, ...]:
    if field.kind == "sequence":
        return pa.list_(text), pa.list_(pa.float64())
    return (pa.float64() if field.kind == "number" else text,)


def _columns(field: FieldSpec, values: FieldValues | None, rows: int, *, text: pa.DataType) -> dict[str, pa.Array]:
    """The landed columns of a field in a table of `rows`; NULL where a row has no value."""
    types = dict(zip(_names(field), _types(field, text), strict=False))
    if values is None:
        return {name: pa.nulls(rows, kind) for name, kind in types.items()}
    absent = values.lengths == 0
    flat = [pa.array(array) for array in (values.ids, values.numbers) if array is not None]
    if field.kind == "sequence":
        ends = pa.array(np.concatenate([[0], np.cumsum(values.lengths)]), pa.int32())
        arrays = [pa.ListArray.from_arrays(ends, array, mask=pa.array(absent)) for array in flat]
    elif absent.any():
        place = pa.array(np.cumsum(values.lengths) - 1, mask=absent)
        arrays = [array.take(place) for array in flat]
    else:
        arrays = flat
    return dict(zip(types, arrays, strict=True))


def _spread(values: FieldValues | None, rows: Rows) -> FieldValues | None:
    """What rows take of `values`: `rows` says which of its rows each takes, -1 for none. Ids become numbered texts."""
    if values is None:
        return None
    lengths = np.where(rows >= 0, values.lengths[rows], 0)
    places = runs((np.cumsum(values.lengths) - values.lengths)[rows], lengths)
    ids = None if values.ids is None else values.ids.cast(pa.string()).dictionary_encode().take(pa.array(places))
    return FieldValues(lengths, ids, None if values.numbers is None else values.numbers[places])


def _has_values(column: pa.Array) -> bool:
    return len(column.flatten()) > 0 if pa.types.is_list(column.type) else column.null_count < len(column)


def _merged(
    field: FieldSpec, own: Mapping[str, pa.Array], other: Mapping[str, pa.Array], faults: _Faults
) -> dict[str, pa.Array]:
    """The columns of a field that samples and their common features both have; published files hold no such field."""
    rows: list[tuple[Any, ...]] = []
    sides = [zip(*(column.to_pylist() for column in side.values()), strict=True) for side in (own, other)]
    for row, (mine, theirs) in enumerate(zip(*sides, strict=True)):
        contradict = mine[0] is not None and theirs[0] is not None and mine != theirs
        if contradict:
            faults.add(row, f"{field.name}={mine[0]}|{theirs[0]}"[:SHOWN_CHARACTERS])
        rows.append((None,) * len(mine) if contradict else theirs if mine[0] is None else mine)
    columns = zip(*rows, strict=True)
    return {name: pa.array(column, other[name].type) for name, column in zip(own, columns, strict=True)}


def _unit_key(spec: DatasetSpec, values: Mapping[str, pa.Array], samples: pa.Table) -> Any:
    if spec.unit_key is None:
        return values[spec.user_key]
    if spec.unit_key == COMMON_INDEX:
        return samples["unit_key"]
    return next(values[field.name] for field in spec.fields if field.source_column == spec.unit_key)
