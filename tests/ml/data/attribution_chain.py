"""Writes hand-made streams as landed files and runs attribution and join over them, day by day, as the assets do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.attribution import (
    STAGE_TABLES,
    OptionalStage,
    credit_conversions,
    credit_lookback,
    credit_stage,
    resolve_touches,
    touch_lookback,
)
from ml.data.dataset import DatasetSpec, Stage
from ml.data.samples import JoinedDay, LabelEvents, join_day, label_horizon
from tests.ml.data.attribution_reference import CLICK_WINDOW, STAGE_WINDOW, Event

FIRST = date(2026, 3, 2)
MIDNIGHT = datetime(2026, 3, 2)
TEXT, TIME = pa.string(), pa.timestamp("us")
KEYS = {"user_key": TEXT, "item_key": TEXT}
PLACE = {"unparsed_columns": pa.list_(TEXT), "source_file": TEXT, "source_row": pa.int64(), "source_line": pa.int64()}
NAMES = {"click_id": TEXT, "impression_id": TEXT, **KEYS}
TYPES: dict[str, dict[str, pa.DataType]] = {
    "impressions": {"impression_id": TEXT, "impression_time": TIME, **KEYS, **PLACE}
    | {"unit_key": TEXT, "user": TEXT, "item": TEXT},
    "clicks": {**NAMES, "click_time": TIME, **PLACE},
    "carts": {**NAMES, "cart_time": TIME, **PLACE},
    "favourites": {**NAMES, "favourite_time": TIME, **PLACE},
    "conversions": {**NAMES, "conversion_time": TIME, **PLACE, "value": pa.float64(), "order_id": TEXT},
}


def dataset(
    clicks: str, conversions: str, *, carts: str | None = None, skew: int = 0, **attribution: Any
) -> DatasetSpec:
    """A log of streams that refer as named; windows as the reference has them, `skew` in seconds."""
    table: dict[str, Any] = {"path": "-", "format": "csv", "time": "time"}
    columns = {"impression_id": "i", "click_id": "c", "user": "u", "item": "i"}
    windows = {"click_window_seconds": CLICK_WINDOW * 3600, "conversion_window_days": 1}
    windows |= {"stage_window_seconds": STAGE_WINDOW * 3600}
    streams: dict[str, Any] = {
        "kind": "event_streams",
        "impressions": table | {"impression_id": "i"},
        "clicks": clicks if clicks == "implied" else table | columns | {"refers_to": clicks},
        "conversions": table | columns | {"refers_to": conversions},
    }
    if carts is not None:
        streams["carts"] = table | columns | {"refers_to": carts}
    return DatasetSpec.model_validate(
        {
            "name": "log",
            "days": {"first": FIRST},
            "source": streams,
            "fields": [{"name": "user", "entity": "user"}, {"name": "item", "entity": "item"}],
            "user_key": "user",
            "item_key": "item",
            "attribution": windows | attribution,
            "validation": {"clock_skew_seconds": skew},
        }
    )


def write_rows(path: Path, stream: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A landed table; what a row does not say is NULL, its place in the file is its number."""
    filled = [
        {"source_row": n, "source_file": path.stem, "unparsed_columns": []} | row for n, row in enumerate(rows, 1)
    ]
    columns = {name: pa.array([row.get(name) for row in filled], kind) for name, kind in TYPES[stream].items()}
    pq.write_table(pa.table(columns), path)
    return path


def write_day(folder: Path, stream: str, events: Sequence[Event], day: int, mode: str = "") -> Path:
    """The landed file of one day; `names` goes to the column that the mode refers by."""
    rows = []
    for event in (event for event in events if event.day == day):
        row: dict[str, Any] = {"user_key": event.user, "item_key": event.item, "source_row": event.row}
        row |= {"value": event.value, "order_id": event.order, "user": event.user, "item": event.item}
        row[stream[:-1] + "_time"] = None if event.hour is None else MIDNIGHT + timedelta(hours=event.hour)
        row[stream[:-1] + "_id"] = event.id
        row |= {mode: event.names} if mode in ("click_id", "impression_id") else {}
        rows.append(row)
    return write_rows(folder / f"{stream}-{day}.parquet", stream, rows)


@dataclass(frozen=True)
class Chain:
    """Every day's files, made as the assets make them."""

    touches: list[Path]
    credits: list[Path]
    stages: dict[Stage, list[Path]]
    samples: list[Path]
    joined: list[JoinedDay]


def run_chain(folder: Path, spec: DatasetSpec, landed: Mapping[str, Sequence[Path]]) -> Chain:
    """Attribute and join all days of the landed tables (a file a day each)."""
    stages: tuple[OptionalStage, ...] = tuple(stage for stage, table in STAGE_TABLES.items() if table in landed)
    chain = Chain([], [], {stage: [] for stage in stages}, [], [])
    days = len(landed["impressions"])
    for day in range(days):
        out = folder / f"touches-{day}.parquet"
        shown = landed["impressions"][max(0, day - touch_lookback(spec)) : day + 1]
        clicks = None if spec.clicks_implied else landed["clicks"][day]
        resolve_touches(spec=spec, clicks=clicks, impressions=shown, scratch=folder, out=out)
        chain.touches.append(out)
        reach = slice(max(0, day - credit_lookback(spec)), day + 1)
        within: dict[str, Any] = {"spec": spec, "touches": chain.touches[reach], "scratch": folder}
        within["impressions"] = landed["impressions"][reach]
        out = folder / f"credits-{day}.parquet"
        earlier = landed["conversions"][reach][:-1]
        credit_conversions(conversions=landed["conversions"][day], earlier=earlier, out=out, **within)
        chain.credits.append(out)
        for stage in stages:
            out = folder / f"credited-{stage}-{day}.parquet"
            credit_stage(stage=stage, events=landed[STAGE_TABLES[stage]][day], out=out, **within)
            chain.stages[stage].append(out)
    horizon = label_horizon(spec=spec, last_observed=FIRST + timedelta(days=days - 1))
    for day in range(days):
        seen = slice(day, day + spec.label_days + 1)
        events = LabelEvents(
            touches=chain.touches[seen],
            credits=chain.credits[seen],
            stages={stage: files[seen] for stage, files in chain.stages.items()},
        )
        chain.samples.append(folder / f"samples-{day}.parquet")
        chain.joined.append(
            join_day(
                spec=spec,
                impressions=landed["impressions"][day],
                events=events,
                horizon=horizon,
                scratch=folder,
                out=chain.samples[-1],
            )
        )
    return chain


def read(*paths: Path) -> list[dict[str, Any]]:
    """The rows of Parquet files, one file after the other."""
    return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
