"""Landing by the raw assets: what arrived is kept with its files, hashes and rows, day by day."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from assets.raw_logs import build as build_raw
from assets.resources import Platform
from ml.data.synthetic.feed import feed_folder

DAYS = [date(2026, 1, 5), date(2026, 1, 6)]


def land(platform: Platform, instance: dg.DagsterInstance, spec: Any, day: date) -> dict[str, Any]:
    platforms = dg.ResourceDefinition.hardcoded_resource(platform)
    for asset in build_raw(spec):
        result = dg.materialize(
            [asset], partition_key=day.isoformat(), instance=instance, resources={"platform": platforms}
        )
        assert result.success
    [record] = instance.fetch_materializations(dg.AssetKey("raw_events"), limit=1).records
    assert record.asset_materialization is not None
    return dict(record.asset_materialization.metadata)


def test_landed_rows_and_files_are_those_of_the_feed(
    platform: Platform, instance: dg.DagsterInstance, spec: Any, feed_root: Path
):
    metadata = land(platform, instance, spec, DAYS[0])
    folder = feed_folder(config=spec.source.config, root=feed_root)
    for table in ("impressions", "clicks"):
        files = sorted((folder / table / f"day={DAYS[0]}").glob("*.parquet"))
        rows = sum(pq.read_metadata(path).num_rows for path in files)
        landed = platform.artifacts.open(f"raw_events/{DAYS[0]}").path(f"{table}.parquet")
        assert metadata[f"{table}_rows"].value == rows == pq.read_metadata(landed).num_rows
        assert metadata[f"{table}_bytes"].value == sum(path.stat().st_size for path in files)
        assert [Path(str(record.data["path"])).name for record in metadata[f"{table}_files"].records] == [
            path.name for path in files
        ]
    columns = [column.name for column in metadata["dagster/column_schema"].value.columns]
    assert {"impression_id", "impression_time", *(field.name for field in spec.fields)} <= set(columns)
    assert metadata["dagster/row_count"].value == metadata["impressions_rows"].value + metadata["clicks_rows"].value


def test_conversions_are_landed_on_the_day_they_happened(platform: Platform, instance: dg.DagsterInstance, spec: Any):
    for day in DAYS:
        land(platform, instance, spec, day)
        landed = pq.read_table(platform.artifacts.open(f"raw_conversions/{day}").path("conversions.parquet"))
        assert {time.date() for time in landed["conversion_time"].to_pylist()} == {day}


def test_a_log_with_label_columns_lands_no_conversions_and_says_so(
    platform: Platform, instance: dg.DagsterInstance, make_spec: Callable[..., Any], tmp_path: Path
):
    (tmp_path / "log.csv").write_text(
        "id,user_id,city,item_id,category,price,position,at,clicked,bought\n"
        "1,u1,c,i1,k,2.5,1,2026-01-05T10:00:00,1,0\n"
        "2,u2,c,i2,k,many,2,2026-01-06T10:00:00,0,0\n"
    )
    table = {"path": str(tmp_path / "log.csv"), "format": "csv", "time": "at", "impression_id": "id"}
    source = {"kind": "wide_log", "table": {**table, "click": "clicked", "conversion": "bought"}}
    wide = make_spec(source=source, attribution={"conversion_window_days": 0})
    metadata = land(platform, instance, wide, DAYS[1])

    assert metadata["impressions_rows"].value == 1
    assert list(platform.artifacts.open(f"raw_conversions/{DAYS[1]}").manifest.files) == ["labels_are_columns.txt"]
    [row] = pq.read_table(platform.artifacts.open(f"raw_events/{DAYS[1]}").path("impressions.parquet")).to_pylist()
    assert row["price"] is None
    assert "many" in str(row), "a value that cannot be read must be kept as text"
