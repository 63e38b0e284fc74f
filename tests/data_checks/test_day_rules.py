"""Rules on the day: each at its bound by mask and expectation alike, and days that break them, from rows to receipt."""

import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from data_checks.catalog import RULES
from data_checks.marks import mark_day
from data_checks.quantities import day_quantities
from data_checks.receipts import Receipt, RuleResult
from data_checks.rules import Measure, RuleContext
from data_checks.suites import judge as judge_values

OF_DAY = [rule for rule in RULES if rule.level == "day"]
DAY = date(2026, 3, 2)
#: By measure, the bounds of the rules on it: (setting or number, rule it bounds from below) or (…, from above).
BOUNDS: dict[str, list[tuple[float, str, int]]] = {
    "null_share": [(0.5, "schema.field_lost", 1)],
    "impressions": [(0.5, "volume.empty_day", -1)],
    "impressions_over_median": [(0.5, "volume.below_trailing_median", -1), (3.0, "volume.above_trailing_median", 1)],
    **{
        f"{measure}_z": [
            (-4.0, f"volume.unusual_{measure}", -1),
            (4.0, f"volume.unusual_{measure}", 1),
            (-8.0, f"volume.extreme_{measure}", -1),
            (20.0, f"volume.extreme_{measure}", 1),
        ]
        for measure in ("impressions", "click_rate", "conversion_rate")
    },
    "silent_hours": [(0.5, "volume.feed_cut_short", 1)],
    "psi": [(0.25, "drift.field_shifted", 1), (1.0, "drift.field_replaced", 1)],
    "new_share": [(0.25, "drift.ids_new", 1), (0.75, "drift.ids_replaced", 1)],
    "label_names": [(0.5, "drift.field_named_like_label", 1)],
    "field_auc": [(0.99, "drift.field_separates_label", 1)],
}


def _broken(build: SimpleNamespace, values: dict[str, float]) -> set[str]:
    """The rules that a day of these measures (with a bound of .5 where it is their own) breaks, found both ways."""
    measures = {name: Measure(value=value, bound=0.5) for name, value in values.items()}
    context = RuleContext(spec=build.spec(), day=DAY, measures=measures)
    rules = [rule for rule in OF_DAY if rule.measure in values]
    with duckdb.connect() as connection:
        marked = mark_day(connection, rules=rules, context=context)
        judged = judge_values(rules, context, day_quantities(connection, rules=rules, context=context), name="day")
    assert marked == {rule: found.unexpected for rule, found in judged.items()}
    assert all(found.judged == 1 for found in judged.values())
    return {rule for rule, is_broken in marked.items() if is_broken}


def test_every_rule_on_the_day_lets_its_bound_pass_and_no_more(build: SimpleNamespace) -> None:
    assert {rule for bounds in BOUNDS.values() for _, rule, _ in bounds} == {rule.id for rule in OF_DAY}
    longest = max(len(bounds) for bounds in BOUNDS.values())
    for place in range(longest):
        chosen = {measure: bounds[place] for measure, bounds in BOUNDS.items() if place < len(bounds)}
        at = _broken(build, {measure: bound for measure, (bound, _, _) in chosen.items()})
        beyond = _broken(build, {measure: bound + side * 1e-9 for measure, (bound, _, side) in chosen.items()})
        assert beyond - at == {rule for _, rule, _ in chosen.values()}
        assert not at & {rule for _, rule, _ in chosen.values()}


USERS = [f"u{n}" for n in range(40)]


def _rows(build: SimpleNamespace, *, seed: int = 1, rows: int = 1500, **changes: Any) -> list[dict[str, Any]]:
    """Impressions of a whole day, a tenth of them clicked, with fields that know nothing of the label.

    `changes` are columns by a function of the row's number and its click.
    """
    chance = random.Random(seed)
    made = []
    for n in range(rows):
        clicked = chance.random() < 0.1
        row = {
            "impression_time": build.row()["impression_time"].replace(hour=0, second=1) + timedelta(seconds=57 * n),
            "click": int(clicked),
            "conversion": 0,
            **dict.fromkeys(("click_time", "conversion_time", "value", "order_id")),
            "user_key": (user := chance.choice(USERS)),
            "user": user,
            "item": f"a{chance.randrange(60)}",
            "price": chance.gauss(20, 5),
            "recent_items": [f"a{chance.randrange(60)}"],
            "position": str(chance.randrange(9)),
        }
        made.append(build.row(n, **row | {name: change(n, clicked) for name, change in changes.items()}))
    return made


def _day(
    build: SimpleNamespace, judge: Callable[..., Receipt], rows: list[dict[str, Any]], folder: Path, **arguments: Any
) -> Receipt:
    spec = arguments.pop("spec", None) or build.spec(validation={"max_bad_share": 1.0})
    return judge(rows, spec=spec, profile_to=folder / "profile.parquet", **arguments)


