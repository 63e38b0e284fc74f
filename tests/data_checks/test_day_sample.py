"""What is kept of a day's rows: the same each time, of a sequence its newest value, and ids counted over all rows."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data_checks import day_sample
from data_checks.day_sample import DaySample

SCHEMA = pa.schema(
    {
        "user": pa.string(),
        "item": pa.string(),
        "price": pa.float64(),
        "recent_items": pa.list_(pa.string()),
        "position": pa.string(),
        "tags": pa.list_(pa.string()),
        "click": pa.int64(),
        "conversion": pa.int64(),
    }
)


def _table(rows: int, start: int = 0) -> pa.Table:
    known = range(start, start + rows)
    return pa.Table.from_pylist(
        [
            {
                "user": None if n % 10 == 0 else f"u{n % 7}",
                "item": f"a{n}",
                "price": None if n % 4 == 0 else n / 2,
                "recent_items": [None, [], ["old", f"new{n % 3}"], [None]][n % 4],
                "position": str(n % 5),
                "tags": None,
                "click": None if n % 9 == 0 else int(n % 3 == 0),
                "conversion": 0,
            }
            for n in known
        ],
        schema=SCHEMA,
    )


def _sample(build: SimpleNamespace, tables: list[pa.Table]) -> DaySample:
    rows = sum(len(table) for table in tables)
    clicks = sum(value == 1 for table in tables for value in table["click"].to_pylist())
    sample = DaySample(spec=build.spec(), impressions=rows, clicks=clicks, conversions=0)
    for table in tables:
        sample.add(table)
    return sample


def _texts(sample: DaySample, field: str) -> list[Any]:
    values, codes = sample.texts(field)
    return [None if code < 0 else values[code].as_py() for code in codes]


@pytest.mark.parametrize("dictionaries", [False, True])
def test_a_small_day_is_kept_whole_in_its_order(build: SimpleNamespace, dictionaries: bool) -> None:
    tables = [_table(30), _table(25, start=30)]
    if dictionaries:
        # As the split reads them: every row group has a dictionary of its own.
        tables = [
            table.set_column(place, name, table[name].dictionary_encode())
            for table in tables
            for place, name in ((0, "user"),)
        ]
    sample = _sample(build, tables)
    rows = pa.concat_tables([_table(30), _table(25, start=30)]).to_pylist()
    assert sample.rows == len(rows) == sample.in_profile.sum()
    assert _texts(sample, "user") == [row["user"] for row in rows]
    newest = [row["recent_items"][-1] if row["recent_items"] else None for row in rows]
    assert _texts(sample, "recent_items") == newest
    assert _texts(sample, "tags") == [None] * 55
    prices = [np.nan if row["price"] is None else row["price"] for row in rows]
    np.testing.assert_array_equal(sample.numbers("price"), prices)
    np.testing.assert_array_equal(sample.labels("click"), [int(row["click"] == 1) for row in rows])
    assert sample.id_counts("item") is None


def test_a_large_day_keeps_a_share_of_each_kind_and_counts_all_ids(
    build: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_sample, "PROFILE_ROWS", 1000)
    monkeypatch.setattr(day_sample, "LABEL_ROWS", 500)
    monkeypatch.setattr(day_sample, "_LONGEST_COUNTS", 10)
    tables = [_table(6000), _table(4000, start=6000)]
    sample = _sample(build, tables)
    again = _sample(build, [pa.concat_tables(tables)])
    assert _texts(sample, "item") == _texts(again, "item")
    assert 900 < sample.in_profile.sum() < 1100
    clicks = sample.labels("click")
    # 2,222 of 10,000 rows are clicked.
    assert 350 < (clicks == 1).sum() < 550
    assert 400 < (clicks == 0).sum() < 600
    assert 0.4 < sample.first_half.mean() < 0.6
    users = sample.id_counts("user")
    assert users is not None
    counted = dict(zip(users["value"].to_pylist(), users["rows"].to_pylist(), strict=True))
    everyone = [value for table in tables for value in table["user"].to_pylist()]
    assert counted == {value: everyone.count(value) for value in set(everyone)}
    assert sample.id_counts("position") is None


def test_a_day_without_rows_is_an_empty_sample(build: SimpleNamespace) -> None:
    sample = DaySample(spec=build.spec(), impressions=0, clicks=0, conversions=0)
    assert (sample.rows, len(sample.numbers("price")), len(sample.labels("click"))) == (0, 0, 0)
    assert [len(part) for part in sample.texts("user")] == [0, 0]
