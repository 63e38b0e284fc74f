"""Each click and each conversion against a slow plain-Python reference, in every way that a log can refer."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ml.data.attribution import credit_conversions, credit_lookback, lookback, resolve_touches, touch_lookback
from ml.data.dataset import DatasetSpec
from ml.data.samples import LabelEvents, join_day, label_horizon
from tests.ml.data.attribution_reference import CLICK_WINDOW, Event, reference_credit, reference_touches

FIRST = date(2026, 3, 2)
DAYS = 3
TEXTS = pa.list_(pa.string())
PLACE = {"unparsed_columns": TEXTS, "source_file": pa.string(), "source_row": pa.int64()}
KEYS = {"user_key": pa.string(), "item_key": pa.string()}
TYPES = {
    "impressions": {"impression_id": pa.string(), "impression_time": pa.timestamp("us"), **KEYS, **PLACE}
    | {"unit_key": pa.string(), "user": pa.string(), "item": pa.string()},
    "clicks": {
        "click_id": pa.string(),
        "impression_id": pa.string(),
        "click_time": pa.timestamp("us"),
        **KEYS,
        **PLACE,
    },
    "conversions": {"click_id": pa.string(), "impression_id": pa.string(), "conversion_time": pa.timestamp("us")}
    | {**KEYS, **PLACE, "value": pa.float64(), "order_id": pa.string()},
}


def dataset(clicks: str, conversions: str) -> DatasetSpec:
    table: dict[str, Any] = {"path": "-", "format": "csv", "time": "time"}
    columns = {"impression_id": "i", "click_id": "c", "user": "u", "item": "i"}
    return DatasetSpec.model_validate(
        {
            "name": "log",
            "days": {"first": FIRST},
            "source": {
                "kind": "event_streams",
                "impressions": table | {"impression_id": "i"},
                "clicks": clicks if clicks == "implied" else table | columns | {"refers_to": clicks},
                "conversions": table | columns | {"refers_to": conversions},
            },
            "fields": [{"name": "user", "entity": "user"}, {"name": "item", "entity": "item"}],
            "user_key": "user",
            "item_key": "item",
            "attribution": {"click_window_seconds": CLICK_WINDOW * 3600, "conversion_window_days": 1},
        }
    )


def write_day(folder: Path, stream: str, events: Sequence[Event], day: int, mode: str = "") -> Path:
    """The landed file of one day; `names` goes to the column that the mode refers by."""
    rows = []
    for event in (event for event in events if event.day == day):
        time = None if event.hour is None else datetime(2026, 3, 2) + timedelta(hours=event.hour)
        row: dict[str, Any] = {"user_key": event.user, "item_key": event.item, "source_file": f"{stream}-{day}"}
        row |= {"source_row": event.row, "unparsed_columns": [], "value": event.value, stream[:-1] + "_time": time}
        row |= {stream[:-1] + "_id": event.id, "user": event.user, "item": event.item}
        row |= {mode: event.names} if mode in ("click_id", "impression_id") else {}
        rows.append(row)
    path = folder / f"{stream}-{day}.parquet"
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in TYPES[stream].items()}
    pq.write_table(pa.table(columns), path)
    return path


def run_chain(
    folder: Path, spec: DatasetSpec, click_mode: str, conversion_mode: str, streams: dict[str, list[Event]]
) -> dict[str, list[Path]]:
    """Every day's landed files, touches, credits and samples, made as the assets make them."""
    made: dict[str, list[Path]] = {"touches": [], "credits": [], "samples": []}
    modes = {"impressions": "", "clicks": click_mode, "conversions": conversion_mode}
    for stream, mode in modes.items():
        made[stream] = [write_day(folder, stream, streams[stream], day, mode) for day in range(DAYS)]
    for day in range(DAYS):
        out = folder / f"touches-{day}.parquet"
        shown = made["impressions"][max(0, day - touch_lookback(spec)) : day + 1]
        clicks = None if spec.clicks_implied else made["clicks"][day]
        resolve_touches(spec=spec, clicks=clicks, impressions=shown, scratch=folder, out=out)
        made["touches"].append(out)
        reach = slice(max(0, day - credit_lookback(spec)), day + 1)
        out = folder / f"credits-{day}.parquet"
        credit_conversions(
            spec=spec,
            conversions=made["conversions"][day],
            touches=made["touches"][reach],
            impressions=made["impressions"][reach],
            scratch=folder,
            out=out,
        )
        made["credits"].append(out)
    horizon = label_horizon(spec=spec, last_observed=FIRST + timedelta(days=DAYS - 1))
    for day in range(DAYS):
        seen = slice(day, day + spec.label_days + 1)
        events = LabelEvents(touches=made["touches"][seen], credits=made["credits"][seen])
        out = folder / f"samples-{day}.parquet"
        join_day(
            spec=spec, impressions=made["impressions"][day], events=events, horizon=horizon, scratch=folder, out=out
        )
        made["samples"].append(out)
    return made


