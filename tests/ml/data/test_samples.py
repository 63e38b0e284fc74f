"""A day's samples: labels, orphans, copies, label age and maturity at their exact boundaries, and the same bytes."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.data.dataset import DatasetSpec
from ml.data.samples import EventTally, JoinedDay, LabelEvents, day_start, join_day, label_horizon

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12)
TEXT, TIME, TEXTS = pa.string(), pa.timestamp("us"), pa.list_(pa.string())
PLACE = {"unparsed_columns": TEXTS, "source_file": TEXT, "source_row": pa.int64()}
KEYS = {"user_key": TEXT, "item_key": TEXT}
IMPRESSION = {"impression_id": TEXT, **KEYS, "unit_key": TEXT, "impression_time": TIME, **PLACE}
FIELD_TYPES = {"user": TEXT, "item": TEXT, "price": pa.float64(), "seen": TEXTS}
TOUCH = {"click_id": TEXT, "named_impression": TEXT, "shown_impression": TEXT, "shown_time": TIME, **KEYS}
TOUCH |= {"click_time": TIME, "late": pa.bool_(), **PLACE}
CREDIT = {"click_id": TEXT, "impression_id": TEXT, **KEYS, "conversion_time": TIME, "value": pa.float64()}
CREDIT |= {
    "order_id": TEXT,
    "credited_impression": TEXT,
    "credited_time": TIME,
    "credited_click_time": TIME,
    "late": pa.bool_(),
    **PLACE,
}
LABELS = {"click": pa.int64(), "conversion": pa.int64(), "click_time": TIME, "conversion_time": TIME}
LABELS |= {"value": pa.float64(), "order_id": TEXT}


def dataset(*, implied: bool = False, click_window: int = 3600, days: int = 1) -> DatasetSpec:
    table: dict[str, Any] = {"path": "-", "format": "csv", "time": "t"}
    clicks = "implied" if implied else table | {"impression_id": "i"}
    return DatasetSpec.model_validate(
        {
            "name": "log",
            "days": {"first": DAY},
            "source": {
                "kind": "event_streams",
                "impressions": table | {"impression_id": "i"},
                "clicks": clicks,
                "conversions": table | {"refers_to": "click_id", "click_id": "c"},
            },
            "fields": [
                {"name": "user", "entity": "user"},
                {"name": "item", "entity": "item"},
                {"name": "price", "entity": "item", "kind": "number"},
                {"name": "seen", "entity": "user", "kind": "sequence", "of": "item"},
            ],
            "user_key": "user",
            "item_key": "item",
            "attribution": {"click_window_seconds": click_window, "conversion_window_days": days},
        }
    )


def write(path: Path, types: Mapping[str, pa.DataType], rows: Sequence[Mapping[str, Any]]) -> Path:
    filled = [{"unparsed_columns": [], "source_file": "f", "late": False, **row} for row in rows]
    numbered = [{"source_row": n, **row} for n, row in enumerate(filled, 1)]
    columns = {name: pa.array([row.get(name) for row in numbered], kind) for name, kind in types.items()}
    pq.write_table(pa.table(columns), path)
    return path


def join(
    folder: Path,
    impressions: Sequence[Mapping[str, Any]],
    touches: Sequence[Mapping[str, Any]] = (),
    credits: Sequence[Mapping[str, Any]] = (),
    *,
    spec: DatasetSpec | None = None,
    horizon: datetime = datetime(2026, 3, 9, tzinfo=UTC),
) -> tuple[JoinedDay, list[dict[str, Any]]]:
    joined = join_day(
        spec=spec or dataset(),
        impressions=write(folder / "impressions.parquet", IMPRESSION | FIELD_TYPES, impressions),
        events=LabelEvents(
            touches=[write(folder / "touches.parquet", TOUCH, touches)],
            credits=[write(folder / "credits.parquet", CREDIT, credits)],
        ),
        horizon=horizon,
        scratch=folder / "scratch",
        out=folder / "samples.parquet",
    )
    return joined, pq.ParquetFile(folder / "samples.parquet").read().to_pylist()


def shown(name: str | None, **more: Any) -> dict[str, Any]:
    return {
        "impression_id": name,
        "impression_time": NOON,
        "user": "u",
        "item": "i",
        "price": 1.5,
        "seen": ["i"],
    } | more


def touch(name: str | None, minutes: int | None, **more: Any) -> dict[str, Any]:
    time = None if minutes is None else NOON + timedelta(minutes=minutes)
    return {"shown_impression": name, "named_impression": name, "shown_time": NOON, "click_time": time} | more


def credit(name: str | None, minutes: int | None, **more: Any) -> dict[str, Any]:
    time = None if minutes is None else NOON + timedelta(minutes=minutes)
    return {"credited_impression": name, "credited_time": NOON, "conversion_time": time} | more


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
    assert [one[name] for name in FIELD_TYPES] == ["u", "i", 1.5, ["i"]]
    assert (joined.rows, joined.impressions, joined.clicks, joined.conversions) == (2, 2, 1, 1)
    assert joined.click_events == EventTally(arrived=3, credited=2, late=1, orphaned=0)
    assert joined.conversion_events == EventTally(arrived=3, credited=2, late=1, orphaned=0)


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
    assert joined.click_events == EventTally(arrived=2, credited=0, late=0, orphaned=2)
    assert joined.conversion_events == EventTally(arrived=2, credited=0, late=0, orphaned=2)


def test_copies_are_ranked_in_landed_order_and_rows_without_id_are_no_copies(tmp_path: Path) -> None:
    names = ["a", None, "b", "a", None, "a"]
    _, rows = join(tmp_path, [shown(name) for name in names])
    assert [row["impression_id"] for row in rows] == names
    assert [row["duplicate_rank"] for row in rows] == [1, 1, 1, 2, 1, 3]


@pytest.mark.parametrize(
    ("spec", "final"),
    [
        (dataset(), timedelta(days=1, hours=1)),
        (dataset(implied=True, days=2), timedelta(days=2)),
        (dataset(click_window=90, days=0), timedelta(seconds=90)),
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
    assert (joined.rows, joined.click_events, joined.conversion_events) == (1, None, None)


def test_both_kinds_of_log_give_the_same_columns_of_the_contract(tmp_path: Path) -> None:
    join(tmp_path, [shown("a")])
    schema = pq.read_schema(tmp_path / "samples.parquet")
    path = write(tmp_path / "wide.parquet", IMPRESSION | FIELD_TYPES | LABELS, [])
    out = tmp_path / "wide-samples.parquet"
    join_day(spec=dataset(), impressions=path, events=None, horizon=None, scratch=tmp_path, out=out)
    assert pq.read_schema(out) == schema
    expected = ["row_kind", "impression_id", "user_key", "item_key", "unit_key", "impression_time", "click_time"]
    expected += ["conversion_time", "click", "conversion", "value", "order_id", "label_age_seconds", "mature"]
    expected += ["duplicate_rank", "unparsed_count", "unparsed_columns", "source_file", "source_row", *FIELD_TYPES]
    assert schema.names == expected
    assert {str(schema.field(name).type) for name in ("impression_time", "click_time")} == {"timestamp[us]"}


def test_the_same_events_give_the_same_bytes(tmp_path: Path) -> None:
    impressions = [shown(f"i{n % 900}", impression_time=NOON + timedelta(seconds=n)) for n in range(1_000)]
    credits = [credit(f"i{n % 50}", n % 7, value=0.1 * n, order_id=f"o{n}") for n in range(2_000)]
    digests = set()
    for run in range(3):
        (tmp_path / str(run)).mkdir()
        join(tmp_path / str(run), impressions, [touch(f"i{n}", n % 60) for n in range(300)], credits)
        digests.add(hashlib.sha256((tmp_path / str(run) / "samples.parquet").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_days_begin_at_local_midnight_also_around_a_clock_change() -> None:
    assert day_start(date(2026, 3, 8), "America/New_York") == datetime(2026, 3, 8, 5, tzinfo=UTC)
    assert day_start(date(2026, 3, 9), "America/New_York") == datetime(2026, 3, 9, 4, tzinfo=UTC)
    spec = dataset().model_copy(update={"timezone": "Asia/Shanghai"})
    assert label_horizon(spec=spec, last_observed=DAY) == datetime(2026, 3, 2, 16, tzinfo=UTC)
