"""Joined samples to judge: a spec, rows that break no rule, and a writer that gives them the contract's types."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet
import pytest

from data_checks.day_sample import DaySample
from data_checks.profile import write_profile
from data_checks.receipts import Receipt
from data_checks.validation import validate_day
from ml.data.dataset import DatasetSpec

DAY = date(2026, 3, 2)
SCHEMA = pa.schema(
    {
        "row_kind": pa.string(),
        "impression_id": pa.string(),
        "user_key": pa.string(),
        "item_key": pa.string(),
        "unit_key": pa.string(),
        "impression_time": pa.timestamp("us"),
        "click_time": pa.timestamp("us"),
        "conversion_time": pa.timestamp("us"),
        "cart_time": pa.timestamp("us"),
        "favourite_time": pa.timestamp("us"),
        "click": pa.int64(),
        "conversion": pa.int64(),
        "cart": pa.int64(),
        "favourite": pa.int64(),
        "value": pa.float64(),
        "order_id": pa.string(),
        "label_age_seconds": pa.int64(),
        "mature": pa.bool_(),
        "duplicate_rank": pa.int64(),
        "duplicate_conflict": pa.bool_(),
        "unparsed_count": pa.int64(),
        "unparsed_columns": pa.list_(pa.string()),
        "source_file": pa.string(),
        "source_row": pa.int64(),
        "source_line": pa.int64(),
        "user": pa.string(),
        "item": pa.string(),
        "price": pa.float64(),
        "recent_items": pa.list_(pa.string()),
        # A field of this name once stood in for a row's place in the file.
        "position": pa.string(),
        "tags": pa.list_(pa.string()),
        "tags_weights": pa.list_(pa.float64()),
    }
)
_TABLE = {"path": "t.parquet", "format": "parquet", "time": "t"}
_REFERRING = _TABLE | {"refers_to": "impression_id", "impression_id": "i"}
_WIDE = {"kind": "wide_log", "table": _TABLE | {"impression_id": "i", "click": "clicked", "conversion": "converted"}}
_STAGES = {
    "kind": "event_streams",
    "impressions": _TABLE | {"impression_id": "i"},
    "clicks": _REFERRING,
    "conversions": _REFERRING,
    "carts": _REFERRING,
    "favourites": _REFERRING,
}


def make_spec(
    *,
    timezone: str = "UTC",
    validation: dict[str, Any] | None = None,
    stages: bool = False,
    source: dict[str, Any] | None = None,
    **attribution: int,
) -> DatasetSpec:
    """The shop's spec: with carts and favourites if `stages`, a wide log where the conversion window is 0."""
    windows = {"click_window_seconds": 3600, "conversion_window_days": 3} | attribution
    kind = _STAGES if stages else {"kind": "synthetic"}
    return DatasetSpec.model_validate(
        {
            "name": "shop",
            "timezone": timezone,
            "days": {"first": "2026-03-01"},
            "source": source or (kind if windows["conversion_window_days"] else _WIDE),
            "fields": [
                {"name": "user", "entity": "user", "kind": "id"},
                {"name": "item", "entity": "item", "kind": "id"},
                {"name": "price", "entity": "item", "kind": "number"},
                {"name": "recent_items", "entity": "user", "kind": "sequence", "of": "item"},
                {"name": "position", "entity": "context", "bias": True},
                {"name": "tags", "entity": "context", "kind": "sequence", "weighted": True},
            ],
            "user_key": "user",
            "item_key": "item",
            "attribution": windows,
            "validation": validation or {},
        }
    )


def make_row(number: int = 0, **changes: Any) -> dict[str, Any]:
    """An impression that was clicked and converted, and breaks no rule."""
    shown = datetime(DAY.year, DAY.month, DAY.day, 12) + timedelta(seconds=number % 3600)
    row = {
        "row_kind": "impression",
        "impression_id": f"i{number}",
        "user_key": f"u{number % 7}",
        "item_key": f"a{number % 5}",
        "unit_key": f"u{number % 7}",
        "impression_time": shown,
        "click_time": shown + timedelta(seconds=20),
        "conversion_time": shown + timedelta(hours=5),
        # A log without these stages.
        "cart_time": None,
        "favourite_time": None,
        "click": 1,
        "conversion": 1,
        "cart": None,
        "favourite": None,
        "value": 9.5,
        "order_id": f"o{number}",
        "label_age_seconds": 500_000,
        "mature": True,
        "duplicate_rank": 1,
        "duplicate_conflict": False,
        "unparsed_count": 0,
        "unparsed_columns": [],
        "source_file": "impressions.parquet",
        "source_row": number,
        "source_line": None,
        "user": f"u{number % 7}",
        "item": f"a{number % 5}",
        "price": 3.25,
        "recent_items": ["a1", "a2"],
        "position": "9",
        "tags": ["new", "sale"],
        "tags_weights": [1.0, 0.5],
    }
    unknown = changes.keys() - row.keys()
    assert not unknown, unknown
    return row | changes


def make_orphan(kind: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    empty = dict.fromkeys(SCHEMA.names)
    moment = datetime(DAY.year, DAY.month, DAY.day, 13)
    known = {"row_kind": kind, "user_key": "u1", "item_key": "a1", f"{kind}_time": moment, "unparsed_count": 0}
    return empty | known | {"unparsed_columns": [], "source_file": f"{kind}s.parquet", "source_row": number} | changes


def write_samples(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), path)
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    return pyarrow.parquet.read_table(path).to_pylist()


def make_day_sample(spec: DatasetSpec, **columns: list[Any]) -> DaySample:
    """The sample of a day whose admitted rows have these columns, and nothing in the others; unclicked if not said."""
    length = len(next(iter(columns.values())))
    values = {"click": [0] * length, "conversion": [0] * length} | columns
    whole = {name: pa.array(values.get(name, [None] * length), SCHEMA.field(name).type) for name in SCHEMA.names}
    table = pa.table(whole)
    clicks, conversions = (table[label].to_pylist().count(1) for label in ("click", "conversion"))
    sample = DaySample(spec=spec, impressions=length, clicks=clicks, conversions=conversions)
    sample.add(table)
    return sample


def make_profile(spec: DatasetSpec, path: Path, **columns: list[Any]) -> Path:
    """The stored profile of such a day."""
    with duckdb.connect() as connection:
        write_profile(connection, sample=make_day_sample(spec, **columns), spec=spec, out=path)
    return path


@pytest.fixture(scope="session")
def build() -> SimpleNamespace:
    """The makers above, for tests: they cannot import a conftest."""
    return SimpleNamespace(
        day=DAY,
        spec=make_spec,
        row=make_row,
        orphan=make_orphan,
        write=write_samples,
        read=read_rows,
        sample=make_day_sample,
        profile=make_profile,
    )


@pytest.fixture
def judge(tmp_path: Path) -> Callable[..., Receipt]:
    """Validate rows; the files lie in tmp_path as samples.parquet, admitted.parquet and quarantine.parquet."""

    def run(rows: Sequence[dict[str, Any]], *, spec: DatasetSpec | None = None, **arguments: Any) -> Receipt:
        given = {"day": DAY, "input_version": "v1", "history": (), "label_horizon": None, "events": None}
        return validate_day(
            samples=write_samples(tmp_path / "samples.parquet", rows),
            spec=spec or make_spec(validation={"max_bad_share": 1.0}),
            admitted_to=tmp_path / "admitted.parquet",
            quarantined_to=tmp_path / "quarantine.parquet",
            **(given | arguments),
        )

    return run
