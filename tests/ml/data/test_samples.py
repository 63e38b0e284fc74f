"""A day's samples: labels, orphans, wide logs, label age and maturity at their exact boundaries."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ml.data.dataset import DatasetSpec
from ml.data.samples import day_mature, day_start, join_day, label_horizon
from tests.ml.data.sample_files import (
    DAY,
    FIELD_TYPES,
    IMPRESSION,
    LABELS,
    NOON,
    cart,
    credit,
    dataset,
    join,
    shown,
    tally,
    touch,
    write,
)


def test_labels_are_the_first_click_and_conversion_and_the_sum_of_values(tmp_path: Path) -> None:
    joined, [one, two] = join(
        tmp_path,
        [shown("a", unparsed_columns=["price=?"]), shown("b")],
        [touch("a", 9), touch("a", 3), touch("b", 61, late=True)],
        [
            credit("a", 30, value=5.0, order_id="o2"),
            credit("a", 20, value=2.5, order_id="o1", unparsed_columns=["value=x"]),
            credit("a", 9999, value=100.0, late=True),
        ],
    )
    assert (one["click"], one["click_time"]) == (1, NOON + timedelta(minutes=3))
    assert (one["conversion"], one["conversion_time"]) == (1, NOON + timedelta(minutes=20))
    assert (one["value"], one["order_id"]) == (7.5, "o1")
    assert (one["unparsed_count"], one["unparsed_columns"]) == (2, ["price=?", "value=x"])
    assert [two[name] for name in LABELS] == [0, 0, None, None, None, None]
    assert [one[name] for name in FIELD_TYPES] == ["u", "i", 1.5, ["i"], [0.5]]
    assert (one["source_row"], one["source_line"]) == (1, 2)
    assert [one[name] for name in ("cart", "favourite", "cart_time", "favourite_time")] == [None] * 4
    assert (joined.rows, joined.impressions, joined.clicks, joined.conversions) == (2, 2, 1, 1)
    counts = tally(arrived=3, credited=2, late=1)
    assert joined.events == {"click": counts, "conversion": counts}


def test_of_several_clicks_the_one_that_the_conversion_followed_is_kept(tmp_path: Path) -> None:
    """Its window runs from there: held against the first click, a conversion inside its window looked late."""
    _, [one] = join(
        tmp_path,
        [shown("a")],
        [touch("a", 3), touch("a", 50)],
        [credit("a", 70, credited_click_time=NOON + timedelta(minutes=50))],
    )
    assert one["click_time"] == NOON + timedelta(minutes=50)


def test_an_id_that_another_day_repeats_takes_no_label_a_second_time(tmp_path: Path) -> None:
    yesterday = NOON - timedelta(days=1)
    _, [one] = join(
        tmp_path,
        [shown("a")],
        [touch("a", 3, shown_time=yesterday)],
        [credit("a", 30, credited_time=yesterday, credited_click_time=NOON)],
    )
    assert [one[name] for name in LABELS] == [0, 0, None, None, None, None]


def test_events_of_no_impression_become_rows_of_their_own(tmp_path: Path) -> None:
    joined, rows = join(
        tmp_path,
        [shown("a")],
        [touch(None, 1, named_impression="gone"), touch("a", None, unparsed_columns=["click_time=?"])],
        [credit(None, 5, impression_id="gone", value=3.0), credit("a", None, unparsed_columns=["conversion_time=?"])],
    )
    assert [row["row_kind"] for row in rows] == ["impression", "click", "click", "conversion", "conversion"]
    assert (rows[0]["click"], rows[0]["conversion"]) == (0, 0)
    assert [(row["impression_id"], row["click"], row["conversion"]) for row in rows[1:3]] == [
        ("gone", 1, None),
        ("a", 1, None),
    ]
    assert [(row["impression_id"], row["value"], row["conversion"]) for row in rows[3:]] == [
        ("gone", 3.0, 1),
        (None, None, 1),
    ]
    assert [row["unparsed_columns"] for row in rows[1:]] == [[], ["click_time=?"], [], ["conversion_time=?"]]
    assert {row["duplicate_rank"] for row in rows[1:]} == {None}
    assert {row["mature"] for row in rows[1:]} == {False}
    assert joined.events == dict.fromkeys(("click", "conversion"), tally(arrived=2, orphaned=2))


def test_carts_label_their_impression_like_clicks_and_favourites_nobody_has_stay_unknown(tmp_path: Path) -> None:
    joined, rows = join(
        tmp_path,
        [shown("a"), shown("b"), shown("c")],
        carts=[cart("a", 9), cart("a", 3), cart("b", 99, late=True), cart(None, 5, impression_id="gone")],
    )
    assert [(row["row_kind"], row["cart"], row["cart_time"]) for row in rows] == [
        ("impression", 1, NOON + timedelta(minutes=3)),
        ("impression", 0, None),
        ("impression", 0, None),
        ("cart", 1, NOON + timedelta(minutes=5)),
    ]
    assert {(row["favourite"], row["favourite_time"]) for row in rows} == {(None, None)}
    assert (rows[3]["impression_id"], rows[3]["click"], rows[3]["conversion"]) == ("gone", None, None)
    assert joined.events["cart"] == tally(arrived=4, credited=2, late=1, orphaned=1)


@pytest.mark.parametrize(
    ("spec", "final"),
    [
        (dataset(), timedelta(days=1, hours=1)),
        (dataset(implied=True, days=2), timedelta(days=2)),
        (dataset(click_window=90), timedelta(days=1, seconds=90)),
        (dataset(carts=True, stage_window_seconds=3 * 86400), timedelta(days=3, hours=1)),
    ],
)
def test_labels_are_mature_from_the_last_instant_on_that_could_change_them(
    tmp_path: Path, spec: DatasetSpec, final: timedelta
) -> None:
    horizon = NOON + final
    times = [NOON, NOON + timedelta(microseconds=1), NOON - timedelta(microseconds=1), None]
    _, rows = join(
        tmp_path,
        [shown(f"{n}", impression_time=time) for n, time in enumerate(times)],
        carts=[] if "cart" in spec.stages else None,
        spec=spec,
        horizon=horizon.replace(tzinfo=UTC),
    )
    seconds = int(final.total_seconds())
    assert [row["label_age_seconds"] for row in rows] == [seconds, seconds - 1, seconds, None]
    assert [row["mature"] for row in rows] == [True, False, True, False]


def test_a_wide_log_has_its_labels_as_published_and_no_age(tmp_path: Path) -> None:
    rows = [shown("a") | {"click": 7, "conversion": None, "value": 2.0}]
    path = write(tmp_path / "impressions.parquet", IMPRESSION | FIELD_TYPES | LABELS, rows)
    out = tmp_path / "samples.parquet"
    joined = join_day(spec=dataset(), impressions=path, events=None, horizon=None, scratch=tmp_path, out=out)
    [row] = pq.ParquetFile(out).read().to_pylist()
    assert (row["row_kind"], row["click"], row["conversion"], row["value"]) == ("impression", 7, None, 2.0)
    assert (row["label_age_seconds"], row["mature"], row["duplicate_rank"]) == (None, True, 1)
    assert (row["cart"], row["favourite"], row["duplicate_conflict"], row["source_line"]) == (None, None, False, 2)
    assert (joined.rows, joined.events) == (1, {})


def test_both_kinds_of_log_give_the_same_columns_of_the_contract(tmp_path: Path) -> None:
    join(tmp_path, [shown("a")])
    schema = pq.read_schema(tmp_path / "samples.parquet")
    path = write(tmp_path / "wide.parquet", IMPRESSION | FIELD_TYPES | LABELS, [])
    out = tmp_path / "wide-samples.parquet"
    join_day(spec=dataset(), impressions=path, events=None, horizon=None, scratch=tmp_path, out=out)
    assert pq.read_schema(out) == schema
    expected = ["row_kind", "impression_id", "user_key", "item_key", "unit_key", "impression_time", "click_time"]
    expected += ["conversion_time", "cart_time", "favourite_time", "click", "conversion", "cart", "favourite", "value"]
    expected += ["order_id", "label_age_seconds", "mature", "duplicate_rank", "duplicate_conflict", "unparsed_count"]
    expected += ["unparsed_columns", "source_file", "source_row", "source_line", *FIELD_TYPES]
    assert schema.names == expected
    assert {str(schema.field(name).type) for name in ("impression_time", "click_time")} == {"timestamp[us]"}


def test_a_day_is_mature_once_its_last_impression_is(tmp_path: Path) -> None:
    final = day_start(DAY + timedelta(days=1), "UTC") + timedelta(days=1, hours=1)
    mature = [day_mature(spec=dataset(), day=DAY, horizon=final - timedelta(seconds=late)) for late in (0, 1)]
    assert mature == [True, False]
    assert day_mature(spec=dataset(), day=DAY, horizon=None)


def test_days_begin_at_local_midnight_also_around_a_clock_change() -> None:
    assert day_start(date(2026, 3, 8), "America/New_York") == datetime(2026, 3, 8, 5, tzinfo=UTC)
    assert day_start(date(2026, 3, 9), "America/New_York") == datetime(2026, 3, 9, 4, tzinfo=UTC)
    spec = dataset().model_copy(update={"timezone": "Asia/Shanghai"})
    assert label_horizon(spec=spec, last_observed=DAY) == datetime(2026, 3, 2, 16, tzinfo=UTC)
