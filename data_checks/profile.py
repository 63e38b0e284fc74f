"""The profile of a day: how often its admitted rows hold each value of each field, small enough to keep; no verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_checks.day_sample import DaySample
from ml.data.dataset import DatasetSpec, FieldSpec

PROFILE_FILE = "profile.parquet"
#: Days of another format cannot be compared with.
_FORMAT = b"1"
_FORMAT_KEY = b"postclick.profile"
#: Ids of a field that are kept by themselves; a hundred thousand tell a share of new ids to a third of a percent.
MAX_VALUES = 100_000
#: Buckets that values are hashed into: enough that a tenth of all rows moving shows, few enough for a thousand rows.
HASH_BUCKETS = 32
#: Numbers are kept to 1 %: the bins of a DDSketch (Masson, Rim, Lee 2019), whose counts of two days just add up.
_GROWTH = 1.02
_GRID_ZERO = 40_000
#: A hash that no version of DuckDB changes, unlike its own, so that the ids kept on two days are the same ids.
_HASHED = """
    SELECT field, value, value IS NOT NULL AS known, coalesce((md5_number_lower(value) >> 1)::BIGINT, 0) AS key,
        rows::BIGINT AS rows
    FROM counted WHERE rows > 0
"""
_COUNTED = pa.schema({"field": pa.string(), "value": pa.string(), "rows": pa.int64()})
_SCHEMA = pa.schema(
    {
        "field": pa.string(),
        # value: one value; rest: all values of a bucket that are not kept; missing; number: one bin of the grid.
        "part": pa.string(),
        "value": pa.string(),
        # value: a hash of it; rest: the bucket; number: the bin, rising with the number.
        "key": pa.int64(),
        "rows": pa.int64(),
        # Every step-th id is kept, by its hash; 1 where all are.
        "step": pa.int64(),
    }
)


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldProfile:
    """One field on one day. `keys` (int64, distinct) and `rows` (int64) of its kept values, or of its numbers' bins;
    `rest` (int64, HASH_BUCKETS) counts the rows of values that are not kept."""

    number: bool
    keys: np.ndarray
    rows: np.ndarray
    rest: np.ndarray
    missing: int
    step: int

    @property
    def total(self) -> int:
        """All rows that were counted."""
        return int(self.rows.sum() + self.rest.sum()) + self.missing

    @property
    def missing_share(self) -> float:
        """Share of rows without a value; 0 of no rows."""
        return self.missing / self.total if self.total else 0.0


def write_profile(connection: duckdb.DuckDBPyConnection, *, sample: DaySample, spec: DatasetSpec, out: Path) -> None:
    """Count every field of the sampled rows into `out` (Parquet; columns and parts as in this file).

    Numbers are counted by bins; ids, categories and sequences (by their newest value) by value, of which a field with
    more than MAX_VALUES keeps those whose hash is a multiple of `step`. The same sample gives the same bytes.
    """
    counted = [_counted(sample, field) for field in spec.fields if field.kind != "number"]
    hashed = connection.register("counted", pa.concat_tables([_COUNTED.empty_table(), *counted])).sql(_HASHED)
    texts = hashed.to_arrow_table()
    of_field = texts["field"].to_numpy()
    parts = [_SCHEMA.empty_table()]
    for field in spec.fields:
        if field.kind == "number":
            parts.append(_number_part(sample, field))
        else:
            parts.append(_text_part(field, texts.take(pa.array(np.flatnonzero(of_field == field.name)))))
    table = pa.concat_tables(parts).replace_schema_metadata({_FORMAT_KEY: _FORMAT})
    pq.write_table(table, out, compression="zstd")


def read_profile(path: Path) -> Mapping[str, FieldProfile]:
    """The fields of a stored profile by name; none where it was written in another format."""
    schema = pq.read_schema(path)
    if (schema.metadata or {}).get(_FORMAT_KEY) != _FORMAT:
        return {}
    table = pq.read_table(path, columns=["field", "part", "key", "rows", "step"], read_dictionary=["field", "part"])
    fields, parts = (table[name].combine_chunks() for name in ("field", "part"))
    numbers = [table[name].to_numpy() for name in ("key", "rows", "step")]
    # The rows of a field lie together.
    place = fields.indices.to_numpy()
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    names, part_names = fields.dictionary.to_pylist(), parts.dictionary.to_pylist()
    found = {}
    for start, end in zip(starts, np.append(starts, len(place))[1:], strict=True):
        is_part = {name: parts.indices.to_numpy()[start:end] == code for code, name in enumerate(part_names)}
        found[names[place[start]]] = _field_profile(is_part, *(column[start:end] for column in numbers))
    return found


def values_of(path: Path, field: str) -> dict[int, str]:
    """The kept values of a field by their key, for showing them."""
    table = pq.read_table(path, columns=["key", "value"], filters=[("field", "=", field), ("part", "=", "value")])
    return dict(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True))


def number_at(key: int) -> float:
    """The number that a bin of the grid stands for."""
    return 0.0 if key == 0 else float(np.sign(key) * _GROWTH ** (abs(key) - _GRID_ZERO))


def _number_part(sample: DaySample, field: FieldSpec) -> pa.Table:
    numbers = sample.numbers(field.name)[sample.in_profile]
    known = numbers[np.isfinite(numbers)]
    magnitude = np.abs(known)
    bins = np.rint(np.log(np.where(magnitude > 0, magnitude, 1.0)) / np.log(_GROWTH)) + _GRID_ZERO
    keys, rows = np.unique(np.where(magnitude > 0, np.sign(known) * bins, 0).astype(np.int64), return_counts=True)
    return _table(field.name, "number", None, keys, rows, 1, missing=len(numbers) - len(known))


def _counted(sample: DaySample, field: FieldSpec) -> pa.Table:
    """The distinct values of a field (None where missing) with their rows."""
    counted = sample.id_counts(field.name)
    if counted is None:
        values, codes = sample.texts(field.name)
        rows = np.bincount(codes[sample.in_profile] + 1, minlength=len(values) + 1)
        counted = pa.table(
            {"value": pa.concat_arrays([pa.nulls(1, pa.string()), values.cast(pa.string())]), "rows": pa.array(rows)}
        )
    return counted.add_column(0, "field", pa.repeat(field.name, len(counted))).cast(_COUNTED)


def _text_part(field: FieldSpec, hashed: pa.Table) -> pa.Table:
    key, rows, known = (hashed[name].to_numpy() for name in ("key", "rows", "known"))
    missing, place = int(rows[~known].sum()), np.flatnonzero(known)
    # Groups come in any order.
    place = place[np.argsort(key[place], kind="stable")]
    key, rows = key[place], rows[place]
    step = 1
    while len(key) > MAX_VALUES * step:
        step *= 2
    kept = (key >> 8) % step == 0
    rest = np.bincount((key % HASH_BUCKETS)[~kept], weights=rows[~kept], minlength=HASH_BUCKETS).astype(np.int64)
    values = hashed["value"].take(pa.array(place[kept])).combine_chunks()
    part = _table(field.name, "value", values, key[kept], rows[kept], step, missing=missing)
    buckets = np.flatnonzero(rest)
    return pa.concat_tables([part, _rows(field.name, "rest", None, buckets, rest[buckets], step)])


def _table(
    field: str, part: str, values: pa.Array | None, keys: np.ndarray, rows: np.ndarray, step: int, *, missing: int
) -> pa.Table:
    counted = _rows(field, part, values, keys, rows, step)
    if not missing:
        return counted
    return pa.concat_tables([counted, _rows(field, "missing", None, np.zeros(1, np.int64), np.array([missing]), step)])


def _rows(field: str, part: str, values: pa.Array | None, keys: np.ndarray, rows: np.ndarray, step: int) -> pa.Table:
    length = len(keys)
    columns = [
        pa.repeat(field, length),
        pa.repeat(part, length),
        pa.nulls(length, pa.string()) if values is None else values,
        pa.array(keys, pa.int64()),
        pa.array(rows, pa.int64()),
        pa.array(np.full(length, step), pa.int64()),
    ]
    return pa.table(columns, schema=_SCHEMA)


def _field_profile(
    is_part: Mapping[str, np.ndarray], key: np.ndarray, rows: np.ndarray, steps: np.ndarray
) -> FieldProfile:
    none = np.zeros(len(key), dtype=bool)
    value, number, rest, missing = (is_part.get(part, none) for part in ("value", "number", "rest", "missing"))
    kept = value | number
    return FieldProfile(
        number=bool(number.any()),
        keys=key[kept],
        rows=rows[kept],
        rest=np.bincount(key[rest], weights=rows[rest], minlength=HASH_BUCKETS).astype(np.int64),
        missing=int(rows[missing].sum()),
        step=int(steps[0]),
    )
