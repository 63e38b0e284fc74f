"""A log with carts and favourites through the data assets: labels, tallies, age, and what a changed spec asks for."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from assets.joined import build as build_joined
from assets.raw_logs import build as build_raw
from assets.resources import Platform, RefusingIOManager
from ml.data.dataset import DatasetSpec

DAYS = [date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)]
LOG = """event,id,names,user_id,item_id,time,amount
show,i1,,ann,pen,2026-01-05 10:00:00,
show,i2,,bob,ink,2026-01-05 23:50:00,
click,c1,i1,ann,pen,2026-01-05 10:01:00,
click,c2,i2,bob,ink,2026-01-05 23:55:00,
cart,k1,c1,ann,pen,2026-01-05 10:05:00,
cart,k2,c2,bob,ink,2026-01-06 00:10:00,
cart,k3,gone,bob,ink,2026-01-05 12:00:00,
fav,f1,c2,bob,ink,2026-01-07 23:55:00,
buy,o1,c1,ann,pen,2026-01-05 11:00:00,5
buy,o1,c1,ann,pen,2026-01-06 11:00:00,5
show,i3,,ann,pen,2026-01-06 10:00:00,
show,i4,,ann,pen,2026-01-07 10:00:00,
"""


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., DatasetSpec]:
    """log(carts=…, favourites=…): a spec of one file of events, as long as the streams that it names."""
    path = tmp_path / "log.csv"
    path.write_text(LOG, encoding="utf-8")

    def table(event: str, **columns: str) -> dict[str, Any]:
        return {"path": str(path), "format": "csv", "time": "time", "where": {"event": [event]}, **columns}

    def make(*, carts: bool = True, favourites: bool = True) -> DatasetSpec:
        refers = {"refers_to": "click_id", "click_id": "names"}
        source: dict[str, Any] = {
            "kind": "event_streams",
            "impressions": table("show", impression_id="id"),
            "clicks": table("click", click_id="id", impression_id="names"),
            "conversions": table("buy", **refers, order_id="id", value="amount"),
        }
        source |= {"carts": table("cart", **refers)} if carts else {}
        source |= {"favourites": table("fav", **refers)} if favourites else {}
        return DatasetSpec.model_validate(
            {
                "name": "log",
                "days": {"first": DAYS[0], "last": DAYS[-1]},
                "source": source,
                "fields": [{"name": "user_id", "entity": "user"}, {"name": "item_id", "entity": "item"}],
                "user_key": "user_id",
                "item_key": "item_id",
                "attribution": {"conversion_window_days": 1, "stage_window_seconds": 36000},
            }
        )

    return make


def materialize(platform: Platform, instance: dg.DagsterInstance, spec: DatasetSpec, *, land: bool = True) -> None:
    resources = {
        "platform": dg.ResourceDefinition.hardcoded_resource(platform),
        "io_manager": RefusingIOManager(),
    }
    tags = {"dagster/asset_partition_range_start": str(DAYS[0]), "dagster/asset_partition_range_end": str(DAYS[-1])}
    raw, joined = build_raw(spec), build_joined(spec)
    for assets in [raw, joined] if land else [joined]:
        assert dg.materialize(
            [*raw, *joined], selection=assets, tags=tags, instance=instance, resources=resources
        ).success


def rows(platform: Platform, day: date) -> list[dict[str, Any]]:
    path = platform.artifacts.open(f"joined_samples/{day}").path("samples.parquet")
    return pq.ParquetFile(path).read().to_pylist()


def facts(platform: Platform, day: date) -> Any:
    return platform.artifacts.open(f"joined_samples/{day}").manifest.metadata


def test_stages_label_their_impressions_and_every_event_is_accounted_for(
    platform: Platform, instance: dg.DagsterInstance, log: Callable[..., DatasetSpec]
) -> None:
    materialize(platform, instance, log())
    names = ("row_kind", "impression_id", "click", "cart", "favourite", "conversion", "value", "duplicate_rank")
    found = {day: [tuple(row[name] for name in names) for row in rows(platform, day)] for day in DAYS}
    assert found == {
        DAYS[0]: [
            ("impression", "i1", 1, 1, 0, 1, 5.0, 1),
            ("impression", "i2", 1, 1, 0, 0, None, 1),  # carted after midnight; the favourite came 48 hours later
            ("cart", None, None, 1, None, None, None, None),
        ],
        DAYS[1]: [
            ("impression", "i3", 0, 0, 0, 0, None, 1),
            ("conversion", None, None, None, None, 1, 5.0, 2),
        ],
        DAYS[2]: [("impression", "i4", 0, 0, 0, 0, None, 1)],
    }
    none = {"arrived": 0, "credited": 0, "late": 0, "repeated": 0, "orphaned": 0}
    assert facts(platform, DAYS[0])["events"] == {
        "click": none | {"arrived": 2, "credited": 2},
        "cart": none | {"arrived": 2, "credited": 1, "orphaned": 1},
        "favourite": none,
        "conversion": none | {"arrived": 1, "credited": 1},
    }
    assert facts(platform, DAYS[1])["events"]["cart"] == none | {"arrived": 1, "credited": 1}
    assert facts(platform, DAYS[1])["events"]["conversion"] == none | {"arrived": 1, "repeated": 1}
    assert facts(platform, DAYS[2])["events"]["favourite"] == none | {"arrived": 1, "late": 1}
    assert [(facts(platform, day)["label_age_days"], facts(platform, day)["mature"]) for day in DAYS] == [
        (3.0, True),
        (2.0, False),
        (1.0, False),
    ]


def test_a_stage_that_the_spec_has_by_now_refuses_days_landed_without_it(
    platform: Platform, instance: dg.DagsterInstance, log: Callable[..., DatasetSpec]
) -> None:
    materialize(platform, instance, log(carts=False))
    assert {row["cart"] for row in rows(platform, DAYS[0])} == {None}
    assert "credited_carts/2026-01-05" not in list(platform.artifacts.keys("credited"))
    materialize(platform, instance, log(), land=False)
    for day in DAYS:
        assert facts(platform, day) == {
            "refused": f"raw_events of {day} was landed without carts, which the dataset spec has by now; "
            "materialize it again"
        }
