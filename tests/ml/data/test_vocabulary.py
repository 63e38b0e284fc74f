"""Vocabularies against a slow count in plain Python, and their files."""

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.fields import FieldSpec
from ml.data.vocabulary import Vocabulary, VocabularyInvalid, build_vocabulary

WriteSamples = Callable[..., Path]
ROWS: list[dict[str, Any]] = [
    {"user": "b", "item": "x", "age": "30", "price": 1.0},
    {"user": "a", "item": "x", "age": None, "price": 2.0},
    {"user": "a", "item": "y", "age": "30", "price": None},
    {"user": "b", "item": "y", "age": "30", "price": 3.0},
    {"user": "c", "item": "x", "age": "40", "price": math.nan},
]


def build(paths: Sequence[Path], fields: Sequence[FieldSpec], min_count: int, threads: int = 1) -> Vocabulary:
    return build_vocabulary(
        samples=paths, fields=fields, user_key="user", item_key="item", min_count=min_count, threads=threads
    )


def reference_values(values: Sequence[str | None], min_count: int) -> list[str]:
    counts = Counter(value for value in values if value is not None)
    kept = [value for value, count in counts.items() if count >= min_count]
    return sorted(kept, key=lambda value: (-counts[value], value.encode()))


def reference_edges(values: Sequence[float | None], buckets: int) -> tuple[float, ...]:
    finite = sorted(value for value in values if value is not None and math.isfinite(value))
    edges = set()
    for share in range(1, buckets):
        for value in finite:
            if sum(other <= value for other in finite) * buckets >= share * len(finite):
                edges.add(value + 0.0)
                break
    return tuple(sorted(edges - {finite[-1]})) if finite else ()


def test_values_are_ordered_by_count_then_value_and_rare_ones_left_out(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    days = [write_samples(tmp_path / "1.parquet", ROWS[:2]), write_samples(tmp_path / "2.parquet", ROWS[2:])]
    vocabulary = build(days, encoding_fields, min_count=2)
    assert vocabulary.values("user").to_pylist() == ["a", "b"]
    assert vocabulary.values("item").to_pylist() == ["x", "y"]
    assert vocabulary.values("age").to_pylist() == ["30"]
    assert vocabulary.values("position").to_pylist() == []
    assert vocabulary.edges == {"price": (1.0, 2.0)}
    columns = {column.name: (column.offset, column.size) for column in vocabulary.layout.columns}
    assert columns == {"user": (0, 3), "age": (3, 2), "item": (5, 3), "price": (8, 4), "position": (12, 1)}
    assert vocabulary.layout.total_rows == 13
    assert [column.name for column in vocabulary.layout.columns if column.bias] == ["position"]
    assert [(s.name, s.of, s.max_length) for s in vocabulary.layout.sequences] == [
        ("history", "item", 3),
        ("prices", "price", 2),
    ]


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(
        st.tuples(
            st.none() | st.text(alphabet="abé\U0001f600 '\"", max_size=2),
            st.none() | st.sampled_from([-0.0, 0.0, 1.0, 1.5, 2.0, math.inf, math.nan]) | st.floats(),
        ),
        max_size=30,
    ),
    min_count=st.integers(1, 3),
)
def test_values_and_edges_are_those_of_a_plain_count(
    write_samples: WriteSamples,
    encoding_fields: tuple[FieldSpec, ...],
    values: list[tuple[str | None, float | None]],
    min_count: int,
) -> None:
    rows = [{"user": text, "price": number} for text, number in values]
    with tempfile.TemporaryDirectory() as folder:
        half = len(rows) // 2
        paths = [
            write_samples(Path(folder, "1.parquet"), rows[:half]),
            write_samples(Path(folder, "2.parquet"), rows[half:]),
        ]
        vocabulary = build(paths, encoding_fields, min_count)
        swapped = build(paths[::-1], encoding_fields, min_count, threads=2)
    assert vocabulary.values("user").to_pylist() == reference_values([text for text, _ in values], min_count)
    assert vocabulary.edges["price"] == reference_edges([number for _, number in values], 4)
    assert swapped.digest == vocabulary.digest


