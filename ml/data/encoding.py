"""Turns a day's samples into memory-mapped row ids of the fused table; which values have rows is the vocabulary's."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml.data.encoded_day import (
    DELAY,
    ELAPSED,
    MANIFEST,
    STAGES,
    EncodedDay,
    EncodingMismatch,
    file_sha256,
    is_outdated,
    sequence_file,
    stage_file,
    weights_file,
    write_manifest,
)
from ml.data.label_timing import TIMING_COLUMNS, elapsed_and_delay
from ml.data.layout import FeatureLayout
from ml.data.row_ids import padded_ids, padded_weights, row_ids
from ml.data.vocabulary import Vocabulary

__all__ = ["EncodedDay", "EncodingMismatch", "encode_day", "encode_days"]

_BLOCK_ROWS = 1 << 19


def encode_day(
    *, samples: Path, vocabulary: Vocabulary, out: Path, samples_content_id: str | None = None
) -> EncodedDay:
    """Encodes the validated samples file ``samples`` into the directory ``out`` and maps it into memory.

    Rows keep their order. Row groups are read in blocks, so memory is bounded whatever the day's size. The
    directory appears whole; if ``out`` is there already with the same vocabulary and samples it is reused, and
    replaced where an older version of this code wrote it.
    ``samples_content_id`` names the samples' content, by default the sha256 of the file.
    Raises ``EncodingMismatch`` if ``out`` was made from something else, if the samples lack a column or hold it
    in another type, or if a label is not 0 or 1; ``ValueError`` for a layout too large for int32 ids.
    """
    vocabulary.layout.refuse_oversized()
    content_id = samples_content_id or file_sha256(samples)
    digest = vocabulary.digest
    if out.exists() and not is_outdated(out):
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
        if out.exists() and is_outdated(out):
            _set_aside(out)
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


def _set_aside(out: Path) -> None:
    """Takes away what an older version of this code wrote; who has it mapped keeps what they see."""
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        # A process that did the same meanwhile has taken it away, or put its own in place, which is kept.
        with suppress(FileNotFoundError):
            os.rename(out, old / out.name)
    finally:
        shutil.rmtree(old, ignore_errors=True)


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
        stages = [stage for stage in STAGES if _has_values(file, stage)]
        has_timing = set(TIMING_COLUMNS) <= set(file.schema_arrow.names)
        arrays = _create_arrays(draft, rows, vocabulary.layout, stages=stages, has_timing=has_timing)
        for start, groups in _blocks(file):

            def read(name: str, groups: list[int] = groups) -> pa.ChunkedArray:
                return file.read_row_groups(groups, columns=[name], use_threads=False).column(0)

            for name, low, piece in _encode_block(read, vocabulary, samples, stages=stages, has_timing=has_timing):
                arrays[name][start + low : start + low + len(piece)] = piece
        for array in arrays.values():
            array.flush()
    return rows


def _create_arrays(
    draft: Path, rows: int, layout: FeatureLayout, *, stages: Sequence[str], has_timing: bool
) -> dict[str, np.memmap]:
    shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "features.npy": (np.int32, (rows, len(layout.columns))),
        "click.npy": (np.uint8, (rows,)),
        "conversion.npy": (np.uint8, (rows,)),
        "value.npy": (np.float32, (rows,)),
    }
    for sequence in layout.sequences:
        shapes[sequence_file(sequence.name)] = (np.int32, (rows, sequence.max_length))
        if sequence.weighted:
            shapes[weights_file(sequence.name)] = (np.float32, (rows, sequence.max_length))
    shapes |= {stage_file(stage): (np.uint8, (rows,)) for stage in stages}
    if has_timing:
        shapes |= {ELAPSED: (np.float32, (rows,)), DELAY: (np.float32, (rows,))}
    return {
        name: np.lib.format.open_memmap(draft / name, mode="w+", dtype=dtype, shape=shape)
        for name, (dtype, shape) in shapes.items()
    }


def _encode_block(
    read: Callable[[str], pa.ChunkedArray],
    vocabulary: Vocabulary,
    samples: Path,
    *,
    stages: Sequence[str],
    has_timing: bool,
) -> Iterator[tuple[str, int, npt.NDArray]]:
    """The pieces (file, first row within the block, array) of one block, whose columns ``read`` gives by name."""
    layout = vocabulary.layout
    for label in ("click", "conversion"):
        yield f"{label}.npy", 0, _labels(read(label), label, samples)
    for stage in stages:
        yield stage_file(stage), 0, _labels(read(stage), stage, samples)
    if has_timing:
        elapsed, delay = elapsed_and_delay(read)
        yield ELAPSED, 0, elapsed
        yield DELAY, 0, delay
    value = pc.fill_null(read("value"), 0.0).to_numpy()
    yield "value.npy", 0, value
    features = np.empty((len(value), len(layout.columns)), dtype=np.int32)
    for position, column in enumerate(layout.columns):
        features[:, position] = row_ids(read(column.name), column.name, vocabulary)
    yield "features.npy", 0, features
    for sequence in layout.sequences:
        members = read(sequence.name)
        for low, ids in padded_ids(members, sequence, vocabulary):
            yield sequence_file(sequence.name), low, ids
        if sequence.weighted:
            for low, weights in padded_weights(read(sequence.weights_column), members, sequence):
                yield weights_file(sequence.name), low, weights


def _columns(vocabulary: Vocabulary) -> set[str]:
    layout = vocabulary.layout
    names = {column.name for column in layout.columns} | {sequence.name for sequence in layout.sequences}
    names |= {sequence.weights_column for sequence in layout.sequences if sequence.weighted}
    return names | {"click", "conversion", "value"}


def _has_values(file: pq.ParquetFile, name: str) -> bool:
    """Whether a column is there and not NULL throughout: a log without such a stage leaves it so."""
    if name not in file.schema_arrow.names:
        return False
    for group in range(file.metadata.num_row_groups):
        column = file.read_row_group(group, columns=[name], use_threads=False).column(0)
        if column.null_count < len(column):
            return True
    return False


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
    wrong = (labels != 0) & (labels != 1)
    if wrong.any():
        raise EncodingMismatch(
            f"{samples}: {int(wrong.sum())} of {len(labels)} values of {name} are not 0 or 1: encode validated "
            "samples, not joined ones"
        )
    return labels.astype(np.uint8)
