"""Every rule on rows three times, as a mask, as an expectation and in plain Python, held to each other on any rows."""

import math
import tempfile
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from data_checks.catalog import RULES
from data_checks.validation import validate_day
from ml.data.dataset import DatasetSpec

DAY = date(2026, 3, 2)
NOON = datetime(DAY.year, DAY.month, DAY.day, 12)
MIDNIGHT = datetime(DAY.year, DAY.month, DAY.day)
STAGES = ("cart", "favourite")
Row = dict[str, Any]


def _broken_rules(rows: list[Row], spec: DatasetSpec) -> list[set[str]]:
    """For UTC days of a log with carts and favourites: the rules on rows that each row breaks."""
    odd_users, odd_orders, odd_values = _odd_users(rows, spec), _odd_orders(rows), _odd_values(rows)
    broken = []
    for row in rows:
        found = _broken_by_any(row)
        if row["row_kind"] == "impression":
            found |= _broken_by_impression(row, spec) | _broken_by_fields(row, spec)
            found |= odd_users.get(row["user_key"], set())
            if row["order_id"] in odd_orders:
                found.add("label_consistency.order_of_several_users")
        valued = row["row_kind"] in ("impression", "conversion") and row["value"] is not None
        if valued and (row["order_id"], row["item_key"]) in odd_values:
            found.add("label_consistency.order_values_differ")
        broken.append(found)
    return broken


def _broken_by_any(row: Row) -> set[str]:
    kind, value = row["row_kind"], row["value"]
    repeated = kind == "conversion" and (row["duplicate_rank"] or 0) >= 2
    found = {
        "schema.row_kind_unknown": kind not in ("impression", "click", "conversion", *STAGES),
        "schema.value_unreadable": row["unparsed_count"] != 0,
        "schema.value_out_of_range": value is not None and not (math.isfinite(value) and value >= 0),
        "duplicates.order_repeated": repeated,
        **{
            f"click_before_conversion.orphan_{orphan}": kind == orphan and not repeated
            for orphan in ("click", "conversion", *STAGES)
        },
    }
    return {rule for rule, is_broken in found.items() if is_broken}


def _broken_by_impression(row: Row, spec: DatasetSpec) -> set[str]:
    shown, click_time, conversion_time = row["impression_time"], row["click_time"], row["conversion_time"]
    skew = timedelta(seconds=spec.validation.clock_skew_seconds)
    click_window = timedelta(seconds=spec.attribution.click_window_seconds)
    conversion_window = timedelta(days=spec.attribution.conversion_window_days)
    stage_window = timedelta(seconds=spec.attribution.stage_window_seconds)
    touched = click_time or shown
    value, converted = row["value"], row["conversion"] == 1
    repeated = (row["duplicate_rank"] or 0) > 1
    found = {
        **{
            f"schema.{key}_missing": not (row[key] or "").strip(" ")
            for key in ("impression_id", "user_key", "item_key")
        },
        "schema.impression_time_missing": shown is None,
        "schema.impression_time_outside_day": shown is not None
        and not MIDNIGHT <= shown < MIDNIGHT + timedelta(days=1),
        **{
            f"label_consistency.{label}_not_binary": row[label] not in (0, 1)
            for label in ("click", "conversion", *STAGES)
        },
        **{
            f"label_consistency.{label}_without_click": row[label] == 1 and row["click"] != 1
            for label in ("conversion", *STAGES)
        },
        "label_consistency.value_without_conversion": value is not None and value != 0 and not converted,
        "click_before_conversion.click_before_impression": bool(shown and click_time and click_time < shown - skew),
        "click_before_conversion.conversion_before_click": bool(
            click_time and conversion_time and conversion_time < click_time - skew
        ),
        "click_before_conversion.conversion_before_impression": bool(
            shown and conversion_time and conversion_time < shown - skew
        ),
        "click_before_conversion.click_outside_window": bool(
            click_window and shown and click_time and click_time - shown >= click_window
        ),
        "click_before_conversion.conversion_outside_window": bool(
            touched and conversion_time and conversion_time - touched >= conversion_window
        ),
        "duplicates.impression_repeated": repeated and not row["duplicate_conflict"],
        "duplicates.impression_conflicting": repeated and bool(row["duplicate_conflict"]),
    }
    for stage in STAGES:
        at = row[f"{stage}_time"]
        found[f"click_before_conversion.{stage}_before_click"] = bool(touched and at and at < touched - skew)
        found[f"click_before_conversion.{stage}_outside_window"] = bool(touched and at and at - touched >= stage_window)
    return {rule for rule, is_broken in found.items() if is_broken}


