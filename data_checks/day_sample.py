"""Rows of a day's admitted impressions, chosen by their place, for profiles and leaks; it judges nothing."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from ml.data.dataset import DatasetSpec, FieldSpec

Label = Literal["click", "conversion"]
LABELS: tuple[Label, ...] = ("click", "conversion")
#: Chance alone then moves a PSI of 32 buckets by .0002, and a missing share by .1 %.
PROFILE_ROWS = 200_000
#: Of the rows with a label, and of those without: an AUC near .99 is then known to a thousandth.
LABEL_ROWS = 100_000
#: Counts of the same ids in every row group would otherwise pile up to the length of the day.
_LONGEST_COUNTS = 2_000_000


class DaySample:
    """Takes the admitted rows of a day, one table after the other in their order, and keeps what is needed of them.

    A row is chosen by a hash of its place, so that the same day gives the same sample; of a day of up to 200,000 rows
    all are kept. Ids are counted over all rows where rows are left out: which ids a day has cannot be told from some.
    """

    def __init__(self, *, spec: DatasetSpec, impressions: int, clicks: int, conversions: int) -> None:
        self._fields = spec.fields
        self._profile_step = _step(impressions, PROFILE_ROWS)
        self._label_steps = {
            label: (_step(impressions - with_label, LABEL_ROWS), _step(with_label, LABEL_ROWS))
            for label, with_label in (("click", clicks), ("conversion", conversions))
        }
        self._rows = 0
        self._columns: dict[str, list[pa.Array]] = {field.name: [] for field in spec.fields}
        self._texts: dict[str, tuple[pa.Array, np.ndarray]] = {}
        self._in_profile: list[np.ndarray] = []
        self._halves: list[np.ndarray] = []
        self._labelled: dict[Label, list[np.ndarray]] = {label: [] for label in LABELS}
        self._id_counts: dict[str, list[pa.Table]] = {field.name: [] for field in spec.fields if field.kind == "id"}

    def add(self, table: pa.Table) -> None:
        """Take the next rows: the fields' columns (texts as text or Arrow dictionaries), click and conversion."""
        hashed = _splitmix64(np.arange(self._rows, self._rows + len(table), dtype=np.uint64))
        self._rows += len(table)
        in_profile = hashed % np.uint64(self._profile_step) == 0
        kept = in_profile.copy()
        labelled = {}
        for label in LABELS:
            positive = _is_one(table[label])
            steps = np.asarray(self._label_steps[label], dtype=np.uint64)[positive.astype(np.intp)]
            chosen = hashed % steps == 0
            labelled[label] = np.where(chosen, positive.astype(np.int8), np.int8(-1))
            kept |= chosen
        places = np.flatnonzero(kept)
        rows = table if len(places) == len(table) else table.take(pa.array(places))
        for field in self._fields:
            self._columns[field.name].append(_single_values(rows[field.name], field))
        self._in_profile.append(in_profile[places])
        self._halves.append(((hashed[places] >> np.uint64(40)) & np.uint64(1)).astype(bool))
        for label in LABELS:
            self._labelled[label].append(labelled[label][places])
        if self._profile_step > 1:
            for name, counts in self._id_counts.items():
                counts.append(_value_counts(table[name]))
                if sum(map(len, counts)) > _LONGEST_COUNTS:
                    counts[:] = [_added_up(counts)]

    @property
    def rows(self) -> int:
        """All rows taken, kept or not."""
        return self._rows

    @property
    def in_profile(self) -> np.ndarray:
        """Which kept rows stand for the day, bool."""
        return _joined(self._in_profile, bool)

    @property
    def first_half(self) -> np.ndarray:
        """Which kept rows are in the half that an encoding is fitted on, bool."""
        return _joined(self._halves, bool)

    def labels(self, label: Label) -> np.ndarray:
        """Of each kept row 1 or 0, or −1 where it is no part of this label's sample, int8."""
        return _joined(self._labelled[label], np.int8)

    def texts(self, name: str) -> tuple[pa.Array, np.ndarray]:
        """Of an id, category or sequence (its newest value): the distinct values, and each kept row's place among them
        (int32, −1 where there is none)."""
        if name not in self._texts:
            self._texts[name] = _encoded(self._columns[name])
        return self._texts[name]

    def numbers(self, name: str) -> np.ndarray:
        """A number field of each kept row, float64, NaN where there is none."""
        chunks = [chunk.to_numpy(zero_copy_only=False).astype(np.float64) for chunk in self._columns[name]]
        return _joined(chunks, np.float64)

    def id_counts(self, name: str) -> pa.Table | None:
        """The distinct values (`value`, None where missing) of an id field over all rows, with their `rows`; None where
        every row is kept, so that they can be counted from those."""
        counts = self._id_counts.get(name)
        return _added_up(counts) if counts else None


def _encoded(chunks: Sequence[pa.Array]) -> tuple[pa.Array, np.ndarray]:
    if not chunks:
        return pa.array([], pa.string()), np.empty(0, np.int32)
    encoded = [chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode() for chunk in chunks]
    together = pa.chunked_array(encoded).unify_dictionaries().combine_chunks()
    return together.dictionary, together.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)


def _step(rows: int, at_most: int) -> int:
    return max(1, -(-rows // at_most))


def _single_values(column: pa.ChunkedArray, field: FieldSpec) -> pa.Array:
    values = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return _newest(values) if field.kind == "sequence" else values


def _newest(lists: pa.ListArray) -> pa.Array:
    ends = lists.offsets.to_numpy()[1:]
    empty = lists.is_null().to_numpy(zero_copy_only=False) | (np.diff(lists.offsets.to_numpy()) == 0)
    places = pa.array(ends - 1, mask=empty)
    return lists.values.take(places)


def _is_one(column: pa.ChunkedArray) -> np.ndarray:
    values = column.combine_chunks().fill_null(0) if column.num_chunks != 1 else column.chunk(0).fill_null(0)
    return values.to_numpy(zero_copy_only=False) == 1


def _value_counts(column: pa.ChunkedArray) -> pa.Table:
    counted = column.combine_chunks().value_counts()
    values = counted.field("values")
    if pa.types.is_dictionary(values.type):
        values = values.dictionary.take(values.indices)
    return pa.table({"value": values.cast(pa.string()), "rows": counted.field("counts")})


def _added_up(counts: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(counts).group_by("value").aggregate([("rows", "sum")]).rename_columns(["value", "rows"])


def _joined(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _splitmix64(places: np.ndarray) -> np.ndarray:
    """A well-mixed 64-bit hash (Steele, Lea, Flood 2014), the same on every machine and version."""
    mixed = places + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
