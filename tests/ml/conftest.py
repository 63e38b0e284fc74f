"""A small layout, hand-made batches and graphs, and little days of samples on disk, for models and training."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ml.data.batches import Batch
from ml.data.fields import FieldSpec
from ml.data.layout import FeatureColumn, FeatureLayout, SequenceColumn
from ml.models.layers.node_graph import Graphs, NodeGraph

USERS, ITEMS = 6, 5
FIRST_DAY = date(2026, 11, 1)


def _layout() -> FeatureLayout:
    sizes = {"user": USERS + 1, "age": 3, "item": ITEMS + 1, "brand": 4, "hour": 5}
    entities = {"user": "user", "age": "user", "item": "item", "brand": "item", "hour": "context"}
    columns, offset = [], 0
    for name, size in sizes.items():
        columns.append(
            FeatureColumn.model_validate(
                {"name": name, "entity": entities[name], "kind": "id", "offset": offset, "size": size}
            )
        )
        offset += size
    history = SequenceColumn(name="history", of="item", entity="user", max_length=3)
    return FeatureLayout(
        columns=tuple(columns), sequences=(history,), total_rows=offset, user_key="user", item_key="item"
    )


@pytest.fixture
def layout() -> FeatureLayout:
    """Two user fields, two item fields, one context field and a sequence of items."""
    return _layout()


@pytest.fixture
def make_batch(layout: FeatureLayout) -> Callable[..., Batch]:
    """make_batch(rows, seed=0, click_rate=.5, conversion_rate=.5): random samples, out-of-vocabulary ids among them."""

    def make(rows: int, *, seed: int = 0, click_rate: float = 0.5, conversion_rate: float = 0.5) -> Batch:
        random = np.random.default_rng(seed)
        features = np.stack([c.offset + random.integers(0, c.size, rows) for c in layout.columns], axis=1)
        item = layout.columns[layout.index("item")]
        history = item.offset + random.integers(0, item.size, (rows, 3))
        for row, length in enumerate(random.integers(0, 4, rows)):
            history[row, : 3 - length] = -1
        click = (random.random(rows) < click_rate).astype(np.float32)
        conversion = click * (random.random(rows) < conversion_rate).astype(np.float32)
        return Batch(
            features=torch.from_numpy(features),
            sequences={"history": torch.from_numpy(history)},
            click=torch.from_numpy(click),
            conversion=torch.from_numpy(conversion.astype(np.float32)),
            value=torch.zeros(rows),
        )

    return make


@pytest.fixture
def listed_layout(layout: FeatureLayout) -> FeatureLayout:
    """``layout`` with a weighted list of tags, whose five rows are its own."""
    rows = layout.total_rows
    tags = SequenceColumn(name="tags", entity="user", max_length=4, weighted=True, offset=rows, size=5)
    return FeatureLayout.model_validate(
        {**layout.model_dump(), "sequences": (*layout.sequences, tags), "total_rows": rows + 5}
    )


@pytest.fixture
def make_listed_batch(listed_layout: FeatureLayout, make_batch: Callable[..., Batch]) -> Callable[..., Batch]:
    """make_listed_batch(rows, seed=0): ``make_batch`` with tags, weights (some 0) and labels of both extra stages."""

    def make(rows: int, *, seed: int = 0) -> Batch:
        random = np.random.default_rng([seed, 1])
        tags = listed_layout.row_range("tags").offset + random.integers(0, 5, (rows, 4))
        tags[np.arange(4) < 4 - random.integers(0, 5, (rows, 1))] = -1
        weights = random.exponential(1.0, (rows, 4)) * (random.random((rows, 4)) < 0.7) * (tags >= 0)
        stages = {stage: torch.from_numpy(random.integers(0, 2, rows)).float() for stage in ("cart", "favourite")}
        return dataclasses.replace(
            make_batch(rows, seed=seed),
            sequences={**make_batch(rows, seed=seed).sequences, "tags": torch.from_numpy(tags)},
            sequence_weights={"tags": torch.from_numpy(weights.astype(np.float32))},
            stages=stages,
        )

    return make


@pytest.fixture
def graphs(layout: FeatureLayout) -> Graphs:
    """A random graph per side; its last node has no neighbours."""

    def side(entity: str, nodes: int, seed: int) -> NodeGraph:
        random = np.random.default_rng(seed)
        degrees = random.integers(1, 4, nodes)
        degrees[-1] = 0
        indices = np.concatenate([random.choice(nodes, degree, replace=False) for degree in degrees])
        columns = [layout.columns[i] for i in layout.entity_columns(entity)]  # type: ignore[arg-type]
        features = [
            c.offset + (np.arange(nodes) + 1 if c.name == entity else random.integers(0, c.size, nodes))
            for c in columns
        ]
        return NodeGraph.from_csr(
            indptr=torch.from_numpy(np.concatenate([[0], np.cumsum(degrees)])),
            indices=torch.from_numpy(indices.astype(np.int32)),
            weights=torch.from_numpy(random.random(len(indices)).astype(np.float32)),
            node_features=torch.from_numpy(np.stack(features, axis=1).astype(np.int32)),
        )

    return Graphs(user=side("user", USERS, 1), item=side("item", ITEMS, 2))


SAMPLE_FIELDS = (
    FieldSpec(name="user", entity="user", kind="id"),
    FieldSpec(name="age", entity="user", kind="category"),
    FieldSpec(name="item", entity="item", kind="id"),
    FieldSpec(name="brand", entity="item", kind="category"),
    FieldSpec(name="price", entity="item", kind="number", buckets=4),
    FieldSpec(name="hour", entity="context", kind="category"),
    FieldSpec(name="history", entity="user", kind="sequence", of="item", max_length=3),
)


@pytest.fixture
def sample_fields() -> tuple[FieldSpec, ...]:
    """The fields of ``write_samples``: every kind and every side."""
    return SAMPLE_FIELDS


@pytest.fixture
def listed_fields() -> tuple[FieldSpec, ...]:
    """The fields of ``write_samples(..., listed=True)``: a weighted list with a vocabulary of its own among them."""
    tags = FieldSpec(name="tags", entity="user", kind="sequence", max_length=4, weighted=True)
    return (*SAMPLE_FIELDS, tags)


@pytest.fixture
def write_samples(tmp_path: Path) -> Callable[..., tuple[Path, str]]:
    """write_samples(day, rows, ...) → a validated samples.parquet and its sha256. Even items are clicked and
    converted more often, so that there is something to learn. ``listed`` adds tags with weights, ``carts`` the labels
    of that stage, ``seen_until`` the times of what happens, and takes away the conversions that come later."""

    def write(
        day: date,
        rows: int,
        *,
        seed: int = 0,
        all_clicked: bool = False,
        no_clicks: bool = False,
        listed: bool = False,
        carts: bool = False,
        seen_until: datetime | None = None,
    ) -> tuple[Path, str]:
        path = tmp_path / "samples" / str(day) / "samples.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = _samples(day, rows, seed=seed, all_clicked=all_clicked, no_clicks=no_clicks)
        random = np.random.default_rng([seed, day.toordinal(), 1])
        if listed:
            lengths = random.integers(0, 6, rows)
            tags = [[f"t{i}" for i in random.integers(0, 8, length)] for length in lengths]
            weights = [random.exponential(1.0, length).tolist() for length in lengths]
            table = table.append_column("tags", pa.array(tags, pa.list_(pa.string())))
            table = table.append_column("tags_weights", pa.array(weights, pa.list_(pa.float64())))
        if carts:
            table = table.append_column("cart", pa.array(random.integers(0, 2, rows)))
            table = table.append_column("favourite", pa.nulls(rows, pa.int64()))
        pq.write_table(table if seen_until is None else _timed(table, seen_until, random), path)
        return path, hashlib.sha256(path.read_bytes()).hexdigest()

    return write


def _samples(day: date, rows: int, *, seed: int, all_clicked: bool, no_clicks: bool) -> pa.Table:
    random = np.random.default_rng([seed, day.toordinal()])
    user, item = random.integers(0, 40, rows), random.integers(0, 30, rows)
    click = random.random(rows) < np.where(item % 2 == 0, 0.6, 0.2)
    click = (click | all_clicked) & (not no_clicks)
    conversion = click & (random.random(rows) < np.where(item % 4 == 0, 0.6, 0.1))
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    times = [start + timedelta(seconds=int(second)) for second in np.sort(random.integers(0, 86400, rows))]
    history = [[f"i{i}" for i in random.integers(0, 30, length)] for length in random.integers(0, 5, rows)]
    return pa.table(
        {
            "row_kind": pa.array(["impression"] * rows, pa.string()),
            "impression_id": pa.array([f"{day}-{i}" for i in range(rows)], pa.string()),
            "unit_key": pa.array([f"u{i}" for i in user], pa.string()),
            "impression_time": pa.array(times, pa.timestamp("us", tz="UTC")),
            "click": pa.array(click.astype(np.int64)),
            "conversion": pa.array(conversion.astype(np.int64)),
            "value": pa.array([9.5 if bought else None for bought in conversion], pa.float64()),
            "user": pa.array([f"u{i}" for i in user], pa.string()),
            "age": pa.array([f"a{i % 3}" for i in user], pa.string()),
            "item": pa.array([f"i{i}" for i in item], pa.string()),
            "brand": pa.array([f"b{i % 5}" for i in item], pa.string()),
            "price": pa.array((item % 7).astype(np.float64)),
            "hour": pa.array([str(time.hour // 6) for time in times], pa.string()),
            "history": pa.array(history, pa.list_(pa.string())),
        }
    )


def _timed(table: pa.Table, seen_until: datetime, random: np.random.Generator) -> pa.Table:
    """Clicks a minute after the impression, conversions up to two days (W) after the click, seen up to an instant."""
    shown = table.column("impression_time").cast(pa.timestamp("us")).to_numpy()
    horizon = np.datetime64(seen_until.replace(tzinfo=None), "us")
    clicked, converted = (table.column(name).to_numpy() == 1 for name in ("click", "conversion"))
    click = np.where(clicked, shown + np.timedelta64(60, "s"), np.datetime64("NaT"))
    conversion = click + (random.random(len(click)) * 2 * 86400e6).astype("m8[us]")
    seen = converted & (conversion < horizon)
    age = ((horizon - shown) // np.timedelta64(1, "s")).astype(np.int64)
    columns = {
        "conversion": seen.astype(np.int64),
        "click_time": pa.array(click, pa.timestamp("us")),
        "conversion_time": pa.array(np.where(seen, conversion, np.datetime64("NaT")), pa.timestamp("us")),
        "label_age_seconds": age,
        "mature": age >= 2 * 86400 + 60,
    }
    kept = table.drop_columns(["conversion"])
    return pa.table({**{name: kept.column(name) for name in kept.column_names}, **columns})
