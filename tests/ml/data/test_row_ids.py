"""Lists with a vocabulary of their own and weights against plain Python, from the count of their values to files."""

import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data import encoding, row_ids
from ml.data.encoding import EncodedDay, EncodingMismatch, encode_day
from ml.data.fields import FieldSpec
from ml.data.vocabulary import Vocabulary, VocabularyInvalid, build_vocabulary

FIELDS = (
    FieldSpec(name="tags", entity="user", kind="sequence", max_length=3, weighted=True),
    FieldSpec(name="user", entity="user", kind="id"),
    FieldSpec(name="words", entity="context", kind="sequence", max_length=2),
    FieldSpec(name="item", entity="item", kind="id"),
    FieldSpec(name="carted", entity="user", kind="sequence", of="item", max_length=2, weighted=True),
)
TYPES = {
    "user": pa.string(),
    "item": pa.string(),
    "tags": pa.list_(pa.string()),
    "tags_weights": pa.list_(pa.float64()),
    "words": pa.list_(pa.string()),
    "carted": pa.large_list(pa.large_string()),
    "carted_weights": pa.list_(pa.float32()),
    "click": pa.int64(),
    "conversion": pa.int64(),
    "value": pa.float64(),
}
MEMBER = st.none() | st.text(alphabet="abé", max_size=1)
WEIGHT = st.none() | st.floats() | st.sampled_from([0.0, -1.0, 1e300, math.inf, math.nan])


@st.composite
def listed_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = []
    for _ in range(draw(st.integers(0, 8))):
        row: dict[str, Any] = {"user": draw(MEMBER), "item": draw(MEMBER)}
        row["words"] = draw(st.none() | st.lists(MEMBER, max_size=4))
        for name, weight in (("tags", WEIGHT), ("carted", st.none() | st.floats(width=32))):
            pairs = draw(st.none() | st.lists(st.tuples(MEMBER, weight), max_size=5))
            row[name] = None if pairs is None else [member for member, _ in pairs]
            row[f"{name}_weights"] = None if pairs is None else [weight for _, weight in pairs]
        rows.append(row)
    return rows


def write(path: Path, rows: Sequence[dict[str, Any]], **types: pa.DataType) -> Path:
    labels = {"click": 0, "conversion": 0}
    columns = {
        name: pa.array([row.get(name, labels.get(name)) for row in rows], type=kind)
        for name, kind in (TYPES | types).items()
    }
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return path


def build(paths: Sequence[Path], min_count: int = 1) -> Vocabulary:
    return build_vocabulary(samples=paths, fields=FIELDS, user_key="user", item_key="item", min_count=min_count)


def reference_ids(vocabulary: Vocabulary, source: str, members: list[str | None] | None, length: int) -> list[int]:
    known, offset = vocabulary.values(source).to_pylist(), vocabulary.layout.row_range(source).offset
    ids = [offset + (known.index(member) + 1 if member in known else 0) for member in (members or [])[-length:]]
    return [-1] * (length - len(ids)) + ids


def reference_weights(weights: list[float | None] | None, length: int) -> list[float]:
    kept = []
    for weight in (weights or [])[-length:]:
        counts = weight is not None and math.isfinite(weight) and weight > 0
        kept.append(float(np.float32(min(weight, 1e30))) if counts else 0.0)  # type: ignore[type-var]
    return [0.0] * (length - len(kept)) + kept


