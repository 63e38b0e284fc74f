"""A whole log landed by its spec: every kind of source, its column names, and refusals of a day as a whole."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ml.data.dataset import DatasetSpec
from ml.data.sources.source import LandedDay, LogSource

DAYS = [date(2026, 3, 2), date(2026, 3, 3)]
FIELDS = [
    {"name": "user", "column": "uid", "entity": "user", "kind": "id"},
    {"name": "item", "column": "iid", "entity": "item", "kind": "id"},
    {"name": "price", "column": "cost", "entity": "item", "kind": "number"},
    {"name": "history", "entity": "user", "kind": "sequence", "of": "item"},
]


def dataset(source: dict[str, Any], **more: Any) -> DatasetSpec:
    content = {"name": "log", "days": {"first": DAYS[0], "last": DAYS[1]}, "source": source, "fields": FIELDS}
    return DatasetSpec.model_validate(content | {"user_key": "user", "item_key": "item"} | more)


def streams(folder: Path, clicks: Any = None) -> dict[str, Any]:
    def table(name: str, **columns: Any) -> dict[str, Any]:
        return {"path": f"{folder}/{name}-{{day}}.csv", "format": "csv", "time": "at"} | columns

    return {
        "kind": "event_streams",
        "impressions": table("shown", impression_id=["uid", "n"]),
        "clicks": clicks or table("clicked", impression_id="shown", click_id="id"),
        "conversions": table("bought", refers_to="click_id", click_id="click", value="paid", order_id="order"),
    }


def rows(landed: LandedDay, name: str) -> list[dict[str, Any]]:
    assert landed.refused is None, landed.refused
    return pq.ParquetFile(landed.tables[name].path).read().to_pylist()


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """Two days of three streams."""
    for day in DAYS:
        (tmp_path / f"shown-{day}.csv").write_text(
            f"uid,n,iid,at,cost,history\nu1,1,i1,{day} 10:00:00,9.5,i2|i3\nu2,1,i2,{day} 11:00:00,free,\n"
        )
        (tmp_path / f"clicked-{day}.csv").write_text(f"id,shown,at\nc1,u1:1,{day} 10:01:00\n")
        (tmp_path / f"bought-{day}.csv").write_text(f"click,at,paid,order\nc1,{day} 10:02:00,19.5,o1\nc1,?,x,\n")
    return tmp_path


def test_streams_land_under_our_names_with_what_could_not_be_read(feed: Path) -> None:
    source = LogSource(spec=dataset(streams(feed)), feed_root=feed)
    first, second = source.land_events(days=DAYS, root=feed / "out")
    shown = rows(first, "impressions")
    assert [row["impression_id"] for row in shown] == ["u1:1", "u2:1"]
    assert [row["impression_time"] for row in shown] == [datetime(2026, 3, 2, 10), datetime(2026, 3, 2, 11)]
    assert [(row["user_key"], row["item_key"], row["unit_key"]) for row in shown] == [
        ("u1", "i1", "u1"),
        ("u2", "i2", "u2"),
    ]
    assert [(row["user"], row["item"], row["price"]) for row in shown] == [("u1", "i1", 9.5), ("u2", "i2", None)]
    assert [row["history"] for row in shown] == [["i2", "i3"], None]
    assert [row["unparsed_columns"] for row in shown] == [[], ["price=free"]]
    [click] = rows(second, "clicks")
    assert (click["click_id"], click["impression_id"], click["click_time"]) == (
        "c1",
        "u1:1",
        datetime(2026, 3, 3, 10, 1),
    )
    bought, broken = rows(next(source.land_conversions(days=DAYS, root=feed / "out")), "conversions")
    assert (bought["click_id"], bought["value"], bought["order_id"]) == ("c1", 19.5, "o1")
    assert (broken["conversion_time"], broken["value"]) == (None, None)
    assert broken["unparsed_columns"] == ["conversion_time=?", "value=x"]


def test_carts_and_favourites_land_with_the_events_and_what_is_derived_is_not_read(feed: Path) -> None:
    for day in DAYS:
        (feed / f"cart-{day}.csv").write_text(f"click,at\nc1,{day} 10:01:30\nc1,later\n")
        (feed / f"favourite-{day}.csv").write_text(f"uid,iid,at\nu2,i2,{day} 11:00:30\n")
    source = streams(feed)
    table = {"format": "csv", "time": "at"}
    source["carts"] = table | {"path": f"{feed}/cart-{{day}}.csv", "refers_to": "click_id", "click_id": "click"}
    source["favourites"] = table | {"path": f"{feed}/favourite-{{day}}.csv", "refers_to": "user_item_time"}
    source["favourites"] |= {"user": "uid", "item": "iid"}
    derived = [
        {"name": "carted", "entity": "user", "kind": "sequence", "of": "item", "behaviour": "cart"},
        {"name": "item_clicks", "entity": "item", "kind": "number", "aggregate": {"by": ["item"], "count": "click"}},
    ]
    spec = dataset(source, fields=FIELDS + derived)
    first, second = LogSource(spec=spec, feed_root=feed).land_events(days=DAYS, root=feed / "out")
    assert list(first.tables) == ["impressions", "clicks", "carts", "favourites"]
    assert not {"carted", "item_clicks"} & set(rows(first, "impressions")[0])
    cart, broken = rows(first, "carts")
    assert cart == {
        "click_id": "c1",
        "impression_id": None,
        "user_key": None,
        "item_key": None,
        "cart_time": datetime(2026, 3, 2, 10, 1, 30),
        "unparsed_columns": [],
        "source_file": f"cart-{DAYS[0]}.csv",
        "source_row": 1,
        "source_line": 2,
    }
    assert (broken["cart_time"], broken["unparsed_columns"]) == (None, ["cart_time=later"])
    [favourite] = rows(second, "favourites")
    assert (favourite["user_key"], favourite["item_key"]) == ("u2", "i2")
    assert favourite["favourite_time"] == datetime(2026, 3, 3, 11, 0, 30)

    (feed / f"cart-{DAYS[0]}.csv").unlink()
    refused, landed = LogSource(spec=spec, feed_root=feed).land_events(days=DAYS, root=feed / "again")
    assert f"cart-{DAYS[0]}.csv" in str(refused.refused)
    assert landed.refused is None


def test_a_weighted_sequence_lands_its_weights_after_its_values(feed: Path) -> None:
    fields = [*FIELDS[:3], FIELDS[3] | {"weighted": True}, {"name": "cost", "entity": "item"}]
    for day in DAYS:
        (feed / f"shown-{day}.csv").write_text(
            f"uid,n,iid,at,cost,history\nu1,1,i1,{day} 10:00:00,9,i2:.5|i3:2\nu1,2,i1,{day} 10:00:01,9,i2|i3:2\n"
        )
    spec = dataset(streams(feed), fields=fields)
    good, bad = rows(
        next(LogSource(spec=spec, feed_root=feed).land_events(days=DAYS, root=feed / "out")), "impressions"
    )
    names = list(good)
    assert names[names.index("price") : names.index("source_file")] == [
        "price",
        "history",
        "history_weights",
        "cost",
        "unparsed_columns",
    ]
    assert (good["history"], good["history_weights"]) == (["i2", "i3"], [0.5, 2.0])
    assert (bad["history_weights"], bad["unparsed_columns"]) == ([None, 2.0], ["history_weights=i2|i3:2"])


def test_implied_clicks_land_no_click_table(feed: Path) -> None:
    spec = dataset(streams(feed, clicks="implied"))
    landed = LogSource(spec=spec, feed_root=feed).land_events(days=DAYS, root=feed / "out")
    assert [set(day.tables) for day in landed] == [{"impressions"}, {"impressions"}]


def test_one_missing_stream_refuses_its_day_only(feed: Path) -> None:
    (feed / f"clicked-{DAYS[0]}.csv").unlink()
    refused, landed = LogSource(spec=dataset(streams(feed)), feed_root=feed).land_events(days=DAYS, root=feed / "out")
    assert refused.tables == {}
    assert f"clicked-{DAYS[0]}.csv" in str(refused.refused)
    assert set(landed.tables) == {"impressions", "clicks"}


def test_a_wide_log_carries_its_labels_and_has_no_conversions_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text(
        "uid,iid,at,cost,history,clicked,bought,paid,search\n"
        "u1,i1,2026-03-02 10:00:00,1,,1,true,30.5,s1\n"
        "u1,i2,2026-03-03 10:00:00,2,,0.5,no,,s2\n"
    )
    table = {"path": str(path), "format": "csv", "time": "at", "impression_id": ["search", "iid"]}
    table |= {"click": "clicked", "conversion": "bought", "value": "paid"}
    spec = dataset({"kind": "wide_log", "table": table}, unit_key="search", attribution={"conversion_window_days": 0})
    source = LogSource(spec=spec, feed_root=tmp_path)
    [good], [bad] = (rows(day, "impressions") for day in source.land_events(days=DAYS, root=tmp_path / "out"))
    assert (good["click"], good["conversion"], good["value"], good["unit_key"]) == (1, 1, 30.5, "s1")
    assert (bad["click"], bad["conversion"], bad["value"]) == (None, None, None)
    assert bad["unparsed_columns"] == ["click=0.5", "conversion=no"]
    assert [day.tables for day in source.land_conversions(days=DAYS, root=tmp_path / "out")] == [{}, {}]


def test_a_synthetic_log_is_generated_and_landed(tmp_path: Path) -> None:
    fields = [{"name": "user_id", "entity": "user"}, {"name": "item_id", "entity": "item"}]
    config = {"impressions_per_day": 200, "users": 40, "items": 20}
    spec = dataset({"kind": "synthetic", "config": config}, fields=fields, user_key="user_id", item_key="item_id")
    source = LogSource(spec=spec, feed_root=tmp_path / "feed")
    [first, second] = source.land_events(days=DAYS, root=tmp_path / "out")
    clicks = rows(first, "clicks") + rows(second, "clicks")
    shown = {row["impression_id"] for day in (first, second) for row in rows(day, "impressions")}
    assert clicks
    assert {click["impression_id"] for click in clicks} <= shown
    assert all(day.refused is None for day in source.land_conversions(days=DAYS, root=tmp_path / "out"))
