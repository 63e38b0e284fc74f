"""Small landed and credited files for the tests of the join, one row a mapping; what a row does not say is NULL."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.dataset import DatasetSpec
from ml.data.samples import EventTally, JoinedDay, LabelEvents, join_day

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12)
TEXT, TIME, TEXTS = pa.string(), pa.timestamp("us"), pa.list_(pa.string())
PLACE = {"unparsed_columns": TEXTS, "source_file": TEXT, "source_row": pa.int64(), "source_line": pa.int64()}
KEYS = {"user_key": TEXT, "item_key": TEXT}
IMPRESSION = {"impression_id": TEXT, **KEYS, "unit_key": TEXT, "impression_time": TIME, **PLACE}
FIELD_TYPES = {"user": TEXT, "item": TEXT, "price": pa.float64(), "seen": TEXTS, "seen_weights": pa.list_(pa.float64())}
TOUCH = {"click_id": TEXT, "named_impression": TEXT, "shown_impression": TEXT, "shown_time": TIME, **KEYS}
TOUCH |= {"click_time": TIME, "late": pa.bool_(), **PLACE}
CREDITED = {
    "credited_impression": TEXT,
    "credited_time": TIME,
    "credited_click_time": TIME,
    "late": pa.bool_(),
    **PLACE,
}
CREDIT = {"click_id": TEXT, "impression_id": TEXT, **KEYS, "conversion_time": TIME, "value": pa.float64()}
CREDIT |= {"order_id": TEXT, "duplicate_rank": pa.int64(), **CREDITED}
CART = {"click_id": TEXT, "impression_id": TEXT, **KEYS, "cart_time": TIME, **CREDITED}
LABELS = {"click": pa.int64(), "conversion": pa.int64(), "click_time": TIME, "conversion_time": TIME}
LABELS |= {"value": pa.float64(), "order_id": TEXT}


def dataset(
    *, implied: bool = False, click_window: int = 3600, days: int = 1, carts: bool = False, **more: Any
) -> DatasetSpec:
    table: dict[str, Any] = {"path": "-", "format": "csv", "time": "t"}
    clicks = "implied" if implied else table | {"impression_id": "i"}
    return DatasetSpec.model_validate(
        {
            "name": "log",
            "days": {"first": DAY},
            "source": {
                "kind": "event_streams",
                "impressions": table | {"impression_id": "i"},
                "clicks": clicks,
                "conversions": table | {"refers_to": "click_id", "click_id": "c"},
                **({"carts": table | {"refers_to": "click_id", "click_id": "c"}} if carts else {}),
            },
            "fields": [
                {"name": "user", "entity": "user"},
                {"name": "item", "entity": "item"},
                {"name": "price", "entity": "item", "kind": "number"},
                {"name": "seen", "entity": "user", "kind": "sequence", "of": "item", "weighted": True},
                *more.pop("derived", ()),
            ],
            "user_key": "user",
            "item_key": "item",
            "attribution": {"click_window_seconds": click_window, "conversion_window_days": days} | more,
        }
    )


def write(path: Path, types: Mapping[str, pa.DataType], rows: Sequence[Mapping[str, Any]]) -> Path:
    filled = [{"unparsed_columns": [], "source_file": "f", "late": False, "duplicate_rank": 1, **row} for row in rows]
    numbered = [{"source_row": n, "source_line": n + 1, **row} for n, row in enumerate(filled, 1)]
    columns = {name: pa.array([row.get(name) for row in numbered], kind) for name, kind in types.items()}
    pq.write_table(pa.table(columns), path)
    return path


def join(
    folder: Path,
    impressions: Sequence[Mapping[str, Any]],
    touches: Sequence[Mapping[str, Any]] = (),
    credits: Sequence[Mapping[str, Any]] = (),
    *,
    carts: Sequence[Mapping[str, Any]] | None = None,
    spec: DatasetSpec | None = None,
    horizon: datetime = datetime(2026, 3, 9, tzinfo=UTC),
    derived: Path | None = None,
) -> tuple[JoinedDay, list[dict[str, Any]]]:
    stages = {} if carts is None else {"cart": [write(folder / "carts.parquet", CART, carts)]}
    joined = join_day(
        spec=spec or dataset(carts=carts is not None),
        impressions=write(folder / "impressions.parquet", IMPRESSION | FIELD_TYPES, impressions),
        events=LabelEvents(
            touches=[write(folder / "touches.parquet", TOUCH, touches)],
            credits=[write(folder / "credits.parquet", CREDIT, credits)],
            stages=stages,
        ),
        derived=derived,
        horizon=horizon,
        scratch=folder / "scratch",
        out=folder / "samples.parquet",
    )
    return joined, pq.ParquetFile(folder / "samples.parquet").read().to_pylist()


def shown(name: str | None, **more: Any) -> dict[str, Any]:
    return {
        "impression_id": name,
        "impression_time": NOON,
        "user": "u",
        "item": "i",
        "price": 1.5,
        "seen": ["i"],
        "seen_weights": [0.5],
    } | more


def touch(name: str | None, minutes: int | None, **more: Any) -> dict[str, Any]:
    time = None if minutes is None else NOON + timedelta(minutes=minutes)
    return {"shown_impression": name, "named_impression": name, "shown_time": NOON, "click_time": time} | more


def credit(name: str | None, minutes: int | None, **more: Any) -> dict[str, Any]:
    time = None if minutes is None else NOON + timedelta(minutes=minutes)
    return {"credited_impression": name, "credited_time": NOON, "conversion_time": time} | more


def cart(name: str | None, minutes: int | None, **more: Any) -> dict[str, Any]:
    time = None if minutes is None else NOON + timedelta(minutes=minutes)
    return {"credited_impression": name, "credited_time": NOON, "cart_time": time} | more


def tally(**counts: int) -> EventTally:
    return EventTally(**{"arrived": 0, "credited": 0, "late": 0, "repeated": 0, "orphaned": 0} | counts)
