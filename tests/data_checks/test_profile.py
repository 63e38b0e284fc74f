"""A day's profile against plain counting, and what is kept of a field with many ids."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_checks import profile
from data_checks.profile import HASH_BUCKETS, number_at, read_profile, values_of


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_every_value_is_counted_and_missing_ones_too(build: SimpleNamespace, tmp_path: Path) -> None:
    rows = [
        {
            "user": ["ana", "ben", None, "ana"][n % 4],
            "recent_items": [["x", "y"], [], None][n % 3],
            "price": n % 5 - 2.0,
        }
        for n in range(60)
    ]
    path = build.profile(build.spec(), tmp_path / "p.parquet", **_columns(rows))
    fields = read_profile(path)
    assert set(fields) == {"user", "item", "price", "recent_items", "position", "tags"}
    users = fields["user"]
    names = values_of(path, "user")
    counted = {names[key]: int(many) for key, many in zip(users.keys.tolist(), users.rows, strict=True)}
    assert (counted, users.missing, users.step) == ({"ana": 30, "ben": 15}, 15, 1)
    assert users.missing_share == 0.25
    assert list(values_of(path, "recent_items").values()) == ["y"]
    assert (fields["recent_items"].missing, fields["item"].missing, fields["item"].total) == (40, 60, 60)
    prices = fields["price"]
    assert prices.number
    assert [round(number_at(key), 2) for key in prices.keys.tolist()] == pytest.approx([-2, -1, 0, 1, 2], rel=0.01)
    assert prices.rows.tolist() == [12] * 5


def test_the_bins_of_numbers_rise_with_them_and_are_one_percent_wide(build: SimpleNamespace, tmp_path: Path) -> None:
    numbers = [-1e300, -7.5, -1e-300, 0.0, 5e-324, 0.001, 0.5, 3.0, 1e6, 1.7e308, 25.0, 25.01]
    path = build.profile(build.spec(), tmp_path / "p.parquet", price=sorted(numbers))
    keys = read_profile(path)["price"].keys
    assert np.all(np.diff(keys) > 0)
    assert len(keys) == len(numbers) - 1
    for number in (-7.5, 0.001, 0.5, 3.0, 1e6):
        assert min(abs(number_at(int(key)) / number - 1) for key in keys) < 0.0101


def test_of_many_ids_those_with_the_same_hashes_are_kept_on_every_day(
    build: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "MAX_VALUES", 300)
    days = []
    for day, first in enumerate((0, 500)):
        items = [f"i{n}" for n in range(first, first + 1000) for _ in range(1 + n % 3)]
        path = build.profile(build.spec(), tmp_path / f"{day}.parquet", item=items)
        found = read_profile(path)["item"]
        assert found.step == 4
        assert 200 < len(found.keys) < 320
        assert found.total == len(items) == found.rows.sum() + found.rest.sum()
        names, counted = values_of(path, "item"), Counter(items)
        assert all(counted[names[key]] == many for key, many in zip(found.keys.tolist(), found.rows, strict=True))
        assert len(found.rest) == HASH_BUCKETS
        days.append(names)
    common = {name for name in days[0].values() if int(name[1:]) >= 500}
    assert common == {name for name in days[1].values() if int(name[1:]) < 1000}


def test_the_same_rows_give_the_same_bytes(build: SimpleNamespace, tmp_path: Path) -> None:
    rows = [{"user": f"u{n % 91}", "price": n / 7, "recent_items": [f"i{n % 13}"]} for n in range(500)]
    paths = [build.profile(build.spec(), tmp_path / name, **_columns(rows)) for name in ("a.parquet", "b.parquet")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_day_without_rows_has_an_empty_profile(build: SimpleNamespace, tmp_path: Path) -> None:
    assert read_profile(build.profile(build.spec(), tmp_path / "p.parquet", user=[])) == {}


def test_a_profile_of_another_format_holds_nothing_to_compare_with(build: SimpleNamespace, tmp_path: Path) -> None:
    path = build.profile(build.spec(), tmp_path / "p.parquet", user=["ana"])
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"postclick.profile": b"0"}), path)
    assert read_profile(path) == {}