def _broken_by_fields(row: Row, spec: DatasetSpec) -> set[str]:
    price, tags, weights = row["price"], row["tags"], row["tags_weights"]
    texts = [row[name] for name in ("user", "item", "position") if row[name] is not None]
    longest = spec.validation.max_text_length
    found = {
        "schema.number_not_finite": price is not None and not math.isfinite(price),
        "schema.number_out_of_range": price is not None and math.isfinite(price) and not 0 <= price <= 1000,
        "schema.text_malformed": any(len(text.encode()) > longest or set(text) & set("\n\r\0") for text in texts),
        "schema.weights_mismatch": (None if tags is None else len(tags)) != (None if weights is None else len(weights))
        or any(weight is None or not math.isfinite(weight) for weight in weights or []),
    }
    return {rule for rule, is_broken in found.items() if is_broken}


def _odd_users(rows: list[Row], spec: DatasetSpec) -> dict[str, set[str]]:
    policy = spec.validation
    once = [row for row in rows if row["row_kind"] == "impression" and row["duplicate_rank"] in (1, None)]
    rare = [label for label in ("click", "conversion") if 2 * sum(r[label] == 1 for r in once) < len(once)]
    by_user = defaultdict(list)
    for row in once:
        if row["user_key"] is not None:
            by_user[row["user_key"]].append(row)
    counts = Counter({user: len(shown) for user, shown in by_user.items()})
    rank = math.ceil(policy.bot_quantile * len(counts))
    bound = max(policy.bot_min_impressions, sorted(counts.values())[rank - 1] if counts else 0)
    found = defaultdict(set)
    for user, shown in by_user.items():
        if len(shown) > bound:
            found[user].add("volume.bot_user")
        for label, verb in (("click", "clicks"), ("conversion", "converts")):
            always = all(row[label] == 1 for row in shown)
            if label in rare and always and len(shown) >= policy.one_sided_user_impressions:
                found[user].add(f"label_consistency.user_always_{verb}")
    return found


def _odd_orders(rows: list[Row]) -> set[str]:
    users = defaultdict(set)
    for row in rows:
        if row["row_kind"] == "impression" and row["order_id"] is not None and row["user_key"] is not None:
            users[row["order_id"]].add(row["user_key"])
    return {order for order, known in users.items() if len(known) > 1}


def _odd_values(rows: list[Row]) -> set[tuple[str, str]]:
    values = defaultdict(set)
    for row in rows:
        value = row["value"]
        if row["row_kind"] in ("impression", "conversion") and row["order_id"] is not None and value is not None:
            # NaN is one value, as in SQL; an item that is not known is compared with none.
            values[row["order_id"], row["item_key"]].add("nan" if math.isnan(value) else value)
    return {(order, item) for (order, item), known in values.items() if len(known) > 1 and item is not None}


