"""Turns a day's samples into memory-mapped row ids of the fused table; which values have rows is the vocabulary's."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml.data.encoded_day import (
    MANIFEST,
    EncodedDay,
    EncodingMismatch,
    file_sha256,
    sequence_file,
    write_manifest,
)
from ml.data.layout import OUT_OF_VOCABULARY, PADDING, FeatureLayout
from ml.data.vocabulary import Vocabulary

__all__ = ["EncodedDay", "EncodingMismatch", "encode_day", "encode_days"]

_BLOCK_ROWS = 1 << 19
_SEQUENCE_CELLS = 1 << 22

Ids = npt.NDArray[np.int32]


def encode_day(
    *, samples: Path, vocabulary: Vocabulary, out: Path, samples_content_id: str | None = None
) -> EncodedDay:
    """Encodes the validated samples file ``samples`` into the directory ``out`` and maps it into memory.

    Rows keep their order. Row groups are read in blocks, so memory is bounded whatever the day's size. The
    directory appears whole; if ``out`` is there already with the same vocabulary and samples it is reused.
    ``samples_content_id`` names the samples' content, by default the sha256 of the file.
    Raises ``EncodingMismatch`` if ``out`` was made from something else, if the samples lack a column or hold it
    in another type, or if a label is not 0 or 1; ``ValueError`` for a layout too large for int32 ids.
    """
    vocabulary.layout.refuse_oversized()
    content_id = samples_content_id or file_sha256(samples)
    digest = vocabulary.digest
    if out.exists():
        return EncodedDay.load(out, vocabulary_digest=digest, samples_content_id=content_id)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        rows = _write_arrays(samples, vocabulary, draft)
        write_manifest(
            draft,
            rows=rows,
            columns=tuple(column.name for column in vocabulary.layout.columns),
            sequences=tuple(sequence.name for sequence in vocabulary.layout.sequences),
            samples_content_id=content_id,
            vocabulary_digest=digest,
        )
        draft.chmod(0o755)
        _publish(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return EncodedDay.load(out, vocabulary_digest=digest, samples_content_id=content_id, verify_hashes=False)


def encode_days(
    *, days: Mapping[date, tuple[Path, str]], vocabulary: Vocabulary, cache: Path
) -> dict[date, EncodedDay]:
    """Encodes each day's (samples file, content id), oldest first, into ``cache/<vocabulary digest>/<content id>``.

    What the cache holds already is verified and reused. Raises as ``encode_day`` does.
    """
    folder = cache / vocabulary.digest
    return {
        day: encode_day(samples=samples, vocabulary=vocabulary, out=folder / content_id, samples_content_id=content_id)
        for day, (samples, content_id) in sorted(days.items())
    }


def _publish(draft: Path, out: Path) -> None:
    try:
        os.rename(draft, out)
    except OSError:
        # Another process encoded the same day meanwhile; loading verifies that it was the same samples.
        if not (out / MANIFEST).is_file():
            raise


def _write_arrays(samples: Path, vocabulary: Vocabulary, draft: Path) -> int:
    with pq.ParquetFile(samples) as file:
        absent = _columns(vocabulary) - set(file.schema_arrow.names)
        if absent:
            raise EncodingMismatch(
                f"{samples} has no column {', '.join(sorted(absent))}: join the day again with the present dataset spec"
            )
        rows = file.metadata.num_rows
        arrays = _create_arrays(draft, rows, vocabulary.layout)
        for start, groups in _blocks(file):

            def read(name: str, groups: list[int] = groups) -> pa.ChunkedArray:
                return file.read_row_groups(groups, columns=[name], use_threads=False).column(0)

            for name, low, piece in _encode_block(read, vocabulary, samples):
                arrays[name][start + low : start + low + len(piece)] = piece
        for array in arrays.values():
            array.flush()
    return rows


def _create_arrays(draft: Path, rows: int, layout: FeatureLayout) -> dict[str, np.memmap]:
    shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "features.npy": (np.int32, (rows, len(layout.columns))),
        "click.npy": (np.uint8, (rows,)),
        "conversion.npy": (np.uint8, (rows,)),
        "value.npy": (np.float32, (rows,)),
    }
    for sequence in layout.sequences:
        shapes[sequence_file(sequence.name)] = (np.int32, (rows, sequence.max_length))
    return {
        name: np.lib.format.open_memmap(draft / name, mode="w+", dtype=dtype, shape=shape)
        for name, (dtype, shape) in shapes.items()
    }


def _encode_block(
    read: Callable[[str], pa.ChunkedArray], vocabulary: Vocabulary, samples: Path
) -> Iterator[tuple[str, int, npt.NDArray]]:
    """The pieces (file, first row within the block, array) of one block, whose columns ``read`` gives by name."""
    layout = vocabulary.layout
    for label in ("click", "conversion"):
        yield f"{label}.npy", 0, _labels(read(label), label, samples)
    value = pc.fill_null(read("value"), 0.0).to_numpy()
    yield "value.npy", 0, value
    features = np.empty((len(value), len(layout.columns)), dtype=np.int32)
    for position, column in enumerate(layout.columns):
        features[:, position] = _row_ids(read(column.name), column.name, vocabulary)
    yield "features.npy", 0, features
    for sequence in layout.sequences:
        members = read(sequence.name)
        if not (pa.types.is_list(members.type) or pa.types.is_large_list(members.type)):
            raise EncodingMismatch(
                f"sequence {sequence.name!r} is {members.type} in {samples}, expected a list: join the day again"
            )
        cells = _SEQUENCE_CELLS // sequence.max_length + 1
        for low in range(0, len(value), cells):
            padded = _padded(members.slice(low, cells), sequence.of, sequence.max_length, vocabulary)
            yield sequence_file(sequence.name), low, padded


def _columns(vocabulary: Vocabulary) -> set[str]:
    layout = vocabulary.layout
    names = {column.name for column in layout.columns} | {sequence.name for sequence in layout.sequences}
    return names | {"click", "conversion", "value"}


def _blocks(file: pq.ParquetFile) -> Iterator[tuple[int, list[int]]]:
    """First row and row groups of each block of about ``_BLOCK_ROWS`` rows: the lookup tables are built anew for
    each block, so blocks are larger than row groups usually are."""
    start, rows, groups = 0, 0, []
    for group in range(file.metadata.num_row_groups):
        groups.append(group)
        rows += file.metadata.row_group(group).num_rows
        if rows >= _BLOCK_ROWS or group == file.metadata.num_row_groups - 1:
            yield start, groups
            start, rows, groups = start + rows, 0, []


def _labels(column: pa.ChunkedArray, name: str, samples: Path) -> npt.NDArray[np.uint8]:
    labels = pc.fill_null(column.cast(pa.int64()), -1).to_numpy()
    wrong = ~np.isin(labels, (0, 1))
    if wrong.any():
        raise EncodingMismatch(
            f"{samples}: {int(wrong.sum())} of {len(labels)} values of {name} are not 0 or 1: encode validated "
            "samples, not joined ones"
        )
    return labels.astype(np.uint8)


def _row_ids(column: pa.ChunkedArray, field: str, vocabulary: Vocabulary) -> Ids:
    """Global row ids int32 [n] of the values of ``field``, whatever column of the samples they come from."""
    layout = vocabulary.layout
    plan = layout.columns[layout.index(field)]
    local = _buckets(column, vocabulary.edges[field]) if plan.kind == "number" else _lookup(column, field, vocabulary)
    return local + np.int32(plan.offset)


def _lookup(column: pa.ChunkedArray, field: str, vocabulary: Vocabulary) -> Ids:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise EncodingMismatch(f"field {field!r} is {column.type} in the samples, expected string: join the day again")
    found = pc.index_in(column.cast(pa.large_string()), value_set=vocabulary.values(field), skip_nulls=True)  # pyright: ignore[reportAttributeAccessIssue]
    return pc.fill_null(found, OUT_OF_VOCABULARY - 1).to_numpy() + np.int32(1)


def _buckets(column: pa.ChunkedArray, edges: tuple[float, ...]) -> Ids:
    numbers = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy()
    local = np.searchsorted(np.asarray(edges, dtype=np.float64), numbers, side="left").astype(np.int32) + np.int32(1)
    return np.where(np.isfinite(numbers), local, np.int32(OUT_OF_VOCABULARY))


def _padded(column: pa.ChunkedArray, of: str, max_length: int, vocabulary: Vocabulary) -> Ids:
    """int32 [n, max_length]: each list's newest members at the right, padding at the left."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)  # pyright: ignore[reportAttributeAccessIssue]
    flat = _row_ids(pc.list_flatten(column), of, vocabulary)  # pyright: ignore[reportAttributeAccessIssue]
    if len(flat) == 0:
        return np.full((len(lengths), max_length), PADDING, dtype=np.int32)
    ends = np.cumsum(lengths)
    places = ends[:, None] + np.arange(-max_length, 0)
    inside = places >= (ends - lengths)[:, None]
    return np.where(inside, flat[np.where(inside, places, 0)], np.int32(PADDING))
