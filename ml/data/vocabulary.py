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
from ml.data.layout import FeatureLayout, lay_out

TABLE_SCHEMA = pa.schema(
    [("field", pa.string()), ("value", pa.large_string()), ("local_id", pa.int64()), ("count", pa.int64())]
)
_FILES = ("vocabulary.parquet", "buckets.json", "layout.json")


class VocabularyInvalid(ValueError):
    """Samples that lack a field, or vocabulary files that do not belong together."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The kept values of ids, categories and lists, the bucket edges of every number field, and their rows.

    ``table`` holds field, value, local_id (1, 2, ... by falling count, then rising value) and count, the fields in
    the order of ``layout.row_ranges``. ``edges`` maps a number field to its rising finite edges e_0 < ... < e_m-1: a
    finite number x is in bucket b = |{i: e_i < x}|, so that a value equal to an edge belongs to the bucket below
    it, and has local id b + 1. Missing, not finite, or unknown: local id 0.
    """

    layout: FeatureLayout
    table: pa.Table
    edges: Mapping[str, tuple[float, ...]]

    def values(self, field: str) -> pa.LargeStringArray:
        """The kept values of an id or category field, or of a sequence with rows of its own: the value at position i
        has local id i + 1."""
        start = 0
        for rows in self.layout.row_ranges:
            length = 0 if rows.kind == "number" else rows.size - 1
            if rows.name == field and rows.kind != "number":
                return self.table.column("value").slice(start, length).combine_chunks()
            start += length
        raise KeyError(f"no id or category field {field!r} in the vocabulary")

    @property
    def digest(self) -> str:
        """sha256 (hex) over layout, edges, values and counts; does not depend on the Parquet writer's version."""
        hasher = hashlib.sha256()
        hasher.update(_canonical(self.layout.model_dump(mode="json")))
        hasher.update(_canonical(_edges_record(self.edges)))
        for rows in self.layout.row_ranges:
            if rows.kind != "number":
                _hash_strings(hasher, self.values(rows.name))
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
    fewer. A sequence ``of`` a field uses that field's rows, whose own column alone is counted; for another one the
    values in its lists are counted, each as often as it is listed, and kept as those of a category.
    The result does not depend on ``threads``, the order of the files or that of their rows.
    Raises ``VocabularyInvalid`` for no files, a file that lacks a field's column or holds a sequence in another type
    than a list of strings, ``ValueError`` for a layout that int32 row ids cannot number.
    """
    _refuse_incomplete(samples, fields)
    tables = [TABLE_SCHEMA.empty_table()]
    edges: dict[str, tuple[float, ...]] = {}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch, connect(scratch=Path(scratch), threads=threads) as connection:
        # A folder named like day=2026-01-01 would otherwise add a column of its own.
        rows = connection.read_parquet([str(path) for path in samples], hive_partitioning=False)
        rows.create_view("samples")
        # Fields before sequences: the order of their rows.
        for field in sorted(fields, key=lambda field: field.kind == "sequence"):
            column = identifier(field.name)
            if field.kind == "number":
                query = statement("vocabulary_bucket_edges", column=column, buckets=str(field.buckets))
                edges[field.name] = tuple(edge for (edge,) in connection.execute(query).fetchall())
                sizes[field.name] = len(edges[field.name]) + 2
            elif field.of is None:
                value = f"unnest({column})" if field.kind == "sequence" else column
                query = statement("vocabulary_values", column=value, min_count=str(min_count))
                tables.append(_with_local_ids(field.name, connection.sql(query).to_arrow_table()))
                sizes[field.name] = tables[-1].num_rows + 1
    layout = lay_out(fields, sizes, user_key=user_key, item_key=item_key)
    layout.refuse_oversized()
    return Vocabulary(layout=layout, table=pa.concat_tables(tables), edges=edges)


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
        schema = pq.read_schema(path)
        absent = [field.name for field in fields if field.name not in schema.names]
        if absent:
            raise VocabularyInvalid(
                f"{path} has no column {', '.join(absent)}: join the day again with the present dataset spec"
            )
        for field in fields:
            kind = schema.field(field.name).type
            if field.kind == "sequence" and not is_string_list(kind):
                raise VocabularyInvalid(
                    f"{path}: sequence {field.name!r} is {kind}, expected a list of strings: join the day again with "
                    "the present dataset spec"
                )


def is_string_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds what a sequence is read from."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    return pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)


def _refuse_disagreement(
    directory: Path, *, layout: FeatureLayout, table: pa.Table, edges: Mapping[str, tuple[float, ...]]
) -> None:
    kept: dict[str, int] = {}
    for row in table.group_by("field", use_threads=False).aggregate([("value", "count")]).to_pylist():
        kept[row["field"]] = row["value_count"]
    for planned in layout.row_ranges:
        number = planned.kind == "number"
        rows = len(edges.get(planned.name, ())) + 2 if number else kept.get(planned.name, 0) + 1
        if rows != planned.size:
            raise VocabularyInvalid(
                f"{directory}: field {planned.name!r} has {planned.size} rows in layout.json, but its values make "
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
