"""Landing by the raw assets: what arrived is kept with its files, hashes and rows, day by day."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
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


FIELDS = ("user_id", "city", "item_id", "category", "price", "position")


def shop(make_spec: Callable[..., Any], folder: Path) -> Any:
    """A log of Parquet files, several a day."""
    table = {"path": f"{folder}/{{day}}/*.parquet", "format": "parquet", "time": "at"}
    conversions = table | {"refers_to": "impression_id", "impression_id": "id"}
    return make_spec(
        days={"first": DAYS[0], "last": DAYS[-1] + timedelta(days=5)},
        source={
            "kind": "event_streams",
            "impressions": table | {"impression_id": "id"},
            "clicks": "implied",
            "conversions": conversions,
        },
    )


def write_hour(folder: Path, day: date, hour: int, **columns: Any) -> None:
    row = {"id": f"{day}-{hour}", "at": f"{day} {hour:02}:00:00", **dict.fromkeys(FIELDS, "1"), **columns}
    (folder / str(day)).mkdir(parents=True, exist_ok=True)
    present = {name: [value] for name, value in row.items() if value is not None}
    pq.write_table(pa.table(present), folder / str(day) / f"{hour:02}.parquet")


def land_range(
    platform: Platform, instance: dg.DagsterInstance, spec: Any, days: list[date]
) -> dict[str, tuple[bool, str | None, dict[str, Any]]]:
    """Land `days` in one run; the check of each as (passed, description, metadata)."""
    [raw_events, _] = build_raw(spec)
    job = dg.Definitions(
        assets=[raw_events],
        jobs=[dg.define_asset_job("raw", selection=[raw_events])],
        resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)},
    ).resolve_job_def("raw")
    start, end = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    result = job.execute_in_process(instance=instance, tags={start: str(days[0]), end: str(days[-1])})
    return {
        str(check.partition): (
            check.passed,
            check.description,
            {name: value.value for name, value in check.metadata.items()},
        )
        for check in result.get_asset_check_evaluations()
    }


def test_columns_that_change_from_day_to_day_are_reported_and_stop_nothing(
    platform: Platform, instance: dg.DagsterInstance, make_spec: Callable[..., Any], tmp_path: Path
):
    days = [DAYS[0] + timedelta(days=offset) for offset in range(5)]
    drifted: list[dict[str, Any]] = [
        {"old": 1},
        {"old": 1},
        {"new": "x", "price": 1.5},
        {"price": None},
        {"new": "x", "price": 1.5, "newer": 1},
    ]
    for day, columns in zip(days, drifted, strict=True):
        write_hour(tmp_path, day, 0, **columns)
        write_hour(tmp_path, day, 13, **columns)
    spec = shop(make_spec, tmp_path)
    checks = land_range(platform, instance, spec, days)

    assert [checks[str(day)][0] for day in days] == [True, True, True, False, True]
    assert [checks[str(day)][1] for day in days[:2]] == [None, None]
    _, words, facts = checks[str(days[2])]
    assert words == (
        f"columns changed since {days[1]}: new: impressions.new; gone: impressions.old; of another type: "
        "impressions.price: VARCHAR to DOUBLE"
    )
    assert facts["columns_compared_with"] == str(days[1])
    assert facts["new_columns"] == ["impressions.new"]
    assert facts["columns_gone"] == ["impressions.old"]
    assert facts["columns_of_another_type"] == ["impressions.price: VARCHAR to DOUBLE"]
    assert facts["impressions_rows"] == 2
    refused = str(checks[str(days[3])][1])
    assert refused.startswith(f"{tmp_path}/{days[3]}/00.parquet, {tmp_path}/{days[3]}/13.parquet: no column 'price'")
    assert refused.endswith("correct the dataset spec or the file's header")
    # The refused day has no columns: the day after it is compared with the day before it.
    assert checks[str(days[4])][1] == f"columns changed since {days[2]}: new: impressions.newer"

    # Landed alone, a day finds the earlier one in the store, where its columns are.
    kept: Any = platform.artifacts.open(f"raw_events/{days[1]}").manifest.metadata
    assert kept["arrived"]["impressions"]["columns"]["old"] == "BIGINT"
    assert land_range(platform, instance, spec, [days[2]])[str(days[2])][1] == words


def test_a_column_that_one_of_the_days_files_lacks_refuses_the_day_and_names_the_file(
    platform: Platform, instance: dg.DagsterInstance, make_spec: Callable[..., Any], tmp_path: Path
):
    for day in DAYS:
        for hour in range(3):
            write_hour(tmp_path, day, hour, city=None if (day, hour) == (DAYS[0], 1) else "c")
    checks = land_range(platform, instance, shop(make_spec, tmp_path), DAYS)
    assert [checks[str(day)][0] for day in DAYS] == [False, True]
    assert checks[str(DAYS[0])][1] == (
        f"{tmp_path}/{DAYS[0]}/01.parquet: no column 'city', which other files of the table have; correct the dataset "
        "spec or the file's header"
    )
    assert checks[str(DAYS[1])][2]["impressions_rows"] == 3


def test_rows_outside_the_log_are_said_beside_a_green_check(
    platform: Platform, instance: dg.DagsterInstance, make_spec: Callable[..., Any], tmp_path: Path
):
    header = "id,at," + ",".join(FIELDS) + "\n"
    times = [f"{day} 10:00:00" for day in (*DAYS, date(2019, 1, 1), date(2031, 1, 1))]
    (tmp_path / "log.csv").write_text(header + "".join(f"{n},{at},1,1,1,1,1,1\n" for n, at in enumerate(times)))
    table = {"path": str(tmp_path / "log.csv"), "format": "csv", "time": "at"}
    spec = shop(make_spec, tmp_path)
    source = spec.source.model_dump(mode="json")
    for name in ("impressions", "conversions"):
        source[name] |= table
    checks = land_range(platform, instance, make_spec(days={"first": DAYS[0], "last": DAYS[-1]}, source=source), DAYS)
    assert all(passed for passed, _, _ in checks.values())
    assert checks[str(DAYS[0])][1] == "2 rows of impressions lie in no day of the log"
