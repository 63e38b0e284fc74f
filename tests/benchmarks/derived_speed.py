"""Behaviour events and derived fields of one day after a week, measured: `python -m tests.benchmarks.derived_speed`.

Three sequences and four aggregates over made-up landed tables; one JSON line. CPU seconds of one core, in which the
tables are not counted; the peak memory is the whole process's, so measure one volume a process.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from ml.data.behaviour import behaviour_lookback, landed_stages, write_behaviour_events
from ml.data.dataset import DatasetSpec, Stage
from ml.data.derived import derive_features
from ml.data.engine import connect, write_parquet
from ml.data.samples import day_start
from tests.benchmarks.data_speed import measuring

FIRST = date(2026, 3, 2)
DAYS = 8
#: Of a hundred impressions, and after how many seconds: clicks, and what follows them.
FOLLOWED: Mapping[Stage, tuple[int, int]] = {"cart": (20, 90), "favourite": (10, 120), "conversion": (10, 3600)}


def main() -> None:
    """Make the tables, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--impressions", type=int, default=1_000_000, help="a day")
    parser.add_argument("--per-user", type=int, default=10, help="impressions of a user on a day")
    parser.add_argument("--clicks", type=int, default=5, help="of a hundred impressions")
    arguments = parser.parse_args()
    # DuckDB may start two threads: on one core they cost what one does.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="postclick-derived-") as folder:
        measure(Path(folder), arguments.impressions, per_user=arguments.per_user, clicks=arguments.clicks)


def measure(root: Path, impressions: int, *, per_user: int, clicks: int) -> None:
    """Print rows per CPU second of one day's behaviour events and of its derived fields."""
    spec = dataset()
    landed = [make_day(root, day, impressions, users=impressions // per_user, clicks=clicks) for day in range(DAYS)]
    events = [root / f"behaviour-{day}.parquet" for day in range(DAYS)]
    made: dict[str, Any] = {"impressions": impressions, "per_user": per_user, "clicks_in_100": clicks}
    for day in range(DAYS):
        reach = landed[max(0, day - behaviour_lookback(spec)) : day + 1]
        tables = {stage: [tables[stage] for tables in reach] for stage in landed_stages(spec)}
        with measuring() as measured:
            write_behaviour_events(spec=spec, tables=tables, scratch=root / "scratch", out=events[day])
    made["behaviour_events"] = {**measured, "rows_per_cpu_second": round(impressions / measured["cpu_seconds"])}
    with measuring() as measured:
        derive_features(
            spec=spec,
            day=FIRST + timedelta(days=DAYS - 1),
            impressions=landed[-1]["impression"],
            events=events,
            scratch=root / "scratch",
            out=root / "derived.parquet",
        )
    made["derived_fields"] = {**measured, "rows_per_cpu_second": round(impressions / measured["cpu_seconds"])}
    print(json.dumps(made), flush=True)


def dataset() -> DatasetSpec:
    """A log with carts and favourites, and seven derived fields."""
    table: dict[str, Any] = {"path": "-", "format": "csv", "time": "time"}
    by_click = table | {"refers_to": "click_id", "click_id": "c"}
    clicks = {"name": "user_clicks", "entity": "user", "kind": "sequence", "of": "item_id", "behaviour": "click"}
    ctr = {"name": "item_ctr", "entity": "item", "kind": "number"}
    derived = [
        clicks,
        clicks | {"name": "user_carts", "behaviour": "cart"},
        clicks | {"name": "user_click_categories", "of": "category", "max_length": 20},
        ctr | {"aggregate": {"by": ["item_id"], "count": "click", "per": "impression", "days": 7}},
        ctr | {"name": "user_conversions", "aggregate": {"by": ["user_id"], "count": "conversion", "days": 7}},
        ctr | {"name": "shop_sales", "aggregate": {"by": ["shop_id"], "count": "conversion", "days": 7}},
        ctr | {"name": "user_price", "aggregate": {"by": ["user_id"], "count": "click", "mean_of": "price", "days": 7}},
    ]
    logged = [("user_id", "user"), ("item_id", "item"), ("shop_id", "item"), ("category", "item")]
    fields: list[dict[str, Any]] = [{"name": name, "entity": entity} for name, entity in logged]
    return DatasetSpec.model_validate(
        {
            "name": "measured",
            "days": {"first": FIRST},
            "source": {
                "kind": "event_streams",
                "impressions": table | {"impression_id": "i"},
                "clicks": table | {"impression_id": "i", "click_id": "c"},
                **{f"{stage}s": by_click for stage in FOLLOWED},
            },
            "fields": [*fields, {"name": "price", "entity": "item", "kind": "number"}, *derived],
            "user_key": "user_id",
            "item_key": "item_id",
        }
    )


def make_day(root: Path, day: int, rows: int, *, users: int, clicks: int) -> dict[Stage, Path]:
    """The landed tables of one day by stage; busy users and well-known items have most of the rows."""
    start = f"{day_start(FIRST + timedelta(days=day), 'UTC'):%Y-%m-%d}"
    chance = "(hash(n, {seed}) % 1000000) / 1e6"
    user = f"CAST({users} * pow({chance.format(seed=day)}, 1.5) AS BIGINT)"
    item = f"CAST(20000 * pow({chance.format(seed=day + 100)}, 2) AS BIGINT)"
    shown = f"""(
        SELECT n, '{start}-' || n AS impression_id, 'c{start}-' || n AS click_id, 'user' || {user} AS user_key,
            'item' || {item} AS item_key, 'shop' || {item} % 3000 AS shop_id, 'category' || {item} % 200 AS category,
            {item} % 97 / 7 AS price, TIMESTAMP '{start}' + to_microseconds(n * 86400000000 // {rows}) AS shown_time,
            hash(n, {day + 200}) % 100 AS luck, 'made-up' AS source_file
        FROM range({rows}) AS made(n))"""
    clicked = f"(SELECT * FROM {shown} WHERE luck < {clicks})"
    late = "shown_time + to_seconds(1 + hash(n, {seed}) % {seconds})"
    queries: dict[Stage, str] = {
        "impression": f"""SELECT impression_id, shown_time AS impression_time, user_key, user_key AS user_id, item_key,
            item_key AS item_id, shop_id, category, price, source_file, n + 1 AS source_row FROM {shown} ORDER BY n""",
        "click": f"""SELECT click_id, impression_id, NULL::VARCHAR AS user_key, NULL::VARCHAR AS item_key,
            {late.format(seed=1, seconds=30)} AS click_time, source_file, n AS source_row FROM {clicked} ORDER BY n""",
    }
    for number, (stage, (share, seconds)) in enumerate(FOLLOWED.items(), 2):
        time = late.format(seed=number, seconds=seconds)
        queries[stage] = f"""SELECT click_id, NULL::VARCHAR AS impression_id, NULL::VARCHAR AS user_key,
            NULL::VARCHAR AS item_key, {time} AS {stage}_time, 1.0 AS value, NULL::VARCHAR AS order_id, source_file,
            n AS source_row FROM {clicked} WHERE hash(n, {number}, 'follows') % 100 < {share} ORDER BY n"""
    paths: dict[Stage, Path] = {stage: root / f"{stage}-{day}.parquet" for stage in queries}
    with connect(scratch=root / "scratch") as connection:
        for stage, path in paths.items():
            write_parquet(connection, queries[stage], path)
    return paths


if __name__ == "__main__":
    main()
