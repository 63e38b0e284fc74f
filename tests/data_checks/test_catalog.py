"""The catalog: ids, families and what changes the rules' version."""

from datetime import date
from types import SimpleNamespace

import duckdb

from data_checks.catalog import RULES, rules_version
from data_checks.marks import mark_day
from data_checks.receipts import FAMILIES
from data_checks.rules import Measure, RuleContext
from ml.data.dataset import ValidationSpec

#: Every threshold, changed a little.
_OTHER_THRESHOLDS = {
    name: not value if isinstance(value, bool) else value * 0.98 if isinstance(value, float) else value + 1
    for name, value in ValidationSpec()
    if isinstance(value, int | float) and name not in ("max_bad_share", "volume_low_ratio", "clock_skew_seconds")
}


def test_rule_ids_are_stable() -> None:
    # Receipts, quarantine files and reviewers refer to them: an id is added, never renamed.
    assert [(rule.id, rule.effect) for rule in RULES] == [
        ("schema.row_kind_unknown", "quarantine"),
        ("schema.impression_id_missing", "quarantine"),
        ("schema.user_key_missing", "quarantine"),
        ("schema.item_key_missing", "quarantine"),
        ("schema.impression_time_missing", "quarantine"),
        ("schema.impression_time_outside_day", "quarantine"),
        ("schema.time_not_finite", "quarantine"),
        ("schema.value_unreadable", "quarantine"),
        ("schema.value_out_of_range", "quarantine"),
        ("schema.number_not_finite", "quarantine"),
        ("schema.number_out_of_range", "quarantine"),
        ("schema.text_malformed", "quarantine"),
        ("schema.weights_mismatch", "quarantine"),
        ("schema.field_lost", "refuse"),
        ("label_consistency.click_not_binary", "quarantine"),
        ("label_consistency.conversion_not_binary", "quarantine"),
        ("label_consistency.conversion_without_click", "quarantine"),
        ("label_consistency.value_without_conversion", "quarantine"),
        ("label_consistency.cart_not_binary", "quarantine"),
        ("label_consistency.favourite_not_binary", "quarantine"),
        ("label_consistency.cart_without_click", "warn"),
        ("label_consistency.favourite_without_click", "warn"),
        ("label_consistency.user_always_clicks", "quarantine"),
        ("label_consistency.user_always_converts", "quarantine"),
        ("label_consistency.order_of_several_users", "quarantine"),
        ("label_consistency.order_values_differ", "warn"),
        ("click_before_conversion.click_before_impression", "quarantine"),
        ("click_before_conversion.conversion_before_click", "quarantine"),
        ("click_before_conversion.conversion_before_impression", "quarantine"),
        ("click_before_conversion.click_outside_window", "quarantine"),
        ("click_before_conversion.conversion_outside_window", "quarantine"),
        ("click_before_conversion.cart_before_click", "quarantine"),
        ("click_before_conversion.cart_outside_window", "quarantine"),
        ("click_before_conversion.favourite_before_click", "quarantine"),
        ("click_before_conversion.favourite_outside_window", "quarantine"),
        ("click_before_conversion.orphan_click", "quarantine"),
        ("click_before_conversion.orphan_conversion", "quarantine"),
        ("click_before_conversion.orphan_cart", "quarantine"),
        ("click_before_conversion.orphan_favourite", "quarantine"),
        ("duplicates.impression_repeated", "quarantine"),
        ("duplicates.impression_conflicting", "quarantine"),
        ("duplicates.order_repeated", "quarantine"),
        ("volume.empty_day", "refuse"),
        ("volume.below_trailing_median", "refuse"),
        ("volume.above_trailing_median", "refuse"),
        ("volume.unusual_impressions", "warn"),
        ("volume.extreme_impressions", "refuse"),
        ("volume.unusual_click_rate", "warn"),
        ("volume.extreme_click_rate", "refuse"),
        ("volume.unusual_conversion_rate", "warn"),
        ("volume.extreme_conversion_rate", "refuse"),
        ("volume.feed_cut_short", "refuse"),
        ("volume.bot_user", "quarantine"),
        ("drift.field_shifted", "warn"),
        ("drift.field_replaced", "refuse"),
        ("drift.ids_new", "warn"),
        ("drift.ids_replaced", "refuse"),
        ("drift.field_named_like_label", "refuse"),
        ("drift.field_separates_label", "refuse"),
    ]
    assert {rule.family for rule in RULES} == set(FAMILIES)


def test_a_quantity_of_one_name_is_one_quantity(build: SimpleNamespace) -> None:
    spec = build.spec()
    texts: dict[str, str] = {}
    for rule in RULES:
        assert texts.setdefault(rule.quantity.name, rule.quantity.sql(spec)) == rule.quantity.sql(spec)


def test_rules_on_the_day_see_no_rows_and_rules_on_rows_only_quarantine_or_warn(build: SimpleNamespace) -> None:
    measures = {rule.measure: Measure(value=1.0, bound=1.0) for rule in RULES if rule.level == "day"}
    context = RuleContext(spec=build.spec(), day=build.day, measures=measures)
    with duckdb.connect() as connection:
        broken = mark_day(connection, rules=[rule for rule in RULES if rule.level == "day"], context=context)
    assert len(broken) == len([rule for rule in RULES if rule.level == "day"])
    assert {rule.effect for rule in RULES if rule.level == "row"} == {"quarantine", "warn"}
    assert {rule.effect for rule in RULES if rule.level == "day"} == {"refuse", "warn"}
    assert all(bool(rule.measure) == (rule.level == "day") for rule in RULES)


def test_what_is_at_fault_is_among_what_is_shown(build: SimpleNamespace) -> None:
    spec = build.spec(stages=True, validation={"fields": {"price": {"min": 0}}})
    for rule in RULES:
        if rule.level == "row":
            assert set(rule.offending(spec)) <= set(rule.sample_columns(spec)), rule.id
            assert rule.offending(spec), rule.id
            assert rule.sample_columns(spec)[-3:] == ("source_file", "source_row", "source_line"), rule.id


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
        build.spec(stages=True),
        build.spec(stages=True, stage_window_seconds=60),
        build.spec(validation={"fields": {"price": {"max": 5}}}),
        build.spec(validation={"fields": {"position": {"resembles_label": True}}}),
        *(build.spec(validation={name: value}) for name, value in _OTHER_THRESHOLDS.items()),
    ]
    assert len({version, *(rules_version(other) for other in others)}) == len(others) + 1
    later = build.spec().model_copy(update={"days": build.spec().days.model_copy(update={"first": date(2025, 1, 1)})})
    assert rules_version(later) == version
