"""Derived fields through the assets: from raw files with carts and favourites to joined samples, made once, and anew
when a day they look back on is landed again."""

from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

import assets.behaviour_events
from assets.joined import NAME as JOINED
from assets.joined import build as build_joined
from assets.raw_logs import build as build_raw
from assets.resources import Platform, RefusingIOManager
from ml.data.dataset import DatasetSpec

DAYS = [date(2026, 3, 2) + timedelta(days=offset) for offset in range(4)]
DERIVED = [
    {"name": "user_clicks", "entity": "user", "kind": "sequence", "of": "item", "behaviour": "click"},
    {"name": "user_cart_items", "entity": "user", "kind": "sequence", "of": "item", "behaviour": "cart"},
    {"name": "user_favourites", "entity": "user", "kind": "sequence", "of": "item", "behaviour": "favourite"},
    {"name": "item_ctr_7d", "entity": "item", "kind": "number"}
    | {"aggregate": {"by": ["item"], "count": "click", "per": "impression", "days": 7}},
    {"name": "user_conversions_7d", "entity": "user", "kind": "number"}
    | {"aggregate": {"by": ["user"], "count": "conversion", "days": 7}},
    {"name": "shop_sales_2d", "entity": "item", "kind": "number"}
    | {"aggregate": {"by": ["shop"], "count": "conversion", "days": 2}},
    {"name": "user_price_7d", "entity": "user", "kind": "number"}
    | {"aggregate": {"by": ["user"], "count": "click", "mean_of": "price", "days": 7}},
]
LOG = {
    "shown": ("id,user,item,shop,price,at", ["{d}1,ann,pen,s,2,08:00:00", "{d}2,ann,ink,t,4,09:00:00"]),
    "clicked": ("id,shown,at", ["c{d}1,{d}1,08:01:00", "c{d}2,{d}2,09:01:00"]),
    "carted": ("click,at", ["c{d}1,08:02:00"]),
    "liked": ("click,at", ["c{d}2,09:02:00"]),
    "bought": ("click,at,order", ["c{d}1,08:03:00,o{d}", "c{d}1,08:04:00,o{d}"]),
}


def write_log(folder: Path, name: str, day: date, rows: list[str] | None = None) -> None:
    """One file of one day; times are in the day."""
    header, usual = LOG[name]
    lines = [row.replace("{d}", f"{day.day}") for row in (usual if rows is None else rows)]
    dated = [",".join(f"{day} {cell}" if cell.count(":") == 2 else cell for cell in line.split(",")) for line in lines]
    (folder / f"{name}-{day}.csv").write_text("\n".join([header, *dated, ""]))


def dataset(folder: Path) -> DatasetSpec:
    def table(name: str, **columns: Any) -> dict[str, Any]:
        return {"path": f"{folder}/{name}-{{day}}.csv", "format": "csv", "time": "at", **columns}

    by_click = {"refers_to": "click_id", "click_id": "click"}
    logged = [
        {"name": name, "entity": entity} for name, entity in (("user", "user"), ("item", "item"), ("shop", "item"))
    ]
    return DatasetSpec.model_validate(
        {
            "name": "log",
            "days": {"first": DAYS[0], "last": DAYS[-1]},
            "source": {
                "kind": "event_streams",
                "impressions": table("shown", impression_id="id"),
                "clicks": table("clicked", impression_id="shown", click_id="id"),
                "carts": table("carted", **by_click),
                "favourites": table("liked", **by_click),
                "conversions": table("bought", order_id="order", **by_click),
            },
            "fields": [*logged, {"name": "price", "entity": "item", "kind": "number"}, *DERIVED],
            "user_key": "user",
            "item_key": "item",
            "attribution": {"conversion_window_days": 1},
        }
    )