@settings(max_examples=40, deadline=None)
@given(window=listed_rows(), rows=listed_rows(), min_count=st.integers(1, 2))
def test_lists_and_weights_are_encoded_as_a_plain_look_up_does(
    window: list[dict[str, Any]], rows: list[dict[str, Any]], min_count: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = build([write(Path(folder, "window.parquet"), window)], min_count)
        for name in ("tags", "words"):
            counts = Counter(member for row in window for member in row[name] or [] if member is not None)
            kept = [member for member, count in counts.items() if count >= min_count]
            assert vocabulary.values(name).to_pylist() == sorted(kept, key=lambda v: (-counts[v], v.encode()))
        vocabulary.save(Path(folder, "vocabulary"))
        loaded = Vocabulary.load(Path(folder, "vocabulary"))
        assert (loaded.layout, loaded.digest) == (vocabulary.layout, vocabulary.digest)
        day = encode_day(samples=write(Path(folder, "d.parquet"), rows), vocabulary=loaded, out=Path(folder, "day"))
        again = EncodedDay.load(Path(folder, "day"))
        assert day.features.shape == (len(rows), 2)
        assert set(day.sequence_weights) == {"tags", "carted"}
        for name, source, length in (("tags", "tags", 3), ("words", "words", 2), ("carted", "item", 2)):
            expected = [reference_ids(vocabulary, source, row[name], length) for row in rows]
            assert day.sequences[name].tolist() == again.sequences[name].tolist() == expected
            if name in day.sequence_weights:
                weights = day.sequence_weights[name]
                assert weights.dtype == np.float32
                assert weights.tolist() == [reference_weights(row[f"{name}_weights"], length) for row in rows]


def test_rows_follow_the_fields_and_numbers_stay_below_the_total(tmp_path: Path) -> None:
    rows = [{"user": "u", "item": "i", "tags": ["x", "x", "y"], "tags_weights": [1.0] * 3, "words": ["w"]}]
    layout = build([write(tmp_path / "1.parquet", rows)]).layout
    assert [(r.name, r.offset, r.size) for r in layout.row_ranges] == [
        ("user", 0, 2),
        ("item", 2, 2),
        ("tags", 4, 3),
        ("words", 7, 2),
    ]
    assert layout.total_rows == 9
    assert [sequence.name for sequence in layout.sequences] == ["tags", "words", "carted"]


def test_blocks_and_pieces_smaller_than_the_day_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"user": "u", "item": "i", "tags": ["x"] * (i % 5), "tags_weights": [float(i + 1)] * (i % 5)} for i in range(50)
    ]
    samples = write(tmp_path / "day.parquet", rows)
    vocabulary = build([samples])
    encode_day(samples=samples, vocabulary=vocabulary, out=tmp_path / "whole")
    monkeypatch.setattr(encoding, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(row_ids, "_SEQUENCE_CELLS", 6)
    encode_day(samples=samples, vocabulary=vocabulary, out=tmp_path / "pieces")
    for file in sorted((tmp_path / "whole").iterdir()):
        assert file.read_bytes() == (tmp_path / "pieces" / file.name).read_bytes(), file.name


def test_weights_that_do_not_go_with_their_values_are_refused(tmp_path: Path) -> None:
    good = {"user": "u", "item": "i", "tags": ["x", "y"], "tags_weights": [1.0, 2.0]}
    vocabulary = build([write(tmp_path / "window.parquet", [good])])
    uneven = write(tmp_path / "uneven.parquet", [good, {**good, "tags_weights": [1.0]}, {**good, "tags": None}])
    with pytest.raises(EncodingMismatch, match="'tags' has another number of weights than of values in 2 of 3 rows"):
        encode_day(samples=uneven, vocabulary=vocabulary, out=tmp_path / "day")
    no_list = write(tmp_path / "no_list.parquet", [{**good, "tags_weights": 1.0}], tags_weights=pa.float64())
    with pytest.raises(EncodingMismatch, match="weights of sequence 'tags' are double in the samples"):
        encode_day(samples=no_list, vocabulary=vocabulary, out=tmp_path / "day")
    pq.write_table(pq.read_table(uneven).drop_columns(["tags_weights"]), tmp_path / "without.parquet")
    with pytest.raises(EncodingMismatch, match="has no column tags_weights"):
        encode_day(samples=tmp_path / "without.parquet", vocabulary=vocabulary, out=tmp_path / "day")


def test_a_list_of_something_else_than_strings_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "1.parquet", [{"user": "u", "words": [1]}], words=pa.list_(pa.int64()))
    with pytest.raises(VocabularyInvalid, match=r"'words' is list<.*int64>, expected a list of strings"):
        build([path])
    vocabulary = build([write(tmp_path / "2.parquet", [{"user": "u", "words": ["1"]}])])
    with pytest.raises(EncodingMismatch, match=r"'words' is list<.*int64> in the samples, expected a list"):
        encode_day(samples=path, vocabulary=vocabulary, out=tmp_path / "day")


def test_files_whose_lists_disagree_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "1.parquet", [{"user": "u", "words": ["a", "a", "b"]}])
    build([path]).save(tmp_path / "all")
    build([path], min_count=2).save(tmp_path / "frequent")
    (tmp_path / "all" / "layout.json").replace(tmp_path / "frequent" / "layout.json")
    with pytest.raises(VocabularyInvalid, match=r"has 2 rows in layout\.json, but its values make 1"):
        Vocabulary.load(tmp_path / "frequent")


def test_the_digest_depends_on_the_values_in_lists(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{word}.parquet", [{"user": "u", "words": [word]}]) for word in ("a", "b")]
    assert build(paths[:1]).layout == build(paths[1:]).layout
    assert build(paths[:1]).digest != build(paths[1:]).digest