def read(path: Path) -> list[dict[str, Any]]:
    return pq.ParquetFile(path).read().to_pylist()


MODES = [
    (clicks, conversions)
    for clicks in ("impression_id", "user_item_time", "implied")
    for conversions in ("click_id", "impression_id", "user_item_time")
]
hours = st.integers(0, DAYS * 24 - 1)
maybe_hours = st.one_of(hours, hours, hours, st.none())
users, items = st.sampled_from(["ann", "bob", None]), st.sampled_from(["pen", "ink"])


def numbered(events: list[Event], ids: Sequence[str | None]) -> list[Event]:
    ordered = sorted(events, key=lambda event: event.day)
    return [
        Event(e.hour, e.user, e.item, id=ids[i % len(ids)], names=e.names, value=2.0**i, row=i + 1)
        for i, e in enumerate(ordered)
    ]


@st.composite
def logs(draw: st.DrawFn, click_mode: str, conversion_mode: str) -> dict[str, list[Event]]:
    shown = draw(st.lists(st.builds(Event, hours, users, items), min_size=8, max_size=20))
    impressions = numbered(shown, [f"i{n}" if n != 6 else None for n in range(20)])
    ids = st.sampled_from(["gone", None, *(e.id for e in impressions)])
    clicks = numbered(
        draw(st.lists(st.builds(Event, maybe_hours, users, items, names=ids), min_size=8, max_size=20)),
        ["c0", "c1", "c2", "c3", "c1", None, "c4", "c5", "c6"],
    )
    click_ids = [e.id for e in (impressions if click_mode == "implied" else clicks)]
    named = st.sampled_from(["gone", None, *click_ids]) if conversion_mode == "click_id" else ids
    conversions = draw(st.lists(st.builds(Event, maybe_hours, users, items, names=named), min_size=8, max_size=20))
    return {"impressions": impressions, "clicks": clicks, "conversions": numbered(conversions, [None])}


