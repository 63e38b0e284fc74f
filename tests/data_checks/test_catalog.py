from datetime import date
from types import SimpleNamespace

import duckdb

from data_checks.catalog import RULES, rules_version
from data_checks.receipts import FAMILIES
from data_checks.rules import RuleContext, TrailingVolume


def test_rule_ids_are_stable() -> None:
    # Receipts, quarantine files and reviewers refer to them: an id is added, never renamed.
    assert [rule.id for rule in RULES] == [
        "schema.row_kind_unknown",
        "schema.impression_id_missing",
        "schema.user_key_missing",
        "schema.item_key_missing",
        "schema.impression_time_missing",
        "schema.impression_time_outside_day",
        "schema.time_not_finite",
        "schema.value_unreadable",
        "schema.value_out_of_range",
        "schema.number_not_finite",
        "label_consistency.click_not_binary",
        "label_consistency.conversion_not_binary",
        "label_consistency.conversion_without_click",
        "label_consistency.value_without_conversion",
        "click_before_conversion.click_before_impression",
        "click_before_conversion.conversion_before_click",
        "click_before_conversion.conversion_before_impression",
        "click_before_conversion.click_outside_window",
        "click_before_conversion.conversion_outside_window",
        "click_before_conversion.orphan_click",
        "click_before_conversion.orphan_conversion",
        "duplicates.impression_repeated",
        "volume.empty_day",
        "volume.below_trailing_median",
        "volume.above_trailing_median",
    ]
    assert {rule.family for rule in RULES} == set(FAMILIES)


def test_a_quantity_of_one_name_is_one_quantity(build: SimpleNamespace) -> None:
    spec = build.spec()
    texts: dict[str, str] = {}
    for rule in RULES:
        assert texts.setdefault(rule.quantity.name, rule.quantity.sql(spec)) == rule.quantity.sql(spec)


def test_rules_on_the_day_see_no_rows_and_rules_on_rows_no_other_row(build: SimpleNamespace) -> None:
    trailing = TrailingVolume(median=None, days=0)
    context = RuleContext(spec=build.spec(), day=build.day, impressions=1, trailing=trailing)
    assert {rule.family for rule in RULES if rule.level == "day"} == {"volume"}
    for rule in RULES:
        if rule.level == "day":
            sql = f"SELECT {rule.mask_sql(context.spec)}"
            used = {name: value for name, value in context.parameters.items() if f"${name}" in sql}
            assert len(duckdb.execute(sql, used).fetchall()) == 1


def test_the_version_changes_with_a_threshold_and_with_nothing_else(build: SimpleNamespace) -> None:
    version = rules_version(build.spec())
    assert version == rules_version(build.spec())
    others = [
        build.spec(validation={"max_bad_share": 0.04}),
        build.spec(validation={"volume_low_ratio": 0.4}),
        build.spec(validation={"clock_skew_seconds": 1}),
        build.spec(click_window_seconds=60),
        build.spec(conversion_window_days=4),
        build.spec(timezone="Asia/Shanghai"),
    ]
    assert len({version, *(rules_version(other) for other in others)}) == len(others) + 1
    later = build.spec().model_copy(update={"days": build.spec().days.model_copy(update={"first": date(2025, 1, 1)})})
    assert rules_version(later) == version
