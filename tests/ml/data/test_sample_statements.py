"""Which rows a day's samples have beyond its labels: copies, repeats, implied clicks, derived fields, their order."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ml.data.samples
from ml.data.engine import connect, write_parquet
from ml.data.samples import DerivedMismatch, LabelEvents, in_order, join_day
from tests.ml.data.sample_files import NOON, TEXTS, credit, dataset, join, shown, tally, touch, write


def test_a_repeated_delivery_is_a_row_with_its_place_and_adds_no_value(tmp_path: Path) -> None:
    again = credit(None, 20, impression_id="a", value=5.0, order_id="o", duplicate_rank=2)
    joined, [one, repeat] = join(tmp_path, [shown("a")], [], [credit("a", 20, value=5.0, order_id="o"), again])
    assert (one["value"], one["duplicate_rank"]) == (5.0, 1)
    assert (repeat["row_kind"], repeat["duplicate_rank"], repeat["order_id"]) == ("conversion", 2, "o")
    assert joined.events["conversion"] == tally(arrived=2, credited=1, repeated=1)


def test_copies_are_ranked_in_landed_order_and_rows_without_id_are_no_copies(tmp_path: Path) -> None:
    names = ["a", None, "b", "a", None, "a"]
    _, rows = join(tmp_path, [shown(name) for name in names])
    assert [row["impression_id"] for row in rows] == names
    assert [row["duplicate_rank"] for row in rows] == [1, 1, 1, 2, 1, 3]
    assert {row["duplicate_conflict"] for row in rows} == {False}


@pytest.mark.parametrize(
    "change",
    [
        {"impression_time": NOON + timedelta(seconds=1)},
        {"impression_time": None},
        {"user_key": "other"},
        {"item_key": "other"},
        {"item": None},
        {"price": float("nan")},
        {"seen": []},
        {"seen_weights": [0.25]},
    ],
)
def test_a_copy_with_other_content_is_a_conflict_and_one_from_another_place_is_none(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    nan = {"price": float("nan")} if "user_key" in change else {}
    same = shown("a", source_file="g", unparsed_columns=["price=?"], **nan)
    _, rows = join(tmp_path, [shown("a", **nan), shown("b"), same, shown("a", **nan) | change])
    assert [row["duplicate_conflict"] for row in rows] == [False, False, False, True]


def test_what_is_credited_to_any_row_of_a_repeated_id_labels_the_first_alone(tmp_path: Path) -> None:
    later = NOON + timedelta(minutes=1)
    rows = [shown("a", impression_time=later), shown("a"), shown("a"), shown("b")]
    touches = [touch("a", 2), touch("a", 3, shown_time=later)]
    joined, rows = join(
        tmp_path, rows, touches, [credit("a", 30, value=5.0), credit("a", 40, credited_time=later, value=2.0)]
    )
    assert [(row["click"], row["conversion"], row["value"]) for row in rows] == [(1, 1, 7.0), *[(0, 0, None)] * 3]
    assert rows[0]["click_time"] == NOON + timedelta(minutes=2)
    assert (joined.clicks, joined.conversions) == (1, 1)


def test_an_implied_click_is_its_impressions_whatever_its_id_and_never_a_row_of_its_own(tmp_path: Path) -> None:
    joined, rows = join(
        tmp_path,
        [shown("a"), shown(None), shown("c", impression_time=None)],
        [touch("a", 0, click_id="a"), touch(None, 0, click_id=None), touch("c", None, shown_time=None, click_id="c")],
        spec=dataset(implied=True),
    )
    assert [(row["row_kind"], row["click"], row["click_time"]) for row in rows] == [
        ("impression", 1, NOON),
        ("impression", 1, NOON),
        ("impression", 1, None),
    ]
    assert list(joined.events) == ["conversion"]


HISTORY = {"name": "clicked", "entity": "user", "kind": "sequence", "of": "item", "behaviour": "click"}
RATE = {"name": "rate", "entity": "item", "kind": "number"}
RATE |= {"aggregate": {"by": ["item"], "count": "click", "per": "impression"}}


def derive(folder: Path, rows: Sequence[int]) -> Path:
    types = {"source_row": pa.int64(), "clicked": TEXTS, "rate": pa.float64()}
    values = [{"source_row": row, "clicked": [f"i{row}"], "rate": row / 4} for row in rows]
    return write(folder / "derived.parquet", types, values)


def test_derived_fields_stand_in_the_place_that_the_spec_gives_them(tmp_path: Path) -> None:
    spec = dataset(derived=[HISTORY, RATE])
    names = ["a", "b", "a"]
    _, rows = join(
        tmp_path,
        [shown(name) for name in names],
        [touch("b", 1), touch(None, 1)],
        spec=spec,
        derived=derive(tmp_path, [1, 2, 3]),
    )
    assert [(row["clicked"], row["rate"], row["click"]) for row in rows] == [
        (["i1"], 0.25, 0),
        (["i2"], 0.5, 1),
        (["i3"], 0.75, 0),
        (None, None, 1),
    ]
    assert pq.read_schema(tmp_path / "samples.parquet").names[-4:] == ["seen", "seen_weights", "clicked", "rate"]


@pytest.mark.parametrize("rows", [[1, 2], [1, 2, 3, 4], [2, 1, 3]])
def test_derived_fields_of_other_impressions_are_refused(tmp_path: Path, rows: list[int]) -> None:
    spec = dataset(derived=[HISTORY, RATE])
    with pytest.raises(DerivedMismatch, match="differ at"):
        join(tmp_path, [shown("a"), shown("b"), shown("c")], spec=spec, derived=derive(tmp_path, rows))


def test_derived_fields_are_given_exactly_where_the_spec_has_some(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"of the spec: rate; file of derived fields: None"):
        join(tmp_path, [shown("a")], spec=dataset(derived=[RATE]))
    with pytest.raises(ValueError, match=r"of the spec: none; file of derived fields: .*derived"):
        join(tmp_path, [shown("a")], derived=derive(tmp_path, [1]))


def test_the_same_events_give_the_same_bytes(tmp_path: Path) -> None:
    """Several row groups, two threads, values that add up to something else in another order."""
    made, noon = 300_000, "TIMESTAMP '2026-03-02 12:00:00'"
    time, place = (
        f"{noon} + INTERVAL (n % {made - 900}) MILLISECOND",
        "n + 1 AS source_row, n AS source_line, 'f' AS source_file",
    )
    name, empty = f"'i' || (n % {made - 900})", "CAST([] AS VARCHAR[]) AS unparsed_columns"
    keys = "'u' AS user_key, 'i' AS item_key"
    fields = (
        "'u' || (n % 977) AS user, 'i' AS item, n / 7 AS price, ['i'] AS seen, [0.5] AS seen_weights, 'u' AS unit_key"
    )
    files = {
        "impressions": f"SELECT {name} AS impression_id, {time} AS impression_time, {keys}, {fields}, {empty}, {place} "
        f"FROM range({made}) AS made(n)",
        "touches": f"SELECT {name} AS named_impression, {name} AS shown_impression, {time} AS shown_time, {keys}, "
        f"{time} AS click_time, FALSE AS late, {empty}, {place} FROM range(0, {made - 900}, 7) AS made(n)",
        "credits": f"SELECT 'i' || (n % 50) AS credited_impression, {noon} AS credited_click_time, "
        f"{noon} + INTERVAL (n % 50) MILLISECOND AS credited_time, "
        f"NULL AS impression_id, {keys}, {noon} + INTERVAL (n % 7) MINUTE AS conversion_time, "
        f"0.1 * n AS value, 'o' || n AS order_id, FALSE AS late, 1 AS duplicate_rank, {empty}, {place} "
        "FROM range(2000) AS made(n)",
    }
    with connect(scratch=tmp_path) as connection:
        for stream, query in files.items():
            write_parquet(connection, query, tmp_path / f"{stream}.parquet")
    outs = [tmp_path / f"samples-{run}.parquet" for run in range(3)]
    for out in outs:
        joined = join_day(
            spec=dataset(),
            impressions=tmp_path / "impressions.parquet",
            events=LabelEvents(touches=[tmp_path / "touches.parquet"], credits=[tmp_path / "credits.parquet"]),
            horizon=datetime(2026, 3, 9, tzinfo=UTC),
            scratch=tmp_path,
            out=out,
        )
        assert (joined.rows, joined.clicks, joined.conversions) == (made, -(-(made - 900) // 7), 50)
    assert pq.ParquetFile(outs[0]).metadata.num_row_groups > 2
    assert pq.read_table(outs[0])["source_row"].to_pylist() == list(range(1, made + 1))
    assert len({hashlib.sha256(out.read_bytes()).hexdigest() for out in outs}) == 1


def test_rows_that_come_out_of_order_are_sorted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impressions = [shown(name, source_row=row) for name, row in (("b", 2), ("a", 1), ("c", 3))]
    events = {"touches": [touch(None, 5), touch("a", 1)], "credits": [credit(None, 5)]}
    _, rows = join(tmp_path, impressions, **events)
    assert [row["impression_id"] for row in rows] == ["a", "b", "c", None, None]
    with connect(scratch=tmp_path) as connection:
        assert in_order(connection, tmp_path / "samples.parquet")
        monkeypatch.setattr(ml.data.samples, "in_order", lambda connection, out: True)
        join(tmp_path, impressions, **events)
        assert not in_order(connection, tmp_path / "samples.parquet")
