"""The benchmark's plain pandas mirror of the rules on rows must not rot: a new rule needs a mask there, too."""

import math
import random
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from data_checks.catalog import RULES
from data_checks.day_facts import gather_facts
from data_checks.marks import mark_rows
from data_checks.rules import RuleContext
from ml.data.dataset import DatasetSpec
from tests.benchmarks import data_speed
from tests.benchmarks.pandas_rules import rule_masks
from tests.benchmarks.raw_days import RawDays
from tests.benchmarks.scaling import exponent

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12)
_INFINITY = 2**63 - 1
_OF_ROWS = [rule for rule in RULES if rule.level == "row"]
_VALIDATION = {
    "clock_skew_seconds": 30,
    "max_text_length": 9,
    "one_sided_user_impressions": 3,
    "bot_min_impressions": 20,
    "bot_quantile": 0.8,
    "fields": {"price": {"min": 1, "max": 50}},
}
_SECONDS = [-3600, -31, -30, -1, 0, 30, 3599, 3600, 86399, 86400, 3 * 86400 - 1, 3 * 86400]
_LABELS = [0, 1, None, 2, -1, 2**62]
_FLOATS = [None, 0.0, -0.0, 1.0, 50.0, 50.5, -2.0, math.nan, math.inf, -math.inf]
_TEXTS = [None, "", "fine", "zu langer Text", "ключключ", "a\nb", "a\rb", "a\0b", "🛒🛒🛒"]
_KEYS = ["", "  ", "\t", " a", None]
#: By column what a faulty cell may hold.
_CELLS: dict[str, list[Any]] = {
    "row_kind": ["click", "conversion", "cart", "favourite", "banner", "", None],
    **dict.fromkeys(("impression_id", "user_key", "item_key"), _KEYS),
    **dict.fromkeys(("click", "conversion", "cart", "favourite"), _LABELS),
    "value": _FLOATS,
    "price": _FLOATS,
    **dict.fromkeys(("user", "item", "position"), _TEXTS),
    "tags": [None, [], ["new"], ["new", None]],
    "tags_weights": [None, [], [1.0], [1.0, math.nan], [None, 1.0]],
    "duplicate_rank": [1, 2, 3, None],
    "duplicate_conflict": [True, None],
    "unparsed_count": [1, None],
    "order_id": ["o1", "o2", "o3", None],
}


def _random_rows(build: SimpleNamespace, seed: int) -> list[dict[str, Any]]:
    """Rows with about two faulty cells each; some users click on everything, one looks at far more than the others."""
    chance = random.Random(seed)
    rows = []
    for number in range(300):
        user = chance.choices(["bot", "fan", "ann", "bob", "cid", "dora"], weights=[6, 1, 1, 1, 1, 1])[0]
        clicked = int(user == "fan" or chance.random() < 0.2)
        row = build.row(
            number,
            user_key=user,
            click=clicked,
            conversion=int(clicked and user in ("fan", "ann")),
            order_id=chance.choice(["o1", "o2", f"o{number}"]),
            value=chance.choice([9.5, 9.5, 1.0]),
            cart=chance.choice([0, 1]),
            favourite=0,
        )
        # The fan's labels stay as they are: one of them missing, and the user is not one-sided.
        for column in chance.sample(sorted(_CELLS.keys() - ({"click", "conversion"} if user == "fan" else set())), 2):
            row[column] = chance.choice(_CELLS[column])
        if chance.random() < 0.1:
            kind = chance.choice(["click", "cart", "favourite", "conversion"])
            row |= {"row_kind": kind, "duplicate_rank": chance.choice([None, 2])}
        for column in ("impression_time", "click_time", "cart_time", "favourite_time", "conversion_time"):
            row[column] = _random_time(chance)
        rows.append(row)
    return rows


def _random_time(chance: random.Random) -> Any:
    far = [None, _INFINITY, -_INFINITY, datetime(1, 1, 1), datetime(9999, 12, 31), datetime(2026, 3, 2)]
    if chance.random() < 0.2:
        return chance.choice(far)
    return NOON + timedelta(seconds=chance.choice(_SECONDS), microseconds=chance.choice([-1, 0, 0, 1]))