_TIMES = st.one_of(
    st.none(),
    st.sampled_from([MIDNIGHT, MIDNIGHT - timedelta(microseconds=1), MIDNIGHT + timedelta(days=1), NOON]),
    st.builds(lambda us: NOON + timedelta(microseconds=us), st.integers(-(10**6), 10**6)),
    st.builds(
        lambda seconds, us: NOON + timedelta(seconds=seconds, microseconds=us),
        st.sampled_from([-60, -1, 0, 60, 3600, 86400, 3 * 86400, 3 * 86400 + 3600]),
        st.sampled_from([-1, 0, 1]),
    ),
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),
)
_LABELS = st.sampled_from([0, 0, 1, 1, None, 2, -1, 2**62])
_FLOATS = st.one_of(
    st.none(), st.sampled_from([0.0, -0.0, 5.0, 1000.0, -1e-300, math.inf, -math.inf, math.nan]), st.floats()
)
_KEYS = st.sampled_from(["k1", "k2", "k3", "ключ", " ", "", None])
_TEXTS = st.sampled_from(["a", "b", None, "", "12345678", "123456789", "ключики", "x\ny", "x\r", "\0", "\t"])
#: A day takes a third of a second, and the error names the rule: shrinking would take minutes and tell little more.
_NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
_CHANGES = st.fixed_dictionaries(
    {
        "row_kind": st.sampled_from(["impression"] * 8 + ["click", "conversion", *STAGES, "banner", "", None]),
        "impression_id": _KEYS,
        "user_key": _KEYS,
        "item_key": _KEYS,
        "impression_time": _TIMES,
        "click_time": _TIMES,
        "conversion_time": _TIMES,
        "cart_time": _TIMES,
        "favourite_time": _TIMES,
        "click": _LABELS,
        "conversion": _LABELS,
        "cart": _LABELS,
        "favourite": _LABELS,
        "value": _FLOATS,
        "order_id": st.sampled_from(["o1", "o2", "o3", "", None]),
        "price": _FLOATS,
        "user": _TEXTS,
        "position": _TEXTS,
        "tags": st.sampled_from([None, [], ["a"], ["a", None], ["a", "b", "c"]]),
        "tags_weights": st.sampled_from([None, [], [1.0], [1.0, 2.0], [1.0, math.nan, 2.0], [None], [1.0, -2.0, 0.0]]),
        "duplicate_rank": st.sampled_from([1, 1, 1, 2, 3, None]),
        "duplicate_conflict": st.sampled_from([False, False, True, None]),
        "unparsed_count": st.sampled_from([0, 0, 0, 1, None]),
    }
)
#: Rows without a fault in most columns, so that users and orders come together.
_CALM = st.fixed_dictionaries(
    {
        "user_key": st.sampled_from(["k1", "k2", "k3", "k4"]),
        "item_key": st.sampled_from(["a", "b"]),
        "order_id": st.sampled_from(["o1", "o2", None, None]),
        "value": st.sampled_from([1.0, 2.0, None]),
        "click": st.sampled_from([0, 0, 0, 1]),
        "conversion": st.sampled_from([0, 0, 0, 1]),
        "duplicate_rank": st.sampled_from([1, 1, 2]),
        "cart": st.sampled_from([0, 1]),
        "favourite": st.just(0),
        "user": st.sampled_from(["a", "b"]),
    }
)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=_NO_SHRINKING,
)
@given(
    changes=st.lists(st.one_of(_CHANGES, _CALM), max_size=60),
    skew=st.sampled_from([0, 60]),
    click_window=st.sampled_from([0, 60, 3600]),
)
def test_masks_expectations_and_plain_python_agree_on_any_rows(
    build: SimpleNamespace, changes: list[Row], skew: int, click_window: int
) -> None:
    validation = {
        "max_bad_share": 1.0,
        "clock_skew_seconds": skew,
        "allow_empty_days": True,
        "fields": {"price": {"min": 0, "max": 1000}},
        "max_text_length": 8,
        "one_sided_user_impressions": 2,
        "bot_min_impressions": 2,
        "bot_quantile": 0.6,
    }
    spec = build.spec(validation=validation, stages=True, click_window_seconds=click_window)
    rows = [build.row(number, **changed) for number, changed in enumerate(changes)]
    expected = _broken_rules(rows, spec)
    effects = {rule.id: rule.effect for rule in RULES if rule.level == "row"}
    sent = [any(effects[rule] == "quarantine" for rule in rules) for rules in expected]
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        # validate_day itself raises RuleDisagreement when a mask and its expectation differ.
        receipt = validate_day(
            samples=build.write(where / "samples.parquet", rows),
            spec=spec,
            day=DAY,
            input_version="v1",
            history=(),
            label_horizon=None,
            events=None,
            admitted_to=where / "admitted.parquet",
            quarantined_to=where / "quarantine.parquet",
        )
        quarantined = build.read(where / "quarantine.parquet")
        admitted = build.read(where / "admitted.parquet")
    assert [set(row["rule_ids"]) for row in quarantined] == [
        rules for rules, is_bad in zip(expected, sent, strict=True) if is_bad
    ]
    assert [row["source_row"] for row in admitted] == [
        row["source_row"] for row, is_bad in zip(rows, sent, strict=True) if not is_bad
    ]
    for result in receipt.rules:
        if result.rule in effects:
            assert result.rows == sum(result.rule in rules for rules in expected), result.rule
            assert result.judged >= result.rows
            assert len(result.samples) == min(3, result.rows)
            assert all(set(result.offending) <= set(sample) for sample in result.samples)
            assert bool(result.why) == (result.judged == 0)
            assert bool(result.offending) == bool(result.rows), result.rule