def test_many_ties_leave_fewer_buckets_and_none_empty(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    prices = [0.0] * 90 + [1.0] * 5 + [2.0] * 5
    path = write_samples(tmp_path / "1.parquet", [{"price": price} for price in prices])
    assert build([path], encoding_fields, min_count=1).edges["price"] == (0.0,)


def test_saving_twice_gives_the_same_bytes_and_loading_the_same_vocabulary(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    path = write_samples(tmp_path / "1.parquet", ROWS)
    for name in ("first", "second"):
        build([path], encoding_fields, min_count=1).save(tmp_path / name)
    files = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert files == ["buckets.json", "layout.json", "vocabulary.parquet"]
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    built, loaded = build([path], encoding_fields, min_count=1), Vocabulary.load(tmp_path / "first")
    assert (loaded.layout, loaded.edges, loaded.digest) == (built.layout, built.edges, built.digest)
    assert loaded.values("user").to_pylist() == ["a", "b", "c"]
    assert loaded.table.equals(built.table)


def test_digest_tells_apart_what_only_concatenates_alike(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    one = write_samples(tmp_path / "1.parquet", [{"user": "ab"}, {"user": "c"}])
    two = write_samples(tmp_path / "2.parquet", [{"user": "a"}, {"user": "bc"}])
    assert build([one], encoding_fields, 1).digest != build([two], encoding_fields, 1).digest


def test_an_existing_directory_is_not_overwritten(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    vocabulary = build([write_samples(tmp_path / "1.parquet", ROWS)], encoding_fields, min_count=1)
    vocabulary.save(tmp_path / "vocabulary")
    with pytest.raises(FileExistsError, match="new directory"):
        vocabulary.save(tmp_path / "vocabulary")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.parquet", "vocabulary"]


def test_files_that_lack_a_part_or_disagree_are_refused(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    path = write_samples(tmp_path / "1.parquet", ROWS)
    build([path], encoding_fields, min_count=1).save(tmp_path / "all")
    build([path], encoding_fields, min_count=2).save(tmp_path / "frequent")
    (tmp_path / "all" / "layout.json").replace(tmp_path / "frequent" / "layout.json")
    with pytest.raises(VocabularyInvalid, match=r"lacks layout\.json"):
        Vocabulary.load(tmp_path / "all")
    with pytest.raises(VocabularyInvalid, match=r"'user' has 4 rows in layout\.json, but its values make 3"):
        Vocabulary.load(tmp_path / "frequent")


def test_samples_without_a_field_are_refused_by_name(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    path = write_samples(tmp_path / "1.parquet", ROWS)
    with pytest.raises(VocabularyInvalid, match=r"1\.parquet has no column brand"):
        build([path], [*encoding_fields, FieldSpec(name="brand", entity="item")], min_count=1)
    with pytest.raises(VocabularyInvalid, match="at least one samples file"):
        build([], encoding_fields, min_count=1)


def test_a_folder_named_like_a_partition_adds_no_column(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    folder = tmp_path / "user=zzz"
    folder.mkdir()
    path = write_samples(folder / "samples.parquet", ROWS)
    assert build([path], encoding_fields, min_count=1).values("user").to_pylist() == ["a", "b", "c"]


def test_files_with_their_columns_in_another_order_are_counted_by_name(
    tmp_path: Path, write_samples: WriteSamples, encoding_fields: tuple[FieldSpec, ...]
) -> None:
    first = write_samples(tmp_path / "1.parquet", ROWS)
    table = pq.read_table(first)
    pq.write_table(table.select(table.column_names[::-1]), tmp_path / "2.parquet")
    vocabulary = build([first, tmp_path / "2.parquet"], encoding_fields, min_count=4)
    assert vocabulary.table.drop_columns(["local_id"]).to_pylist() == [
        {"field": "user", "value": "a", "count": 4},
        {"field": "user", "value": "b", "count": 4},
        {"field": "age", "value": "30", "count": 6},
        {"field": "item", "value": "x", "count": 6},
        {"field": "item", "value": "y", "count": 4},
    ]