def _sql_masks(samples: Path, spec: DatasetSpec) -> dict[str, np.ndarray]:
    with duckdb.connect() as connection:
        facts = gather_facts(connection, samples=samples, spec=spec, day=DAY)
        context = RuleContext(spec=spec, day=DAY, bot_bound=facts.bot_bound, rare_labels=facts.rare_labels)
        mark_rows(connection, samples=samples, rules=_OF_ROWS, context=context)
        broken = connection.execute("SELECT * FROM broken").df().set_index("position")
    masks = {rule.id: np.zeros(facts.rows, dtype=bool) for rule in _OF_ROWS}
    for rule, mask in masks.items():
        mask[broken.index[broken[rule]]] = True
    return masks


def test_every_rule_on_rows_has_a_mask_in_pandas(build: SimpleNamespace, tmp_path: Path) -> None:
    samples = build.write(tmp_path / "samples.parquet", [build.row(1)])
    mirrored = rule_masks(pd.read_parquet(samples, dtype_backend="pyarrow"), spec=build.spec(stages=True), day=DAY)
    missing = sorted({rule.id for rule in _OF_ROWS} - mirrored.keys())
    assert not missing, f"write the masks of {missing} in tests/benchmarks/pandas_rules.py"
    assert not mirrored.keys() - {rule.id for rule in _OF_ROWS}


def test_sql_and_pandas_mark_the_same_rows_and_every_rule_is_broken(build: SimpleNamespace, tmp_path: Path) -> None:
    spec = build.spec(stages=True, validation=_VALIDATION)
    ever = set()
    for seed in range(6):
        samples = build.write(tmp_path / f"{seed}.parquet", _random_rows(build, seed))
        frame = pd.read_parquet(samples, dtype_backend="pyarrow")
        found, expected = _sql_masks(samples, spec), rule_masks(frame, spec=spec, day=DAY)
        for rule in found:
            differ = np.flatnonzero(found[rule] != expected[rule])
            assert not len(differ), f"{rule}, seed {seed}: rows {differ[:5]}"
        ever |= {rule for rule, mask in found.items() if mask.any()}
    assert ever == {rule.id for rule in _OF_ROWS}


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Shanghai"])
def test_the_mirror_knows_the_days_of_time_zones(build: SimpleNamespace, tmp_path: Path, zone: str) -> None:
    spec = build.spec(stages=True, timezone=zone)
    start = datetime(2026, 3, 2) + timedelta(hours=5 if zone == "America/New_York" else -8)
    times = [start - timedelta(microseconds=1), start, start + timedelta(days=1) - timedelta(microseconds=1)]
    rows = [build.row(number, impression_time=time) for number, time in enumerate([*times, start + timedelta(days=1)])]
    samples = build.write(tmp_path / "samples.parquet", rows)
    masks = rule_masks(pd.read_parquet(samples, dtype_backend="pyarrow"), spec=spec, day=DAY)
    assert masks["schema.impression_time_outside_day"].tolist() == [True, False, False, True]
    assert _sql_masks(samples, spec)["schema.impression_time_outside_day"].tolist() == [True, False, False, True]


def test_a_generated_day_is_joined_judged_and_split_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_speed, "TRAILING_IMPRESSIONS", 3000)
    raw = RawDays(tmp_path, 3000)
    raw.land()
    rows = {step: data_speed.STEPS[step](raw)["rows"] for step in ("join", "validate", "pandas", "agreement")}
    assert len(set(rows.values())) == 1
    found = data_speed.STEPS["agreement"](raw)["bad_rows_by_rule"]
    assert found.keys() == {"click_before_conversion.orphan_conversion", "duplicates.impression_repeated"}
    pd.read_parquet(raw.file("joined.parquet")).iloc[1:].to_parquet(raw.file("joined.parquet"))
    with pytest.raises(AssertionError, match=r"rows of pandas_joined\.parquet that joined\.parquet has not"):
        data_speed.STEPS["agreement"](raw)


def test_the_exponent_of_a_power_is_found() -> None:
    assert exponent({10**n: 3e-6 * (10**n) ** 1.2 for n in range(4, 8)}) == pytest.approx(1.2)
