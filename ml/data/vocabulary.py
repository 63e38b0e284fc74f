"""Which values of a training window get rows of the embedding table; turning samples into row ids is encoding's."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.engine import connect, identifier, statement
from ml.data.fields import FieldSpec
from ml.data.layout import FeatureColumn, FeatureLayout, SequenceColumn

TABLE_SCHEMA = pa.schema(
    [("field", pa.string()), ("value", pa.large_string()), ("local_id", pa.int64()), ("count", pa.int64())]
)
_FILES = ("vocabulary.parquet", "buckets.json", "layout.json")


class VocabularyInvalid(ValueError):
    """Samples that lack a field, or vocabulary files that do not belong together."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The kept values of every id and category field, the bucket edges of every number field, and their rows.

    ``table`` holds field, value, local_id (1, 2, ... by falling count, then rising value) and count, the fields in
    the order of ``layout.columns``. ``edges`` maps a number field to its rising finite edges e_0 < ... < e_m-1: a
    finite number x is in bucket b = |{i: e_i < x}|, so that a value equal to an edge belongs to the bucket below
    it, and has local id b + 1. Missing, not finite, or unknown: local id 0.
    """

    layout: FeatureLayout
    table: pa.Table
    edges: Mapping[str, tuple[float, ...]]

    def values(self, field: str) -> pa.LargeStringArray:
        """The kept values of an id or category field: the value at position i has local id i + 1."""
        start = 0
        for column in self.layout.columns:
            length = 0 if column.kind == "number" else column.size - 1
            if column.name == field and column.kind != "number":
                return self.table.column("value").slice(start, length).combine_chunks()
            start += length
        raise KeyError(f"no id or category field {field!r} in the vocabulary")

    @property
    def digest(self) -> str:
        """sha256 (hex) over layout, edges, values and counts; does not depend on the Parquet writer's version."""
        hasher = hashlib.sha256()
        hasher.update(_canonical(self.layout.model_dump(mode="json")))
        hasher.update(_canonical(_edges_record(self.edges)))
        for column in self.layout.columns:
            if column.kind != "number":
                _hash_strings(hasher, self.values(column.name))
        hasher.update(self.table.column("count").to_numpy().astype("<i8").tobytes())
        return hasher.hexdigest()

    def save(self, directory: Path) -> None:
        """Writes vocabulary.parquet, buckets.json and layout.json into the new ``directory``, which appears whole.

        Same vocabulary, same bytes. Raises ``FileExistsError`` if ``directory`` exists.
        """
        if directory.exists():
            raise FileExistsError(f"{directory} exists: save the vocabulary to a new directory")
        directory.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            pq.write_table(self.table, draft / "vocabulary.parquet", compression="zstd")
            (draft / "buckets.json").write_bytes(_canonical(_edges_record(self.edges)) + b"\n")
            (draft / "layout.json").write_text(self.layout.model_dump_json(indent=1) + "\n", encoding="utf-8")
            draft.chmod(0o755)
            os.rename(draft, directory)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    @classmethod
    def load(cls, directory: Path) -> Vocabulary:
        """Reads what ``save`` wrote; raises ``VocabularyInvalid`` if a file is missing or they disagree."""
        absent = [name for name in _FILES if not (directory / name).is_file()]
        if absent:
            raise VocabularyInvalid(f"{directory} lacks {', '.join(absent)}: build the vocabulary again")
        layout = FeatureLayout.model_validate_json((directory / "layout.json").read_text(encoding="utf-8"))
        table = pq.read_table(directory / "vocabulary.parquet", schema=TABLE_SCHEMA)
        edges = {k: tuple(v) for k, v in json.loads((directory / "buckets.json").read_text("utf-8")).items()}
        _refuse_disagreement(directory, layout=layout, table=table, edges=edges)
        return cls(layout=layout, table=table, edges=edges)