@pytest.fixture
def shop(
    tmp_path: Path, platform: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> SimpleNamespace:
    """The log, `land()` and `join()` of days, `samples(day)`, and the list of what was made rather than reused."""
    for day in DAYS:
        for name in LOG:
            write_log(tmp_path, name, day)
    spec, made = dataset(tmp_path), []

    def counted(make: Callable[..., int], **arguments: Any) -> int:
        made.append(arguments["out"].parent.name)
        return make(**arguments)

    write = assets.behaviour_events.write_behaviour_events
    monkeypatch.setattr(assets.behaviour_events, "write_behaviour_events", partial(counted, write))
    resources = {
        "platform": dg.ResourceDefinition.hardcoded_resource(platform),
        "io_manager": RefusingIOManager(),
    }

    def run(build: Callable[[DatasetSpec], list[dg.AssetsDefinition]], *days: date, spec: DatasetSpec = spec) -> None:
        first, last = (days or tuple(DAYS))[0], (days or tuple(DAYS))[-1]
        tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
        dg.materialize(build(spec), tags=tags, instance=instance, resources=resources)

    def samples(day: date) -> list[dict[str, Any]]:
        path = platform.artifacts.open(f"{JOINED}/{day}").path("samples.parquet")
        return [row for row in pq.ParquetFile(path).read().to_pylist() if row["row_kind"] == "impression"]

    def facts(day: date) -> Any:
        return platform.artifacts.open(f"{JOINED}/{day}").manifest.metadata

    return SimpleNamespace(
        land=partial(run, build_raw),
        join=partial(run, build_joined),
        samples=samples,
        facts=facts,
        made=made,
        spec=spec,
        folder=tmp_path,
        platform=platform,
    )


def test_every_kind_of_derived_field_reaches_the_samples(shop: SimpleNamespace) -> None:
    shop.land()
    shop.join()
    names = [field["name"] for field in DERIVED]
    first, second = ([{name: row[name] for name in names} for row in shop.samples(day)] for day in DAYS[:2])
    nothing = {"item_ctr_7d": None, "user_conversions_7d": 0, "shop_sales_2d": 0, "user_price_7d": None}
    assert first == [
        {"user_clicks": [], "user_cart_items": [], "user_favourites": [], **nothing},
        {"user_clicks": ["pen"], "user_cart_items": ["pen"], "user_favourites": [], **nothing},
    ]
    week = {"item_ctr_7d": 1.0, "user_conversions_7d": 1.0, "user_price_7d": 3.0}
    assert second == [
        {
            "user_clicks": ["pen", "ink"],
            "user_cart_items": ["pen"],
            "user_favourites": ["ink"],
            "shop_sales_2d": 1.0,
            **week,
        },
        {
            "user_clicks": ["pen", "ink", "pen"],
            "user_cart_items": ["pen"] * 2,
            "user_favourites": ["ink"],
            "shop_sales_2d": 0.0,
            **week,
        },
    ]
    # Every day sold once, and its repeated order is no second sale.
    assert [row["user_conversions_7d"] for row in shop.samples(DAYS[3])] == [3.0, 3.0]
    assert [row["shop_sales_2d"] for row in shop.samples(DAYS[3])] == [2.0, 0.0]


def test_each_days_events_are_made_once_and_named_among_the_inputs(shop: SimpleNamespace) -> None:
    shop.land()
    shop.join()
    assert sorted(shop.made) == [str(day) for day in DAYS]
    shop.join()
    assert len(shop.made) == len(DAYS)
    inputs = shop.facts(DAYS[2])["inputs"]
    assert [key for key in inputs if key.startswith("behaviour_events/")] == [
        f"behaviour_events/{day}" for day in DAYS[:3]
    ]
    assert shop.facts(DAYS[2])["behaviour_days_missing"] == []


def test_an_earlier_day_that_is_landed_again_changes_what_is_joined_again(shop: SimpleNamespace) -> None:
    shop.land()
    shop.join()
    before = shop.facts(DAYS[2])
    write_log(shop.folder, "clicked", DAYS[0], rows=["c21,21,08:01:00"])
    shop.land(DAYS[0])
    assert shop.facts(DAYS[2]) == before
    shop.join(DAYS[2])
    changed = {key for key, version in shop.facts(DAYS[2])["inputs"].items() if before["inputs"][key] != version}
    assert changed == {f"behaviour_events/{DAYS[0]}"}
    assert [row["user_clicks"][:2] for row in shop.samples(DAYS[2])] == [["pen", "pen"]] * 2
    # What happens later changes nothing that lies before it.
    write_log(shop.folder, "clicked", DAYS[3], rows=[])
    before = shop.facts(DAYS[2])["inputs"]
    shop.land(DAYS[3])
    shop.join(DAYS[2])
    features = [{name: row[name] for name in ("user_clicks", "item_ctr_7d")} for row in shop.samples(DAYS[2])]
    assert [row["item_ctr_7d"] for row in features] == [1.0, 0.5]
    behaviour = {key for key in before if key.startswith("behaviour_events/")}
    assert {key: shop.facts(DAYS[2])["inputs"][key] for key in behaviour} == {key: before[key] for key in behaviour}


@pytest.mark.parametrize("stream", ["shown", "bought", "carted"])
def test_a_day_that_was_refused_or_never_landed_adds_nothing_and_is_named(shop: SimpleNamespace, stream: str) -> None:
    (shop.folder / f"{stream}-{DAYS[1]}.csv").unlink()
    shop.land(DAYS[1], DAYS[2])
    shop.join(DAYS[2])
    assert shop.facts(DAYS[2])["behaviour_days_missing"] == [str(DAYS[0]), str(DAYS[1])]
    assert [row["user_clicks"] for row in shop.samples(DAYS[2])] == [[], ["pen"]]
    shop.land(DAYS[0])
    shop.join(DAYS[2])
    assert shop.facts(DAYS[2])["behaviour_days_missing"] == [str(DAYS[1])]
    assert [row["user_conversions_7d"] for row in shop.samples(DAYS[2])] == [1.0, 1.0]


def test_a_day_landed_before_the_spec_had_a_field_adds_nothing_until_it_is_landed_again(shop: SimpleNamespace) -> None:
    shop.land(DAYS[0], DAYS[1])
    content = shop.spec.model_dump(mode="json")
    content["fields"] += [
        {"name": "brand", "column": "shop", "entity": "item"},
        {"name": "brand_clicks", "entity": "item", "kind": "number", "aggregate": {"by": ["brand"], "count": "click"}},
    ]
    grown = DatasetSpec.model_validate(content)
    shop.land(DAYS[1], DAYS[2], spec=grown)
    shop.join(DAYS[2], spec=grown)
    assert shop.facts(DAYS[2])["behaviour_days_missing"] == [str(DAYS[0])]
    assert [row["brand_clicks"] for row in shop.samples(DAYS[2])] == [1.0, 1.0]
    shop.land(DAYS[0], spec=grown)
    shop.join(DAYS[2], spec=grown)
    assert [row["brand_clicks"] for row in shop.samples(DAYS[2])] == [2.0, 2.0]


def test_without_derived_fields_no_behaviour_events_are_made(shop: SimpleNamespace) -> None:
    logged = shop.spec.model_copy(update={"fields": shop.spec.logged_fields})
    shop.land()
    shop.join(DAYS[1], DAYS[1], spec=logged)
    assert not list(shop.platform.artifacts.keys("behaviour_events"))
    assert shop.facts(DAYS[1])["behaviour_days_missing"] is None
