"""Elapsed times, delays and extra stages of encoded days against plain datetimes, and what replaces an older format."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.encoding import EncodedDay, EncodingMismatch, encode_day
from ml.data.fields import FieldSpec
from ml.data.label_timing import TIMING_COLUMNS, elapsed_and_delay
from ml.data.vocabulary import build_vocabulary

START = datetime(2026, 1, 5, tzinfo=UTC)
WINDOW = 100_000
TIME = pa.timestamp("us")


def table(rows: Sequence[dict[str, Any]], horizon: datetime | None, kind: pa.DataType = TIME) -> pa.Table:
    """Samples of events at (impression, click, conversion) seconds after the start, as joined at ``horizon``."""
    columns: dict[str, Any] = {}
    for name in ("impression", "click", "conversion"):
        moments = [None if row[name] is None else START + timedelta(seconds=row[name]) for row in rows]
        columns[f"{name}_time"] = pa.array(moments, pa.timestamp("us", tz="UTC")).cast(kind)
    ages = [None if horizon is None else (horizon - START).total_seconds() - row["impression"] for row in rows]
    columns["label_age_seconds"] = pa.array([None if age is None else int(age // 1) for age in ages], pa.int64())
    columns["mature"] = pa.array([age is None or age >= WINDOW for age in ages], pa.bool_())
    return pa.table(columns)


def timing(samples: pa.Table) -> tuple[list[float], list[float]]:
    elapsed, delay = elapsed_and_delay(samples.column)
    assert elapsed.dtype == delay.dtype == np.float32
    return elapsed.tolist(), delay.tolist()


SECONDS = st.integers(0, 86399)
ROW = st.tuples(SECONDS, st.none() | st.integers(0, 3600), st.none() | st.integers(0, 90_000)).map(
    lambda parts: {
        "impression": parts[0],
        "click": None if parts[1] is None else parts[0] + parts[1],
        "conversion": None if None in parts else parts[0] + parts[1] + parts[2],
    }
)


@settings(deadline=None)
@given(st.lists(ROW, max_size=10), st.integers(90_000, 400_000), st.sampled_from(["us", "ms", "ns"]))
def test_times_agree_with_a_loop(rows: list[dict[str, Any]], seen: int, unit: Any) -> None:
    elapsed, delay = timing(table(rows, START + timedelta(seconds=seen), pa.timestamp(unit)))
    for row, found, waited in zip(rows, elapsed, delay, strict=True):
        if seen - row["impression"] >= WINDOW:
            assert found == np.inf
        else:
            assert found == pytest.approx(seen - (row["click"] if row["click"] is not None else row["impression"]))
        if row["conversion"] is None:
            assert np.isnan(waited)
        else:
            assert waited == pytest.approx(row["conversion"] - row["click"])


def test_complete_labels_leave_nothing_to_wait_for() -> None:
    row = {"impression": 10, "click": 20, "conversion": 50}
    assert timing(table([row], None)) == ([np.inf], [30.0])


def test_rows_that_are_neither_mature_nor_of_known_age_are_refused() -> None:
    samples = table([{"impression": 10, "click": None, "conversion": None}] * 2, START + timedelta(days=1))
    unknown = samples.set_column(3, "label_age_seconds", pa.array([None, 5], pa.int64()))
    with pytest.raises(EncodingMismatch, match="1 rows are not mature and have no label_age_seconds"):
        timing(unknown)


FIELDS = (FieldSpec(name="user", entity="user", kind="id"), FieldSpec(name="item", entity="item", kind="id"))


@pytest.fixture
def encode(tmp_path: Path) -> Callable[..., EncodedDay]:
    """encode(**columns): three rows with these columns beside the necessary ones, as an encoded day."""

    def write(**columns: Any) -> EncodedDay:
        rows = 3
        base = {"user": ["a"] * rows, "item": ["b"] * rows, "click": [1] * rows, "conversion": [0] * rows}
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
        pq.write_table(pa.table({**base, "value": pa.nulls(rows, pa.float64()), **columns}), path, row_group_size=2)
        vocabulary = build_vocabulary(samples=[path], fields=FIELDS, user_key="user", item_key="item", min_count=1)
        return encode_day(samples=path, vocabulary=vocabulary, out=tmp_path / f"{path.stem}.encoded")

    return write


def test_a_day_holds_its_stages_and_times_where_its_samples_do(encode: Callable[..., EncodedDay]) -> None:
    rows = [{"impression": 1, "click": 2, "conversion": None}] * 3
    times = table(rows, START + timedelta(seconds=50))
    assert set(TIMING_COLUMNS) == set(times.column_names)
    columns = {name: times.column(name) for name in times.column_names}
    none, carts = pa.nulls(3, pa.int64()), pa.array([0, 1, 1])
    day = encode(cart=carts, favourite=none, **columns)
    assert {name: labels.tolist() for name, labels in day.stages.items()} == {"cart": [0, 1, 1]}
    assert day.elapsed is not None
    assert day.elapsed.tolist() == [48.0] * 3
    assert day.delay is not None
    assert np.isnan(day.delay).all()
    bare = encode()
    assert (bare.stages, bare.elapsed, bare.delay) == ({}, None, None)


def test_stage_labels_that_are_partly_missing_are_refused(encode: Callable[..., EncodedDay]) -> None:
    with pytest.raises(EncodingMismatch, match="1 of 3 values of cart are not 0 or 1"):
        encode(cart=pa.array([0, None, 1]))


def test_an_older_format_is_encoded_again_and_a_newer_one_refused(
    encode: Callable[..., EncodedDay], tmp_path: Path
) -> None:
    encode(cart=pa.array([0, 1, 1]))
    (out,) = tmp_path.glob("*.encoded")
    manifest = out / "encoding.json"
    content = json.loads(manifest.read_text())
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    samples = tmp_path / f"{out.stem}.parquet"
    vocabulary = build_vocabulary(samples=[samples], fields=FIELDS, user_key="user", item_key="item", min_count=1)
    (out / "stage.cart.npy").unlink()
    manifest.write_text(json.dumps({**content, "format": 1}))
    day = encode_day(samples=samples, vocabulary=vocabulary, out=out)
    assert day.stages["cart"].tolist() == [0, 1, 1]
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([samples.name, out.name])
    manifest.write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(EncodingMismatch, match="encoding format 99"):
        encode_day(samples=samples, vocabulary=vocabulary, out=out)
