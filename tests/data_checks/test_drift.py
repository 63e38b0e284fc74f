"""Drift by profiles: PSI against a plain reference, what every day differs by, new ids, lost values."""

import math
import random
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_checks.drift import FieldDrift, field_drifts, psi
from data_checks.field_measures import drift_measures, null_share
from data_checks.rules import Measure
from ml.data.dataset import DatasetSpec

DAY = date(2026, 3, 2)
Columns = dict[str, list[Any]]


def _plain_psi(day: list[int], reference: list[int]) -> float:
    total = 0.0
    for seen, expected in zip(day, reference, strict=True):
        p, q = max(seen / sum(day), 0.0001), max(expected / sum(reference), 0.0001)
        total += (p - q) * math.log(p / q)
    return total


_COUNTS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=12)


@given(counts=_COUNTS)
def test_the_population_stability_index_is_its_formula(counts: list[tuple[int, int]]) -> None:
    day, reference = ([*column, 5] for column in zip(*counts, strict=True))
    found = psi(np.array(day), np.array(reference))
    assert found == pytest.approx(_plain_psi(day, reference))
    assert found == pytest.approx(psi(np.array(reference), np.array(day)))
    assert psi(np.array(day), 3 * np.array(day)) == pytest.approx(0)


def _compare(
    build: SimpleNamespace, folder: Path, today: Columns, past: list[Columns], **validation: Any
) -> tuple[dict[str, FieldDrift], dict[str, Measure]]:
    spec = build.spec(validation=validation)
    profile = build.profile(spec, folder / "today.parquet", **today)
    days = [DAY - timedelta(days=age) for age in range(len(past), 0, -1)]
    stored = {
        day: build.profile(spec, folder / f"{day}.parquet", **columns) for day, columns in zip(days, past, strict=True)
    }
    counted, usable, drifts = field_drifts(spec=spec, profile=profile, past=stored)
    rows = len(next(iter(today.values())))
    measures = drift_measures(spec=spec, drifts=drifts, days=len(past), rows=rows)
    measures["null_share"] = null_share(spec=spec, rows=rows, today=counted, past=usable)
    return {drift.field: drift for drift in drifts}, measures


def _draw(seed: int, values: list[Any], rows: int = 2000) -> list[Any]:
    chance = random.Random(seed)
    return [chance.choice(values) for _ in range(rows)]


def test_a_category_is_compared_value_by_value(build: SimpleNamespace, tmp_path: Path) -> None:
    past = [{"position": ["a"] * (1000 + 10 * n) + ["b"] * 900 + [None] * 100} for n in range(3)]
    drifts, _ = _compare(build, tmp_path, {"position": ["a"] * 500 + ["b"] * 800 + ["c"] * 500 + [None] * 200}, past)
    counted = {"today": [500, 800, 500, 200], "pool": [3030, 2700, 0, 300]}
    drift = drifts["position"]
    assert drift.psi == pytest.approx(_plain_psi(counted["today"], counted["pool"]))
    left_out = [_plain_psi([1000 + 10 * n, 900, 0, 100], [2030 - 10 * n, 1800, 0, 200]) for n in range(3)]
    assert drift.usual_psi == pytest.approx(median(left_out))
    assert (drift.new_share, drift.usual_new_share) == (500 / 1800, 0.0)
    assert drift.moved == "'a' 50.2% → 25.0%"


def test_a_number_is_compared_by_the_tenths_of_the_trailing_days(build: SimpleNamespace, tmp_path: Path) -> None:
    past = [{"price": [float(n % 100 + 1) for n in range(2000)]} for _ in range(3)]
    same, _ = _compare(build, tmp_path, {"price": [float(n % 100 + 1) for n in range(1000)]}, past)
    assert same["price"].psi == pytest.approx(0)
    dearer, measures = _compare(build, tmp_path, {"price": [float(n % 100 + 51) for n in range(2000)]}, past)
    # Half of the rows lie above all but the last tenth: ten tenths of 10 % against five of 0, four of 10 and one of 60.
    assert dearer["price"].psi == pytest.approx(5 * 0.1 * math.log(0.1 / 1e-4) + 0.5 * math.log(6), rel=0.1)
    assert dearer["price"].moved.startswith("median 5")
    assert measures["psi"].evidence[0]["field"] == "price"
    assert (dearer["price"].new_share, dearer["price"].strangers) == (None, None)


@pytest.mark.parametrize("days", [3, 7])
def test_a_field_that_is_another_one_each_weekday_has_not_drifted(
    build: SimpleNamespace, tmp_path: Path, days: int
) -> None:
    past = [{"position": [str(n % 7)] * 1000} for n in range(days)]
    drifts, measures = _compare(build, tmp_path, {"position": [str(days % 7)] * 1000}, past)
    drift = drifts["position"]
    assert drift.psi is not None
    assert drift.psi > 1
    assert measures["psi"].value is not None
    assert measures["psi"].value <= 0
    # With a week of them, today's is known; before, every day's is as new as today's.
    assert (drift.new_share, drift.usual_new_share) == (float(days < 7), 1.0)
    assert measures["new_share"].value is None


