"""Reads fields of the judged day's samples beside its predictions, as few values each; slices.py measures on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ml.evaluation.judged_rows import JudgedRows, JudgedRowsMismatch

MISSING = "(missing)"
OTHER = "(other)"


@dataclass(frozen=True)
class SampleField:
    """A field of the judged rows: `codes` int32 [n], in the order of `JudgedRows`, into `values`."""

    name: str
    values: tuple[str, ...]
    codes: NDArray[np.int32]


def read_fields(
    path: Path, *, rows: JudgedRows, names: Sequence[str], most_values: int, only_small: bool
) -> tuple[SampleField, ...]:
    """The named columns of samples.parquet, which has the predictions' rows in the same order.

    A field of more than `most_values` values (a missing value counts as one) is left out where `only_small`; otherwise
    a number becomes at most that many ranges of equal mass, and of other values the most frequent keep their name and
    the rest are "(other)". Columns of lists, and names that the file lacks, are left out where `only_small`.
    Raises JudgedRowsMismatch where the file's impressions are not the predictions', and ValueError for a column that
    cannot be a slice.
    """
    schema = pq.read_schema(path)
    fit = [name for name in names if name in schema.names and not pa.types.is_nested(schema.field(name).type)]
    if not only_small and (unfit := [name for name in names if name not in fit]):
        raise ValueError(
            f"gate.slice_fields names {', '.join(unfit)}: {path} has no such column, or one of lists; choose fields "
            "that hold one value a row"
        )
    _require_same_impressions(path, rows)
    # Column by column: a wide log's samples need not lie in memory at once.
    found = (
        _field(name, pq.read_table(path, columns=[name]).column(0), rows, most=most_values, only_small=only_small)
        for name in fit
    )
    return tuple(field for field in found if field is not None)


def read_number(path: Path, *, rows: JudgedRows, name: str) -> NDArray[np.float64]:
    """A number column of samples.parquet, float64 [n] in the order of `JudgedRows`; NaN where it is missing.

    Raises as `read_fields` does.
    """
    schema = pq.read_schema(path)
    found = schema.field(name).type if name in schema.names else None
    if found is None or not (pa.types.is_floating(found) or pa.types.is_integer(found)):
        raise ValueError(
            f"gate.value_field names {name!r}: {path} has {'no such column' if found is None else f'{found} there'}; "
            "name a field of kind number"
        )
    _require_same_impressions(path, rows)
    column = pq.read_table(path, columns=[name]).column(0)
    return column.cast(pa.float64()).to_numpy()[rows.position]


def _require_same_impressions(path: Path, rows: JudgedRows) -> None:
    ids = pq.read_table(path, columns=["impression_id"]).column(0).to_pandas()
    same = len(ids) == len(rows.impression_id) and np.array_equal(
        ids.to_numpy()[rows.position], rows.impression_id.to_numpy()
    )
    if not same:
        raise JudgedRowsMismatch(
            f"{path} has {len(ids):,} rows and the predictions {len(rows.impression_id):,}, which are not the same "
            "impressions in the same order; score these samples again"
        )


def _field(name: str, column: pa.ChunkedArray, rows: JudgedRows, *, most: int, only_small: bool) -> SampleField | None:
    encoded = column.combine_chunks().dictionary_encode(null_encoding="mask")
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    distinct = len(encoded.dictionary) + (encoded.null_count > 0)
    if distinct > most:
        if only_small:
            return None
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            return _ranges(name, column.cast(pa.float64()).to_numpy()[rows.position], most=most)
    codes = pc.fill_null(encoded.indices, -1).to_numpy()[rows.position]
    values = np.array([_text(value) for value in encoded.dictionary.to_pylist()], dtype=object)
    counts = np.bincount(codes + 1, minlength=values.size + 1)
    # By name before by number, so that the order of rows decides nothing.
    by_size = sorted(range(-1, values.size), key=lambda code: (-counts[code + 1], "" if code < 0 else values[code]))
    kept = [code for code in by_size if counts[code + 1]][: most if distinct <= most else most - 1]
    names = [MISSING if code < 0 else str(values[code]) for code in kept]
    new_codes = np.full(values.size + 1, len(kept), dtype=np.int32)
    new_codes[np.array(kept, dtype=np.int64) + 1] = np.arange(len(kept), dtype=np.int32)
    if distinct > most:
        names.append(OTHER)
    return SampleField(name=name, values=tuple(names), codes=new_codes[codes + 1])


def _ranges(name: str, values: NDArray[np.float64], *, most: int) -> SampleField:
    """Ranges of about equal mass, half-open; NaN and NULL are missing."""
    known = values[np.isfinite(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, most), method="inverted_cdf")) if known.size else known
    inner = edges[1:-1]
    names = [f"{low:g} to {high:g}" for low, high in pairwise(edges)] or [MISSING]
    codes = np.searchsorted(inner, values, side="right").astype(np.int32)
    codes[~np.isfinite(values)] = len(names)
    return SampleField(name=name, values=(*names, MISSING), codes=codes)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
