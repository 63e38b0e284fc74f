"""Row ids of a samples column's values, and lists as padded matrices with their weights; files are encoding's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml.data.encoded_day import EncodingMismatch
from ml.data.layout import OUT_OF_VOCABULARY, PADDING, SequenceColumn
from ml.data.vocabulary import Vocabulary, is_string_list

_SEQUENCE_CELLS = 1 << 22
LARGEST_WEIGHT = 1e30
"""A thousand weights of this size still add up to a float32."""

Ids = npt.NDArray[np.int32]
Weights = npt.NDArray[np.float32]


def row_ids(column: pa.ChunkedArray, field: str, vocabulary: Vocabulary) -> Ids:
    """Global row ids int32 [n] of the values of ``field``, whatever column of the samples they come from."""
    rows = vocabulary.layout.row_range(field)
    local = (
        _buckets(column, vocabulary.edges[rows.name])
        if rows.kind == "number"
        else _lookup(column, rows.name, vocabulary)
    )
    return local + np.int32(rows.offset)


def padded_ids(lists: pa.ChunkedArray, sequence: SequenceColumn, vocabulary: Vocabulary) -> Iterator[tuple[int, Ids]]:
    """Pieces (first row, int32 [m, max_length]) of the lists: the newest values at the right, padding at the left.

    Raises ``EncodingMismatch`` if the column holds no lists of strings.
    """
    if not is_string_list(lists.type):
        raise EncodingMismatch(
            f"sequence {sequence.name!r} is {lists.type} in the samples, expected a list of strings: join the day again"
        )
    for low, piece in _pieces(lists, sequence.max_length):
        places, inside = _places(_lengths(piece), sequence.max_length)
        flat = row_ids(pc.list_flatten(piece), sequence.name, vocabulary)  # pyright: ignore[reportAttributeAccessIssue]
        yield low, _gathered(flat, places, inside, np.int32(PADDING))


def padded_weights(
    weights: pa.ChunkedArray, lists: pa.ChunkedArray, sequence: SequenceColumn
) -> Iterator[tuple[int, Weights]]:
    """Pieces (first row, float32 [m, max_length]) of the weights, in the places of ``padded_ids``; 0 where padded.

    A weight that is missing, negative or not finite is 0: such a value does not count. One above 1e30 is that.
    Raises ``EncodingMismatch`` unless the column holds lists of numbers, as many as there are values in each row.
    """
    if not (pa.types.is_list(weights.type) or pa.types.is_large_list(weights.type)):
        raise EncodingMismatch(
            f"the weights of sequence {sequence.name!r} are {weights.type} in the samples, expected a list of numbers: "
            "join the day again"
        )
    for low, piece in _pieces(weights, sequence.max_length):
        lengths = _lengths(piece)
        uneven = np.flatnonzero(lengths != _lengths(lists.slice(low, len(piece))))
        if len(uneven):
            raise EncodingMismatch(
                f"sequence {sequence.name!r} has another number of weights than of values in {len(uneven)} of "
                f"{len(lengths)} rows: land and join the day again, each value with its weight"
            )
        places, inside = _places(lengths, sequence.max_length)
        flat = pc.fill_null(pc.list_flatten(piece).cast(pa.float64()), 0.0).to_numpy()  # pyright: ignore[reportAttributeAccessIssue]
        counts = np.isfinite(flat) & (flat > 0)
        kept = np.where(counts, np.minimum(flat, LARGEST_WEIGHT), 0.0).astype(np.float32)
        yield low, _gathered(kept, places, inside, np.float32(0))


def _lookup(column: pa.ChunkedArray, field: str, vocabulary: Vocabulary) -> Ids:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise EncodingMismatch(f"field {field!r} is {column.type} in the samples, expected string: join the day again")
    found = pc.index_in(column.cast(pa.large_string()), value_set=vocabulary.values(field), skip_nulls=True)  # pyright: ignore[reportAttributeAccessIssue]
    return pc.fill_null(found, OUT_OF_VOCABULARY - 1).to_numpy() + np.int32(1)


def _buckets(column: pa.ChunkedArray, edges: tuple[float, ...]) -> Ids:
    numbers = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy()
    local = np.searchsorted(np.asarray(edges, dtype=np.float64), numbers, side="left").astype(np.int32) + np.int32(1)
    return np.where(np.isfinite(numbers), local, np.int32(OUT_OF_VOCABULARY))


def _pieces(column: pa.ChunkedArray, max_length: int) -> Iterator[tuple[int, pa.ChunkedArray]]:
    """(first row, rows) in pieces whose padded matrices have a bounded number of cells."""
    rows = _SEQUENCE_CELLS // max_length + 1
    for low in range(0, len(column), rows):
        yield low, column.slice(low, rows)


def _lengths(lists: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)  # pyright: ignore[reportAttributeAccessIssue]


def _places(lengths: npt.NDArray[np.int64], max_length: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Where in the flattened lists each cell [n, max_length] comes from, and which cells hold a value."""
    ends = np.cumsum(lengths)
    places = ends[:, None] + np.arange(-max_length, 0)
    return places, places >= (ends - lengths)[:, None]


def _gathered(flat: np.ndarray, places: np.ndarray, inside: np.ndarray, padding: np.generic) -> np.ndarray:
    if len(flat) == 0:
        return np.full(places.shape, padding, dtype=flat.dtype)
    return np.where(inside, flat[np.where(inside, places, 0)], padding)