def build_vocabulary(
    *,
    samples: Sequence[Path],
    fields: Sequence[FieldSpec],
    user_key: str,
    item_key: str,
    min_count: int,
    threads: int = 2,
) -> Vocabulary:
    """Counts every field's values over all rows of ``samples`` (one validated samples Parquet file a day).

    id and category: values seen at least ``min_count`` times get local ids 1, 2, ... by falling count, then rising
    value (binary order of UTF-8). number: the edges of ``buckets`` quantiles of the finite values; ties leave
    fewer. A sequence uses the rows of its ``of`` field, whose own column alone is counted.
    The result does not depend on ``threads``, the order of the files or that of their rows.
    Raises ``VocabularyInvalid`` for no files or a file that lacks a field's column, ``ValueError`` for a layout
    that int32 row ids cannot number.
    """
    _refuse_incomplete(samples, fields)
    tables = [TABLE_SCHEMA.empty_table()]
    edges: dict[str, tuple[float, ...]] = {}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch, connect(scratch=Path(scratch), threads=threads) as connection:
        # A folder named like day=2026-01-01 would otherwise add a column of its own.
        rows = connection.read_parquet([str(path) for path in samples], hive_partitioning=False)
        rows.create_view("samples")
        for field in fields:
            column = identifier(field.name)
            if field.kind == "number":
                query = statement("vocabulary_bucket_edges", column=column, buckets=str(field.buckets))
                edges[field.name] = tuple(edge for (edge,) in connection.execute(query).fetchall())
                sizes[field.name] = len(edges[field.name]) + 2
            elif field.kind != "sequence":
                query = statement("vocabulary_values", column=column, min_count=str(min_count))
                tables.append(_with_local_ids(field.name, connection.sql(query).to_arrow_table()))
                sizes[field.name] = tables[-1].num_rows + 1
    layout = _lay_out(fields, sizes, user_key=user_key, item_key=item_key)
    layout.refuse_oversized()
    return Vocabulary(layout=layout, table=pa.concat_tables(tables), edges=edges)


def _lay_out(fields: Sequence[FieldSpec], sizes: Mapping[str, int], *, user_key: str, item_key: str) -> FeatureLayout:
    columns: list[FeatureColumn] = []
    sequences: list[SequenceColumn] = []
    offset = 0
    for field in fields:
        if field.kind == "sequence":
            sequences.append(
                SequenceColumn(name=field.name, of=str(field.of), entity=field.entity, max_length=field.max_length)
            )
            continue
        size = sizes[field.name]
        columns.append(
            FeatureColumn(
                name=field.name, entity=field.entity, kind=field.kind, offset=offset, size=size, bias=field.bias
            )
        )
        offset += size
    return FeatureLayout(
        columns=tuple(columns),
        sequences=tuple(sequences),
        total_rows=offset,
        user_key=user_key,
        item_key=item_key,
    )


def _with_local_ids(field: str, kept: pa.Table) -> pa.Table:
    rows = kept.num_rows
    columns = [
        pa.repeat(pa.scalar(field), rows),
        kept.column("value").cast(pa.large_string()),
        pa.array(np.arange(1, rows + 1, dtype=np.int64)),
        kept.column("count").cast(pa.int64()),
    ]
    return pa.table(columns, schema=TABLE_SCHEMA)


def _refuse_incomplete(samples: Sequence[Path], fields: Sequence[FieldSpec]) -> None:
    if not samples:
        raise VocabularyInvalid("a vocabulary needs at least one samples file, got none")
    for path in samples:
        present = set(pq.read_schema(path).names)
        absent = [field.name for field in fields if field.name not in present]
        if absent:
            raise VocabularyInvalid(
                f"{path} has no column {', '.join(absent)}: join the day again with the present dataset spec"
            )


def _refuse_disagreement(
    directory: Path, *, layout: FeatureLayout, table: pa.Table, edges: Mapping[str, tuple[float, ...]]
) -> None:
    kept: dict[str, int] = {}
    for row in table.group_by("field", use_threads=False).aggregate([("value", "count")]).to_pylist():
        kept[row["field"]] = row["value_count"]
    for column in layout.columns:
        rows = len(edges.get(column.name, ())) + 2 if column.kind == "number" else kept.get(column.name, 0) + 1
        if rows != column.size:
            raise VocabularyInvalid(
                f"{directory}: field {column.name!r} has {column.size} rows in layout.json, but its values make "
                f"{rows}: build the vocabulary again"
            )


def _edges_record(edges: Mapping[str, tuple[float, ...]]) -> dict[str, list[float]]:
    return {name: list(values) for name, values in sorted(edges.items())}


def _canonical(record: object) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _hash_strings(hasher: hashlib._Hash, values: pa.LargeStringArray) -> None:
    _, offsets, data = values.buffers()
    if len(values) == 0 or offsets is None:
        return
    bounds = np.frombuffer(offsets, dtype=np.int64)[values.offset : values.offset + len(values) + 1]
    hasher.update(np.diff(bounds).astype("<i8").tobytes())
    if data is not None:
        hasher.update(memoryview(data)[bounds[0] : bounds[-1]])
