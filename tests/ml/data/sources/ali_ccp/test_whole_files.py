"""Whole files: random ones and generated ones against a slow reader, and two real rows where they are at hand."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.sources.ali_ccp.features import FeatureParser
from tests.benchmarks.ali_ccp_files import write_ali_ccp
from tests.ml.data.sources.ali_ccp.published_files import FIRST, common, item, land, make_spec, sample, write_part
from tests.ml.data.sources.ali_ccp.published_reference import land_slowly, parse_slowly, pseudo_days

EXCERPT = Path(__file__).resolve().parents[6] / "shared/data/ali_ccp_excerpt/raw_common_features_train_head2.csv"

NUMBERS = st.sampled_from(["101", "124", "205", "216", "853", "210", "210", "150_14", "150_14", "999"])
IDS = st.sampled_from(["1", "2", "3438774", "007", "é", "9" * 14, 'a"b'])
VALUES = st.sampled_from(["1.0", "0.69315", "2.5", "2.5", "-1e-3", "many"])
ITEMS = st.lists(
    st.one_of(*[st.builds(item, NUMBERS, IDS, VALUES)] * 9, st.sampled_from(["205", "205\x021"])), max_size=8
)
COUNTS = st.sampled_from([None, None, None, 0, 3, "x"])
LABELS = st.sampled_from([0, 0, 1, 2, ""])
SAMPLES = st.builds(
    sample,
    st.one_of(st.integers(0, 12), st.just("1e3"), st.just("")),
    st.sampled_from(["a", "b", "b2", "zz"]),
    ITEMS,
    click=LABELS,
    bought=LABELS,
    count=COUNTS,
)
COMMONS = st.lists(st.builds(common, st.sampled_from(["a", "b", "b2"]), ITEMS, count=COUNTS), min_size=1, max_size=4)


@settings(max_examples=50, deadline=None)
@given(
    samples=st.lists(SAMPLES, min_size=1, max_size=12),
    commons=COMMONS,
    days=st.integers(1, 4),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_every_row_lands_as_a_slow_reader_says(samples: list[str], commons: list[str], days: int, end: str) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_part(folder, samples, commons, end=end)
        spec = make_spec(folder, days=days)
        landed = land(spec, *range(days), root=folder / "out")
    expected = land_slowly(samples, commons, fields=spec.fields)
    numbers = [line.partition(",")[0] for line in samples]
    places = pseudo_days([int(number) if number.isdigit() else None for number in numbers], days=days)
    assert sum(len(day) for day in landed) == len(samples)
    for place, day in enumerate(landed):
        assert [row["source_row"] for row in day] == [n + 1 for n, of in enumerate(places) if of == place]
        for row in day:
            wanted = expected[row["source_row"] - 1]
            assert {name: row[name] for name in wanted} == wanted | {"unparsed_columns": row["unparsed_columns"]}
            assert set(row["unparsed_columns"]) == wanted["unparsed_columns"]
            if row["impression_time"] is not None:
                assert (row["impression_time"].date() - FIRST).days == place
            assert (row["impression_time"] is None) == (not numbers[row["source_row"] - 1].isdigit())


def test_generated_files_are_read_without_a_fault(tmp_path: Path) -> None:
    write_ali_ccp(tmp_path, rows=400, test_rows=100)
    spec = make_spec(tmp_path, days=3)
    landed = land(spec, 0, 1, 2, 3, root=tmp_path / "out")
    assert [len(day) for day in landed] == [134, 133, 133, 100]
    assert {tuple(row["unparsed_columns"]) for day in landed for row in day} == {()}
    lines = (tmp_path / "sample_skeleton_train.csv").read_text().splitlines()
    commons = (tmp_path / "common_features_train.csv").read_text().splitlines()
    expected = land_slowly(lines, commons, fields=spec.fields)
    for row in landed[0]:
        wanted = expected[row["source_row"] - 1] | {"unparsed_columns": []}
        assert {name: row[name] for name in wanted} == wanted
    counts = [int(line.split(",")[4]) for line in lines]
    assert (min(counts) >= 19, max(counts) <= 33) == (True, True)
    assert all(330 <= int(line.split(",")[1]) <= 810 for line in commons)


@pytest.mark.shared_data
@pytest.mark.skipif(not EXCERPT.is_file(), reason=f"{EXCERPT} is not there: real rows are kept outside the project")
def test_two_real_rows_hold_as_many_features_as_they_say(tmp_path: Path) -> None:
    lines = EXCERPT.read_bytes().decode().splitlines()
    indexes = [line.split(",")[0] for line in lines]
    fields = make_spec(tmp_path).fields
    texts = [line.split(",", maxsplit=2)[2] for line in lines]
    parsed = FeatureParser(fields).parse(pa.array([text + "\x01" for text in texts]))
    assert parsed.found.tolist() == [343, 811] == [int(line.split(",")[1]) for line in lines]
    samples = [sample(number, index, [item(205, 7)]) for number, index in enumerate(indexes)]
    write_part(tmp_path, samples, lines)
    [rows] = land(make_spec(tmp_path), 0, root=tmp_path / "out")
    assert [row["unparsed_columns"] for row in rows] == [[], []]
    for row, text in zip(rows, texts, strict=True):
        _, values, faults = parse_slowly(text, fields)
        assert faults == []
        assert [row["user"], row["age"]] == values["user"] + values["age"]
        pairs = list(zip(row["brands"], row["brands_weights"], strict=True))
        assert pairs == values["brands"]
        listed: list[Any] = [one.split("\x02") for one in text.split("\x01")]
        assert Counter(number for number, _ in listed)["150_14"] > len(pairs)
        assert row["impression_time"].date() - FIRST == timedelta(0)
