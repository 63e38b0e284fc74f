"""The specs that ship: each loads, and on the real logs beside the checkout every raw row is accounted for."""

import csv
import gzip
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from ml.data.attribution import STAGE_TABLES, credit_conversions, credit_lookback, credit_stage, resolve_touches
from ml.data.dataset import DatasetSpec, Stage
from ml.data.dataset_file import DatasetInvalid, load_dataset, shipped_datasets
from ml.data.samples import EventTally, JoinedDay, LabelEvents, join_day, label_horizon
from ml.data.sources.landing import LandedTable
from ml.data.sources.source import LogSource

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
EXPEDIA = SHARED / "expedia_icdm2013" / "expedia_train_head10k.csv.gz"
TAOBAO = SHARED / "taobao_userbehavior" / "small_sample.csv.gz"


def needs(path: Path) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not path.is_file(), reason=f"{path} is not there: real logs are kept outside the project")


@pytest.mark.parametrize("name", ["demo", "expedia", "taobao"])
def test_every_shipped_spec_loads(name: str) -> None:
    assert name in shipped_datasets()
    assert load_dataset(name, environment={"POSTCLICK_DATA": "/data"}).name == name


def test_only_the_demo_needs_no_variable() -> None:
    assert load_dataset("demo", environment={}).source.kind == "synthetic"
    for name in ("expedia", "taobao"):
        with pytest.raises(DatasetInvalid, match=r"source\..*path: .*POSTCLICK_DATA, which is not set; set it in"):
            load_dataset(name, environment={})


def every_day(spec: DatasetSpec) -> list[date]:
    assert spec.days.last is not None
    return [spec.days.first + timedelta(days=n) for n in range((spec.days.last - spec.days.first).days + 1)]


@pytest.mark.shared_data
@needs(EXPEDIA)
def test_expedia_lands_every_raw_row_as_an_impression_with_its_published_labels(tmp_path: Path) -> None:
    with gzip.open(EXPEDIA, "rt", newline="") as stream:
        raw = list(csv.DictReader(stream))
    spec = load_dataset("expedia", environment={"POSTCLICK_DATA": str(SHARED)})
    landed = list(LogSource(spec=spec, feed_root=tmp_path).land_events(days=every_day(spec), root=tmp_path))
    assert all(day.refused is None for day in landed)
    assert {day.tables["impressions"].rows_outside for day in landed} == {0}
    assert sum(day.tables["impressions"].rows for day in landed) == len(raw)
    days = {datetime.fromisoformat(row["date_time"]).date() for row in raw}
    assert {day.day for day in landed if day.tables["impressions"].rows} == days
    sample_days = sorted(days)[:5]
    rows = [row for row in raw if datetime.fromisoformat(row["date_time"]).date() in sample_days]
    joined = [
        join_day(
            spec=spec,
            impressions=day.tables["impressions"].path,
            events=None,
            horizon=None,
            scratch=tmp_path,
            out=tmp_path / f"{day.day}.parquet",
        )
        for day in landed
        if day.day in sample_days
    ]
    assert sum(day.rows for day in joined) == sum(day.impressions for day in joined) == len(rows)
    assert sum(day.clicks for day in joined) == sum(float(row["click_bool"]) == 1 for row in rows)
    assert sum(day.conversions for day in joined) == sum(float(row["booking_bool"]) == 1 for row in rows)
    unparsed = duckdb.sql(f"SELECT sum(unparsed_count) FROM '{tmp_path}/*.parquet'").fetchall()
    assert unparsed == [(0,)]


@pytest.mark.shared_data
@needs(TAOBAO)
def test_taobao_counts_every_view_and_every_event_once(tmp_path: Path) -> None:
    spec = load_dataset("taobao", environment={"POSTCLICK_DATA": str(SHARED)})
    days = every_day(spec)
    zone = ZoneInfo("Asia/Shanghai")
    with gzip.open(TAOBAO, "rt", newline="") as stream:
        raw = [(row[3], datetime.fromtimestamp(int(row[4]), zone).date()) for row in csv.reader(stream)]
    arrived = {kind: sum(one == kind and day in days for one, day in raw) for kind in ("pv", "cart", "fav", "buy")}
    source = LogSource(spec=spec, feed_root=tmp_path)
    landed = {day.day: day.tables for day in source.land_events(days=days, root=tmp_path)}
    bought = {day.day: day.tables["conversions"] for day in source.land_conversions(days=days, root=tmp_path)}
    assert {table.rows_outside for table in bought.values()} == {sum(k == "buy" and d not in days for k, d in raw)}
    joined = join_all(spec, {day: landed[day] | {"conversions": bought[day]} for day in days}, tmp_path)
    assert sum(day.impressions for day in joined) == sum(day.clicks for day in joined) == arrived["pv"]
    total = {
        stage: {name: sum(getattr(day.events[stage], name) for day in joined) for name in EventTally.model_fields}
        for stage in ("cart", "favourite", "conversion")
    }
    assert [total[stage]["arrived"] for stage in total] == [arrived["cart"], arrived["fav"], arrived["buy"]]
    for tally in total.values():
        assert tally["arrived"] == tally["credited"] + tally["late"] + tally["orphaned"]
        assert tally["repeated"] == 0
    assert sum(day.rows for day in joined) == arrived["pv"] + sum(tally["orphaned"] for tally in total.values())
    # What is wrong with this log, as its spec says: events without a view before them.
    shares = [round(100 * tally["orphaned"] / tally["arrived"]) for tally in total.values()]
    assert (shares, total["cart"]["credited"], total["favourite"]["credited"]) == ([84, 90, 48], 661, 203)


def join_all(spec: DatasetSpec, landed: dict[date, dict[str, LandedTable]], folder: Path) -> list[JoinedDay]:
    days = sorted(landed)
    shown = [landed[day]["impressions"].path for day in days]
    touches = [folder / f"{day}" / "touches.parquet" for day in days]
    credited: dict[Stage, list[Path]] = {"cart": [], "favourite": [], "conversion": []}
    for place, day in enumerate(days):
        resolve_touches(spec=spec, clicks=None, impressions=[shown[place]], scratch=folder, out=touches[place])
        reach = slice(max(0, place - credit_lookback(spec)), place + 1)
        within: dict[str, Any] = {"spec": spec, "touches": touches[reach], "impressions": [], "scratch": folder}
        for stage, made in credited.items():
            made.append(folder / f"{day}" / f"credited-{stage}.parquet")
        for stage, table in STAGE_TABLES.items():
            credit_stage(stage=stage, events=landed[day][table].path, out=credited[stage][place], **within)
        sold = [landed[one]["conversions"].path for one in days[reach]]
        credit_conversions(conversions=sold[-1], earlier=sold[:-1], out=credited["conversion"][place], **within)
    joined = []
    for place, day in enumerate(days):
        seen = slice(place, place + spec.label_days + 1)
        stages = {stage: credited[stage][seen] for stage in STAGE_TABLES}
        events = LabelEvents(touches=touches[seen], credits=credited["conversion"][seen], stages=stages)
        horizon = label_horizon(spec=spec, last_observed=days[seen][-1])
        out = folder / f"{day}" / "samples.parquet"
        joined.append(
            join_day(spec=spec, impressions=shown[place], events=events, horizon=horizon, scratch=folder, out=out)
        )
    return joined
