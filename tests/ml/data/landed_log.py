"""A small log of event streams, written as landed tables and taken to behaviour events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.behaviour import behaviour_lookback, landed_stages, write_behaviour_events
from ml.data.dataset import DatasetSpec, Stage

FIRST = date(2026, 3, 2)
START = datetime(2026, 3, 2)
TEXT, TIME, TEXTS = pa.string(), pa.timestamp("us"), pa.list_(pa.string())
PLACE = {"unparsed_columns": TEXTS, "source_file": TEXT, "source_row": pa.int64(), "source_line": pa.int64()}
KEYS = {"impression_id": TEXT, "user_key": TEXT, "item_key": TEXT}
FIELDS = {"user": TEXT, "item": TEXT, "shop": TEXT, "price": pa.float64()}
COLUMNS = {
    "impression": {"impression_time": TIME, **KEYS, "unit_key": TEXT, **FIELDS, **PLACE},
    "click": {"click_id": TEXT, "click_time": TIME, **KEYS, **PLACE},
    "cart": {"click_id": TEXT, "cart_time": TIME, **KEYS, **PLACE},
    "conversion": {"click_id": TEXT, "conversion_time": TIME, **KEYS}
    | {"value": pa.float64(), "order_id": TEXT, **PLACE},
}


@dataclass(frozen=True)
class Logged:
    """A row of any stream. `minute` counts from the log's first instant (None: an unreadable time), `day` is the day
    it was landed with, `names` the id that it refers by."""

    stage: Stage
    minute: int | None
    day: int
    user: str | None = None
    item: str | None = None
    shop: str | None = None
    price: float | None = None
    id: str | None = None
    names: str | None = None
    order: str | None = None

    @property
    def time(self) -> datetime | None:
        return None if self.minute is None else START + timedelta(minutes=self.minute)


def dataset(derived: Sequence[Mapping[str, Any]], *, clicks: str, follows: str, **more: Any) -> DatasetSpec:
    """The spec of such a log: what its clicks refer to, and what the carts and conversions that follow refer to."""
    table: dict[str, Any] = {"path": "-", "format": "csv", "time": "time"}
    columns = {"impression_id": "i", "click_id": "c", "user": "u", "item": "i"}
    fields = [
        {"name": "user", "entity": "user", "kind": "id"},
        {"name": "item", "entity": "item", "kind": "id"},
        {"name": "shop", "entity": "item"},
        {"name": "price", "entity": "item", "kind": "number"},
        *derived,
    ]
    return DatasetSpec.model_validate(
        {
            "name": "log",
            "days": {"first": FIRST},
            "source": {
                "kind": "event_streams",
                "impressions": table | {"impression_id": "i"},
                "clicks": clicks if clicks == "implied" else table | columns | {"refers_to": clicks},
                "carts": table | columns | {"refers_to": follows},
                "conversions": table | columns | {"refers_to": follows},
            },
            "fields": fields,
            "user_key": "user",
            "item_key": "item",
            "attribution": {"click_window_seconds": 6 * 3600, "conversion_window_days": 1},
            **more,
        }
    )


def rows_of(log: Sequence[Logged], stage: Stage, day: int) -> list[Logged]:
    """The landed rows of one stream and day, in their order: source_row counts them from 1."""
    return [row for row in log if row.stage == stage and row.day == day]


def land(spec: DatasetSpec, log: Sequence[Logged], stage: Stage, day: int, folder: Path) -> Path:
    """Write the landed table of one stream and day."""
    records = []
    for number, row in enumerate(rows_of(log, stage, day), 1):
        record: dict[str, Any] = {f"{stage}_time": row.time, "user_key": row.user, "item_key": row.item}
        record |= {"unparsed_columns": [], "source_file": f"{stage}.csv", "source_row": number, "source_line": number}
        if stage == "impression":
            record |= {"impression_id": row.id, "unit_key": row.user, "user": row.user, "item": row.item}
            record |= {"shop": row.shop, "price": row.price}
        else:
            record |= {"click_id": row.id, "value": 1.0, "order_id": row.order, _reference(spec, stage): row.names}
        records.append(record)
    path = folder / f"{stage}-{day}.parquet"
    columns = {name: pa.array([r.get(name) for r in records], kind) for name, kind in COLUMNS[stage].items()}
    pq.write_table(pa.table(columns), path)
    return path


def _reference(spec: DatasetSpec, stage: Stage) -> str:
    source: Any = spec.source
    if source.kind == "synthetic":
        return "impression_id" if stage == "click" else "click_id"
    table = {"click": source.clicks, "cart": source.carts, "conversion": source.conversions}[stage]
    return "nothing" if table == "implied" or table.refers_to == "user_item_time" else table.refers_to


def make_behaviour(spec: DatasetSpec, log: Sequence[Logged], *, days: int, folder: Path) -> list[Path]:
    """The behaviour events of the first `days` days, each from the landed tables of its lookback."""
    folder.mkdir(parents=True, exist_ok=True)
    landed: dict[Stage, list[Path]] = {
        stage: [land(spec, log, stage, day, folder) for day in range(days)] for stage in landed_stages(spec)
    }
    made = []
    for day in range(days):
        reach = slice(max(0, day - behaviour_lookback(spec)), day + 1)
        made.append(folder / f"behaviour-{day}.parquet")
        tables = {stage: paths[reach] for stage, paths in landed.items()}
        write_behaviour_events(spec=spec, tables=tables, scratch=folder, out=made[-1])
    return made


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    return pq.ParquetFile(path).read().to_pylist()