@pytest.mark.parametrize("known", [0.9, 0.5])
def test_users_and_items_that_come_and_go_as_usual_have_not_drifted(
    build: SimpleNamespace, tmp_path: Path, known: float
) -> None:
    def day(seed: int) -> Columns:
        chance = random.Random(seed)
        items = [f"i{chance.randrange(300)}" if chance.random() < known else f"new{seed}-{n}" for n in range(4000)]
        return {"item": items, "user": [f"u{chance.randrange(2000)}" for _ in range(4000)]}

    drifts, measures = _compare(build, tmp_path, day(99), [day(seed) for seed in range(7)])
    assert drifts["item"].new_share == pytest.approx(1 - known, abs=0.03)
    assert measures["new_share"].value == pytest.approx(0, abs=0.05)
    assert measures["psi"].value == pytest.approx(0, abs=0.05)
    renamed = {name: [f"x-{value}" for value in values] for name, values in day(98).items()}
    _, changed = _compare(build, tmp_path, renamed, [day(seed) for seed in range(7)])
    assert changed["new_share"].value == pytest.approx(1)
    assert {row["field"] for row in changed["new_share"].evidence} == {"item", "user"}


def test_values_that_are_lost_are_drift_and_a_lost_field(build: SimpleNamespace, tmp_path: Path) -> None:
    past = [{"position": _draw(seed, ["a", "b", None], 1000), "price": [1.0] * 1000} for seed in range(4)]
    today = {"position": _draw(9, ["a", "b", None], 1000), "price": [1.0] * 790 + [None] * 210}
    _, measures = _compare(build, tmp_path, today, past)
    lost = measures["null_share"]
    assert (lost.value, lost.bound, lost.usual) == (0.21, 0.2, 0.0)
    assert lost.evidence == ({"field": "price", "null_share": "0.2100", "bound": "0.2000", "usual": "0.0000"},)
    drift, _ = _compare(build, tmp_path, {"price": [1.0] * 400 + [None] * 600}, past)
    assert drift["price"].moved == "missing 0.0% → 60.0%"
    _, within = _compare(build, tmp_path, today | {"price": [1.0] * 800 + [None] * 200}, past)
    assert within["null_share"].value is not None
    assert within["null_share"].value <= (within["null_share"].bound or 0)


def test_without_history_only_an_empty_column_is_lost_and_a_field_s_own_bound_comes_first(
    build: SimpleNamespace, tmp_path: Path
) -> None:
    whole = {name: [f"v{n % 40}" for n in range(1000)] for name in ("user", "item", "position")}
    whole |= {"recent_items": [["a"]] * 1000, "tags": [["a"]] * 1000, "price": [1.0] * 1000}
    _, sparse = _compare(build, tmp_path, whole | {"price": [None] * 989 + [1.0] * 11}, [])
    assert (sparse["null_share"].value, sparse["null_share"].bound) == (0.989, 0.99)
    _, empty = _compare(build, tmp_path, whole | {"tags": [[]] * 1000}, [])
    assert (empty["null_share"].value, empty["null_share"].evidence[0]["field"]) == (1.0, "tags")
    own = {"fields": {"price": {"max_null_share": 0.2}}}
    _, strict = _compare(build, tmp_path, whole | {"price": [None] * 201 + [1.0] * 799}, [], **own)
    assert (strict["null_share"].value, strict["null_share"].bound) == (0.201, 0.2)
    few = {name: values[:999] for name, values in whole.items()}
    _, unjudged = _compare(build, tmp_path, few, [])
    assert unjudged["null_share"].why == "999 rows were admitted; 1000 are needed (validation.null_share_min_rows)"


def test_too_little_to_compare_with_says_so(build: SimpleNamespace, tmp_path: Path) -> None:
    day = {"position": _draw(1, ["a", "b"], 1000)}
    _, two = _compare(build, tmp_path, day, [day] * 2)
    why = "2 admitted days with a profile in the 7 before; 3 are needed (validation.drift_min_history)"
    assert [two[name].why for name in ("psi", "new_share")] == [why, why]
    _, few = _compare(build, tmp_path, {"position": ["a"] * 999}, [day] * 3)
    assert few["psi"].why == "999 rows were admitted; 1000 are needed (validation.drift_min_rows)"
    small = {"position": ["a"] * 999}
    _, thin = _compare(build, tmp_path, day, [day, day, small])
    assert thin["psi"].why == "no field can be compared with the trailing days"


def test_a_field_that_drifts_by_nature_is_left_out(build: SimpleNamespace, tmp_path: Path) -> None:
    past, today = [{"position": ["a"] * 1000}] * 3, {"position": ["b"] * 1000}
    _, judged = _compare(build, tmp_path, today, past)
    assert (judged["psi"].value or 0) > 1
    drifts, excused = _compare(build, tmp_path, today, past, fields={"position": {"drifts": True}})
    assert "position" not in drifts
    assert excused["psi"].value == pytest.approx(0)


def test_a_field_whose_kind_has_changed_or_that_is_new_has_nothing_to_be_compared_with(
    build: SimpleNamespace, tmp_path: Path
) -> None:
    spec = build.spec()
    as_number = DatasetSpec.model_validate(
        spec.model_dump()
        | {
            "fields": [
                field | {"kind": "number"} if field["name"] == "position" else field
                for field in spec.model_dump()["fields"]
            ]
        }
    )
    days = [DAY - timedelta(days=age) for age in (3, 2, 1)]
    past = {day: build.profile(spec, tmp_path / f"{day}.parquet", position=["1"] * 1000) for day in days}
    today = tmp_path / "today.parquet"
    build.profile(spec, today, position=["1"] * 1000)
    _, _, drifts = field_drifts(spec=as_number, profile=today, past=past)
    assert next(drift for drift in drifts if drift.field == "position").psi is None
