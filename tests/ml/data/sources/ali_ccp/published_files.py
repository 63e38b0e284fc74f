"""Ali-CCP files written by hand in the published format, after two real rows; no real row is among them."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ml.data.dataset import DatasetSpec
from ml.data.sources.source import LandedDay, LogSource

FIRST = date(2026, 1, 1)
FIELDS = (
    {"name": "user", "column": "101", "entity": "user", "kind": "id"},
    {"name": "age", "column": "124", "entity": "user"},
    {"name": "item", "column": "205", "entity": "item", "kind": "id"},
    {"name": "brand", "column": "216", "entity": "item"},
    {"name": "affinity", "column": "853", "entity": "context", "kind": "number"},
    {"name": "intention", "column": "210", "entity": "context", "kind": "sequence"},
    {"name": "brands", "column": "150_14", "entity": "user", "kind": "sequence", "weighted": True, "max_length": 3},
)


def item(field: Any, value_id: Any, value: Any = "1.0") -> str:
    """One `field␂id␃value`."""
    return f"{field}\x02{value_id}\x03{value}"


def sample(number: Any, index: str, items: Sequence[str], *, click: Any = 0, bought: Any = 0, count: Any = None) -> str:
    """One line of a skeleton file; `count` where it is not the number of items."""
    return f"{number},{click},{bought},{common(index, items, count=count)}"


def common(index: str, items: Sequence[str], *, count: Any = None) -> str:
    """One line of a file of common features."""
    return f"{index},{len(items) if count is None else count}," + "\x01".join(items)


def write_part(
    folder: Path, samples: Iterable[str], commons: Iterable[str], *, part: str = "train", end: str = "\n"
) -> None:
    """Write the two files of the train or the test part, lines ended by `end`."""
    for name, lines in (("sample_skeleton", samples), ("common_features", commons)):
        (folder / f"{name}_{part}.csv").write_bytes("".join(line + end for line in lines).encode())


def make_spec(
    folder: Path, *, days: int = 1, first: date = FIRST, suffix: str = ".csv", **sections: Any
) -> DatasetSpec:
    """A spec for the four files in `folder`, the train file split into `days`."""
    source: dict[str, Any] = {"kind": "ali_ccp", "pseudo_days": days}
    for part in ("train", "test"):
        source[f"{part}_skeleton"] = f"{folder}/sample_skeleton_{part}{suffix}"
        source[f"{part}_common"] = f"{folder}/common_features_{part}{suffix}"
    content: dict[str, Any] = {
        "name": "ccp",
        "days": {"first": first, "last": first + timedelta(days=days)},
        "source": source,
        "fields": FIELDS,
        "user_key": "user",
        "item_key": "item",
        "attribution": {"conversion_window_days": 0},
    }
    return DatasetSpec.model_validate(content | sections)


def land_days(spec: DatasetSpec, places: Sequence[int], *, root: Path) -> list[LandedDay]:
    """The days of the log at `places`, landed together below `root`."""
    days = [spec.days.first + timedelta(days=place) for place in places]
    return list(LogSource(spec=spec, feed_root=root).land_events(days=days, root=root))


def land(spec: DatasetSpec, *places: int, root: Path) -> list[list[dict[str, Any]]]:
    """The landed rows of the days at `places`; a refusal is raised."""
    rows = []
    for day in land_days(spec, places, root=root):
        if day.refused is not None:
            raise day.refused
        table = day.tables["impressions"]
        rows.append(pq.ParquetFile(table.path).read().to_pylist())
        assert len(rows[-1]) == table.rows
    return rows
