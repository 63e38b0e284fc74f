"""Small validated samples files for the tests of vocabulary, encoding and batches."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.data.encoded_day import EncodedDay
from ml.data.fields import FieldSpec

FIELDS = (
    FieldSpec(name="user", entity="user", kind="id"),
    FieldSpec(name="age", entity="user", kind="category"),
    FieldSpec(name="item", entity="item", kind="id"),
    FieldSpec(name="price", entity="item", kind="number", buckets=4),
    FieldSpec(name="history", entity="user", kind="sequence", of="item", max_length=3),
    FieldSpec(name="prices", entity="user", kind="sequence", of="price", max_length=2),
    FieldSpec(name="position", entity="context", kind="category", bias=True),
)
TYPES: Mapping[str, pa.DataType] = {
    "user": pa.string(),
    "age": pa.string(),
    "item": pa.string(),
    "price": pa.float64(),
    "history": pa.list_(pa.string()),
    "prices": pa.list_(pa.string()),
    "position": pa.string(),
    "click": pa.int64(),
    "conversion": pa.int64(),
    "value": pa.float64(),
}
DEFAULTS = {"click": 0, "conversion": 0}


@pytest.fixture(scope="session")
def encoding_fields() -> tuple[FieldSpec, ...]:
    """One field of each kind, two sequences (of ids, of numbers) and a display bias."""
    return FIELDS


@pytest.fixture(scope="session")
def write_samples() -> Callable[..., Path]:
    """Writes rows (a mapping each; absent columns are NULL) as a samples file and returns its path."""

    def write(path: Path, rows: Sequence[Mapping[str, Any]], *, row_group_size: int = 3) -> Path:
        columns = {
            name: pa.array([row.get(name, DEFAULTS.get(name)) for row in rows], type=kind)
            for name, kind in TYPES.items()
        }
        pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
        return path

    return write


@pytest.fixture(scope="session")
def random_day() -> Callable[..., EncodedDay]:
    """An encoded day of random ids in memory; features hold the row's number in their first column."""

    def build(rows: int, *, first: int = 0, vocabulary_digest: str = "vocabulary") -> EncodedDay:
        generator = np.random.default_rng([rows, first])
        features = generator.integers(0, 1000, (rows, 4), dtype=np.int32)
        features[:, 0] = np.arange(first, first + rows)
        click = generator.integers(0, 2, rows, dtype=np.uint8)
        return EncodedDay(
            features=features,
            sequences={"history": generator.integers(-1, 1000, (rows, 3), dtype=np.int32)},
            click=click,
            conversion=click & generator.integers(0, 2, rows, dtype=np.uint8),
            value=generator.random(rows, dtype=np.float32),
            vocabulary_digest=vocabulary_digest,
            samples_content_id=f"samples-{first}",
        )

    return build