@pytest.mark.parametrize(("click_mode", "conversion_mode"), MODES)
@settings(max_examples=4, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(data=st.data())
def test_every_event_goes_where_the_reference_says_exactly_once(
    click_mode: str, conversion_mode: str, data: st.DataObject
) -> None:
    streams = data.draw(logs(click_mode, conversion_mode))
    spec = dataset(click_mode, conversion_mode)
    touches = reference_touches(click_mode, streams["impressions"], streams["clicks"], touch_lookback(spec))
    credit = {
        event.row: reference_credit(conversion_mode, event, streams["impressions"], touches)
        for event in streams["conversions"]
    }
    with TemporaryDirectory() as folder:
        made = run_chain(Path(folder), spec, click_mode, conversion_mode, streams)
        touched = [row for path in made["touches"] for row in read(path)]
        assert [(row["shown_impression"], row["late"]) for row in touched] == [(t.shown, t.late) for t in touches]
        credited = [row for path in made["credits"] for row in read(path)]
        assert {row["source_row"]: (row["credited_impression"], row["late"]) for row in credited} == credit
        assert len(credited) == len(streams["conversions"])
        samples = [row for path in made["samples"] for row in read(path)]
    shown = [row for row in samples if row["row_kind"] == "impression"]
    assert len(shown) == len(streams["impressions"])
    # Values are powers of two: their sum tells which conversions were counted, and that none was counted twice.
    counted = {
        e.row for e in streams["conversions"] if credit[e.row][0] and not credit[e.row][1] and e.hour is not None
    }
    assert sum(row["value"] or 0 for row in shown) == sum(2.0 ** (row - 1) for row in counted)
    clicked = {t.shown for t in touches if t.shown and not t.late and t.click.hour is not None}
    assert {row["impression_id"] for row in shown if row["click"] == 1} == clicked
    for kind, orphans in (
        ("click", [t.click.row for t in touches if t.shown is None or t.click.hour is None]),
        ("conversion", [e.row for e in streams["conversions"] if credit[e.row][0] is None or e.hour is None]),
    ):
        assert sorted(row["source_row"] for row in samples if row["row_kind"] == kind) == sorted(orphans)


def one_chain(
    tmp_path: Path, click_hour: int, conversion_hours: Sequence[int], modes: tuple[str, str]
) -> list[dict[str, Any]]:
    spec = dataset(*modes)
    named = "c" if modes[1] == "click_id" else "i"
    streams = {
        "impressions": [Event(20, "ann", "pen", id="i", row=1)],
        "clicks": [Event(click_hour, "ann", "pen", id="c", names="i", row=1)],
        "conversions": [
            Event(hour, "ann", "pen", names=named, value=float(hour), row=n)
            for n, hour in enumerate(conversion_hours, 1)
        ],
    }
    made = run_chain(tmp_path, spec, *modes, streams)
    return [row for path in made["samples"] for row in read(path)]


@pytest.mark.parametrize(
    "modes",
    [("impression_id", "click_id"), ("impression_id", "impression_id"), ("user_item_time", "user_item_time")],
)
@pytest.mark.parametrize(
    ("click_hour", "conversion_hour", "click", "conversion"),
    [
        (20, 20, 1, 1),  # the same instant is inside both windows
        (25, 48, 1, 1),  # a click after midnight belongs to the day of its impression
        (25, 49, 1, 0),  # 24 hours after the click: the window is half-open
        (26, 26, 0, 0),  # 6 hours after the impression: late, and so is what follows from it
    ],
)
def test_windows_are_half_open_and_cross_midnight(
    tmp_path: Path, click_hour: int, conversion_hour: int, click: int, conversion: int, modes: tuple[str, str]
) -> None:
    rows = one_chain(tmp_path, click_hour, [conversion_hour], modes)
    assert [(row["row_kind"], row["click"], row["conversion"]) for row in rows] == [("impression", click, conversion)]
    hour = {1: datetime(2026, 3, 2, tzinfo=UTC) + timedelta(hours=click_hour), 0: None}[click]
    assert rows[0]["click_time"] == (hour and hour.replace(tzinfo=None))


def test_values_add_up_and_the_first_conversion_dates_the_row(tmp_path: Path) -> None:
    [row] = one_chain(tmp_path, 21, [30, 22, 44], ("impression_id", "click_id"))
    assert (row["value"], row["conversion_time"]) == (96.0, datetime(2026, 3, 2, 22))


def test_lookbacks_cover_the_windows_and_a_week_of_grace() -> None:
    spec = dataset("impression_id", "click_id")
    assert (touch_lookback(spec), credit_lookback(spec)) == (1, 1 + 1 + 7)
    assert lookback(FIRST, 2) == [date(2026, 2, 28), date(2026, 3, 1), FIRST]
    assert touch_lookback(dataset("implied", "click_id")) == 0
