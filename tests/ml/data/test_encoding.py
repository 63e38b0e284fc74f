"""Encoded days against a slow look-up in plain Python, and the refusal of files that are not what they claim."""

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data import encoding, row_ids
from ml.data.encoding import EncodedDay, EncodingMismatch, encode_day, encode_days
from ml.data.fields import FieldSpec
from ml.data.layout import MAX_ROWS
from ml.data.vocabulary import Vocabulary, build_vocabulary

WriteSamples = Callable[..., Path]
TEXT = st.none() | st.text(alphabet="abé", max_size=2)
NUMBER = st.none() | st.floats()
DIGITS = st.none() | st.sampled_from(["0", "1.5", "2", "nan"])


def sample_rows(max_size: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    row = st.fixed_dictionaries(
        {
            "user": TEXT,
            "age": TEXT,
            "item": TEXT,
            "position": TEXT,
            "price": NUMBER,
            "history": st.none() | st.lists(TEXT, max_size=5),
            "prices": st.none() | st.lists(DIGITS, max_size=4),
            "click": st.integers(0, 1),
            "conversion": st.integers(0, 1),
            "value": st.none() | st.floats(0, 100, width=32),
        }
    )
    return st.lists(row, max_size=max_size)


def vocabulary_of(path: Path, fields: Sequence[FieldSpec], min_count: int = 1) -> Vocabulary:
    return build_vocabulary(samples=[path], fields=fields, user_key="user", item_key="item", min_count=min_count)


def reference_id(vocabulary: Vocabulary, field: str, value: Any) -> int:
    column = vocabulary.layout.columns[vocabulary.layout.index(field)]
    if value is None:
        return column.offset
    if column.kind == "number":
        number = float(value)
        below = sum(edge < number for edge in vocabulary.edges[field])
        return column.offset + (below + 1 if math.isfinite(number) else 0)
    known = vocabulary.values(field).to_pylist()
    return column.offset + (known.index(value) + 1 if value in known else 0)


def reference_sequence(vocabulary: Vocabulary, of: str, members: Sequence[Any] | None, length: int) -> list[int]:
    ids = [reference_id(vocabulary, of, member) for member in members or []][-length:]
    return [-1] * (length - len(ids)) + ids


def decoded(vocabulary: Vocabulary, day: EncodedDay, field: str) -> list[str | None]:
    position = vocabulary.layout.index(field)
    known = [None, *vocabulary.values(field).to_pylist()]
    return [known[row - vocabulary.layout.columns[position].offset] for row in day.features[:, position].tolist()]


@settings(max_examples=30, deadline=None)
@given(window=sample_rows(12), rows=sample_rows(12), min_count=st.integers(1, 2))
def test_rows_are_encoded_as_a_plain_look_up_does_and_decode_to_what_they_were(
    write_samples: WriteSamples,
    encoding_fields: tuple[FieldSpec, ...],
    window: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    min_count: int,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = vocabulary_of(write_samples(Path(folder, "window.parquet"), window), encoding_fields, min_count)
        day = encode_day(
            samples=write_samples(Path(folder, "day.parquet"), rows), vocabulary=vocabulary, out=Path(folder, "day")
        )
        assert day.features.dtype == np.int32
        assert day.features.tolist() == [
            [reference_id(vocabulary, column.name, row[column.name]) for column in vocabulary.layout.columns]
            for row in rows
        ]
        for sequence in vocabulary.layout.sequences:
            assert day.sequences[sequence.name].shape == (len(rows), sequence.max_length)
            assert day.sequences[sequence.name].tolist() == [
                reference_sequence(vocabulary, sequence.of, row[sequence.name], sequence.max_length) for row in rows
            ]
        assert day.click.tolist() == [row["click"] for row in rows]
        assert day.conversion.tolist() == [row["conversion"] for row in rows]
        assert day.value.tolist() == [row["value"] or 0.0 for row in rows]
        for field in ("user", "age", "item", "position"):
            known = set(vocabulary.values(field).to_pylist())
            assert decoded(vocabulary, day, field) == [row[field] if row[field] in known else None for row in rows]


def test_blocks_smaller_than_the_day_change_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_samples: WriteSamples,
    encoding_fields: tuple[FieldSpec, ...],
) -> None:
    rows = [{"user": str(i % 7), "price": float(i), "history": [str(i)] * (i % 5), "item": str(i)} for i in range(50)]
    samples = write_samples(tmp_path / "day.parquet", rows, row_group_size=3)
    vocabulary = vocabulary_of(samples, encoding_fields)
    whole = encode_day(samples=samples, vocabulary=vocabulary, out=tmp_path / "whole")
    monkeypatch.setattr(encoding, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(row_ids, "_SEQUENCE_CELLS", 6)
    pieces = encode_day(samples=samples, vocabulary=vocabulary, out=tmp_path / "pieces")
    assert np.unique(whole.features[:, 0]).size == 7
    for file in sorted((tmp_path / "whole").iterdir()):
        assert file.read_bytes() == (tmp_path / "pieces" / file.name).read_bytes(), file.name
    assert pieces.rows == 50


def test_the_directory_holds_what_its_manifest_says_and_nothing_else_is_left(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    samples = write_samples(tmp_path / "day.parquet", [{"user": "a"}])
    vocabulary = vocabulary_of(samples, encoding_fields)
    encode_day(samples=samples, vocabulary=vocabulary, out=tmp_path / "day", samples_content_id="abc")
    manifest = json.loads((tmp_path / "day" / "encoding.json").read_text())
    names = {"features.npy", "click.npy", "conversion.npy", "value.npy", "sequence.history.npy", "sequence.prices.npy"}
    assert set(manifest["files"]) == names
    assert {file.name for file in (tmp_path / "day").iterdir()} == names | {"encoding.json"}
    assert (manifest["samples_content_id"], manifest["vocabulary_digest"]) == ("abc", vocabulary.digest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["day", "day.parquet"]


@pytest.mark.parametrize(("label", "value"), [("click", 2), ("click", None), ("conversion", -1), ("conversion", None)])
def test_labels_other_than_0_and_1_are_refused_and_leave_no_files(
    tmp_path: Path,
    write_samples: WriteSamples,
    encoding_fields: tuple[FieldSpec, ...],
    label: str,
    value: int | None,
) -> None:
    vocabulary = vocabulary_of(write_samples(tmp_path / "window.parquet", [{"user": "a"}]), encoding_fields)
    samples = write_samples(tmp_path / "day.parquet", [{"user": "a"}, {"user": "a", label: value}])
    with pytest.raises(EncodingMismatch, match=f"1 of 2 values of {label} are not 0 or 1"):
        encode_day(samples=samples, vocabulary=vocabulary, out=tmp_path / "day")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["day.parquet", "window.parquet"]


def test_columns_that_are_missing_or_of_another_type_are_refused(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    samples = write_samples(tmp_path / "window.parquet", [{"user": "a"}])
    vocabulary = vocabulary_of(samples, encoding_fields)
    table = pq.read_table(samples)
    pq.write_table(table.drop_columns(["age"]), tmp_path / "missing.parquet")
    for name in ("user", "history"):
        position = table.schema.get_field_index(name)
        pq.write_table(table.set_column(position, name, pa.array([1])), tmp_path / f"{name}.parquet")
    for file, message in (
        ("missing", "has no column age"),
        ("user", "'user' is int64 .*expected string"),
        ("history", "'history' is int64 .*expected a list"),
    ):
        with pytest.raises(EncodingMismatch, match=message):
            encode_day(samples=tmp_path / f"{file}.parquet", vocabulary=vocabulary, out=tmp_path / "day")


def corrupt_byte(day: Path) -> None:
    content = bytearray((day / "features.npy").read_bytes())
    content[-1] ^= 1
    (day / "features.npy").write_bytes(content)


def cut_short(day: Path) -> None:
    (day / "value.npy").write_bytes((day / "value.npy").read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (corrupt_byte, r"features\.npy has sha256"),
        (cut_short, r"value\.npy has \d+ bytes"),
        (lambda day: (day / "click.npy").unlink(), r"click\.npy is missing"),
        (lambda day: (day / "encoding.json").unlink(), r"holds no encoding\.json"),
    ],
)
def test_damaged_files_are_refused(
    tmp_path: Path,
    write_samples: WriteSamples,
    encoding_fields: tuple[FieldSpec, ...],
    damage: Callable[[Path], None],
    message: str,
) -> None:
    samples = write_samples(tmp_path / "day.parquet", [{"user": "a"}])
    vocabulary = vocabulary_of(samples, encoding_fields)
    encode_day(samples=samples, vocabulary=vocabulary, out=tmp_path / "day")
    damage(tmp_path / "day")
    with pytest.raises(EncodingMismatch, match=message):
        EncodedDay.load(tmp_path / "day")
    with pytest.raises(EncodingMismatch, match=message):
        encode_day(samples=samples, vocabulary=vocabulary, out=tmp_path / "day")


def test_a_day_of_other_samples_or_another_vocabulary_is_refused(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    first = write_samples(tmp_path / "1.parquet", [{"user": "a"}])
    second = write_samples(tmp_path / "2.parquet", [{"user": "b"}])
    vocabulary = vocabulary_of(first, encoding_fields)
    encode_day(samples=first, vocabulary=vocabulary, out=tmp_path / "day")
    with pytest.raises(EncodingMismatch, match="encoded from samples"):
        encode_day(samples=second, vocabulary=vocabulary, out=tmp_path / "day")
    with pytest.raises(EncodingMismatch, match="encoded from vocabulary"):
        encode_day(samples=first, vocabulary=vocabulary_of(second, encoding_fields), out=tmp_path / "day")


def test_the_cache_is_reused_and_days_come_oldest_first(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    paths = {
        date(2026, 1, day): write_samples(tmp_path / f"{day}.parquet", [{"user": str(day)}] * day) for day in (2, 1)
    }
    vocabulary = vocabulary_of(paths[date(2026, 1, 1)], encoding_fields)
    days: Mapping[date, tuple[Path, str]] = {day: (path, f"content-{day}") for day, path in paths.items()}
    cache = tmp_path / "cache"
    encoded = encode_days(days=days, vocabulary=vocabulary, cache=cache)
    assert [(day, entry.rows) for day, entry in encoded.items()] == [(date(2026, 1, 1), 1), (date(2026, 1, 2), 2)]
    assert (cache / vocabulary.digest / "content-2026-01-01" / "encoding.json").is_file()
    for path in paths.values():
        path.unlink()
    again = encode_days(days=days, vocabulary=vocabulary, cache=cache)
    assert [entry.features.tolist() for entry in again.values()] == [e.features.tolist() for e in encoded.values()]
    assert not again[date(2026, 1, 1)].features.flags.writeable


def test_a_vocabulary_beyond_int32_is_refused(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    samples = write_samples(tmp_path / "day.parquet", [{"user": "a"}])
    vocabulary = vocabulary_of(samples, encoding_fields)
    *columns, last = vocabulary.layout.columns
    last = last.model_copy(update={"size": MAX_ROWS})
    layout = vocabulary.layout.model_copy(update={"columns": (*columns, last), "total_rows": last.offset + MAX_ROWS})
    oversized = Vocabulary(layout=layout, table=vocabulary.table, edges=vocabulary.edges)
    with pytest.raises(ValueError, match=f"fewer than {MAX_ROWS}: raise min_count"):
        encode_day(samples=samples, vocabulary=oversized, out=tmp_path / "day")