@pytest.fixture(scope="module")
def profiles(build: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> dict[date, Path]:
    """The profiles of three usual days before."""
    folder = tmp_path_factory.mktemp("profiles")
    stored = {}
    for age in (3, 2, 1):
        rows = _rows(build, seed=10 + age)
        columns = {
            name: [row[name] for row in rows] for name in ("user", "item", "price", "recent_items", "position", "tags")
        }
        day = DAY - timedelta(days=age)
        stored[day] = build.profile(build.spec(), folder / f"{day}.parquet", **columns)
    return stored


def _failed(receipt: Receipt) -> dict[str, RuleResult]:
    return {result.rule: result for result in receipt.rules if result.failed}


def test_a_usual_day_breaks_nothing_and_every_rule_that_was_not_judged_says_why(
    build: SimpleNamespace, judge: Callable[..., Receipt], profiles: dict[date, Path], tmp_path: Path
) -> None:
    receipt = _day(build, judge, _rows(build), tmp_path, profiles=profiles)
    assert (receipt.verdict, _failed(receipt)) == ("admitted", {})
    assert all(bool(result.why) == (result.judged == 0) for result in receipt.rules)
    of_day = {result.rule: result for result in receipt.rules if result.rule in {rule.id for rule in OF_DAY}}
    assert {rule for rule, result in of_day.items() if result.judged} == {
        "schema.field_lost",
        "volume.empty_day",
        "volume.feed_cut_short",
        *(rule for rule in of_day if rule.startswith("drift.")),
    }
    assert {result.why for result in of_day.values() if not result.judged} == {
        "0 admitted days in the 14 before; 3 are needed (validation.volume_min_history)",
        "0 days in the 35 before can be compared, 0 of the same weekday; 7 or 4 are needed (validation.season_*)",
    }
    assert all(result.observed is not None for result in of_day.values() if result.judged)


def test_a_day_of_many_faults_names_every_field_and_number(
    build: SimpleNamespace, judge: Callable[..., Receipt], profiles: dict[date, Path], tmp_path: Path
) -> None:
    rows = _rows(
        build,
        item=lambda n, clicked: f"sku-{n % 60}",
        price=lambda n, clicked: None if n % 2 else 20.0,
        position=lambda n, clicked: "7" if clicked else "3",
        impression_time=lambda n, clicked: build.row(n)["impression_time"],
    )
    receipt = _day(build, judge, rows, tmp_path, profiles=profiles)
    failed = _failed(receipt)
    assert set(failed) == {
        "schema.field_lost",
        "volume.feed_cut_short",
        "drift.field_shifted",
        "drift.field_replaced",
        "drift.ids_new",
        "drift.ids_replaced",
        "drift.field_separates_label",
    }
    assert receipt.verdict == "refused"
    assert len(receipt.reasons) == 5
    assert failed["schema.field_lost"].samples[0]["field"] == "price"
    assert {row["field"] for row in failed["drift.field_replaced"].samples} >= {"item", "price", "position"}
    assert failed["drift.ids_replaced"].samples[0]["field"] == "item"
    leak = failed["drift.field_separates_label"]
    assert leak.samples == ({"field": "position", "label": "click", "auc": "1.0000"},)
    assert leak.offending == ("field", "label", "auc")
    assert any("field position, label click, auc 1.0000" in reason for reason in receipt.reasons)
    assert failed["volume.feed_cut_short"].observed == pytest.approx(11.58, abs=0.01)
    assert all(set(result.offending) <= set(row) for result in failed.values() for row in result.samples)
    assert all(result.rows == receipt.rows_in for result in failed.values())
    # Rules on the day send no row to quarantine.
    assert receipt.quarantined == 0


def test_label_rates_and_volume_are_held_against_the_receipts_of_before(
    build: SimpleNamespace, judge: Callable[..., Receipt], tmp_path: Path
) -> None:
    usual = _day(build, judge, _rows(build), tmp_path)
    history = [
        usual.model_copy(update={"day": DAY - timedelta(days=age), "impressions": 4000, "conversions": 150})
        for age in range(1, 29)
    ]
    receipt = _day(build, judge, _rows(build, click=lambda n, clicked: 1), tmp_path, history=history)
    failed = _failed(receipt)
    assert set(failed) == {
        "volume.below_trailing_median",
        "volume.unusual_impressions",
        "volume.extreme_impressions",
        "volume.unusual_click_rate",
        "volume.extreme_click_rate",
        "volume.unusual_conversion_rate",
        "volume.extreme_conversion_rate",
    }
    volume = failed["volume.extreme_impressions"]
    assert volume.observed == pytest.approx((1500 - 4000) / 200)
    assert (volume.threshold, volume.trailing_median) == (-8.0, 4000.0)
    assert volume.samples == (
        {"value": "1500", "median": "4000", "scale": "200", "compared with": "4 of the same weekday"},
    )
    assert (failed["volume.extreme_click_rate"].threshold, failed["volume.unusual_click_rate"].effect) == (20.0, "warn")
    # Labels that are still to come are not judged, nor days of them compared with.
    provisional = [row | {"mature": False} for row in _rows(build)]
    why = {result.rule: result.why for result in _day(build, judge, provisional, tmp_path, history=history).rules}
    assert why["volume.unusual_conversion_rate"] == "the day's labels are not mature"
    young = [past.model_copy(update={"mature": 0}) for past in history]
    why = {result.rule: result.why for result in _day(build, judge, _rows(build), tmp_path, history=young).rules}
    assert why["volume.unusual_conversion_rate"].startswith("0 days in the 35 before can be compared")


def test_a_day_that_cannot_be_judged_leaves_no_file_behind(
    build: SimpleNamespace,
    judge: Callable[..., Receipt],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from data_checks import validation

    def crash(**arguments: Any) -> None:
        raise RuntimeError("no measure")

    monkeypatch.setattr(validation, "day_measures", crash)
    with pytest.raises(RuntimeError, match="no measure"):
        _day(build, judge, [build.row(1)], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["samples.parquet"]
