"""Order rules: impression, click and conversion come in this order and inside their windows; orphans are found here."""

from data_checks.expectations import between, none_of
from data_checks.rules import IS_IMPRESSION, Quantity, Rule, always

_TIMES = (
    "impression_id",
    "impression_time",
    "click_time",
    "conversion_time",
    "source_file",
    "source_row",
)
_ORPHAN = (
    "row_kind",
    "impression_id",
    "user_key",
    "item_key",
    "click_time",
    "conversion_time",
    "order_id",
    *_TIMES[-2:],
)
#: A conversion credited without a click has its window from the impression, as in the join.
_TOUCH = "coalesce(click_time, impression_time)"


def _microseconds(time: str) -> str:
    # HUGEINT, because the difference of two far-off times overflows BIGINT; infinite times give NULL and have a rule.
    return f"epoch_us({time})::HUGEINT"


def _seconds(name: str, *, start: str, end: str) -> Quantity:
    difference = f"({_microseconds(end)} - {_microseconds(start)})::DOUBLE / 1e6"
    return Quantity(name=name, sql=always(f"CASE WHEN {IS_IMPRESSION} THEN {difference} END"))


def _starts_before(name: str, *, start: str, end: str, skewed: bool, description: str) -> Rule:
    seconds = _seconds(f"seconds_{start}_to_{end}", start=start, end=end)
    tolerated = "$clock_skew_seconds" if skewed else "0"
    return Rule(
        id=f"click_before_conversion.{name}",
        effect="quarantine",
        description=description,
        mask_sql=always(
            f"{IS_IMPRESSION} AND {_microseconds(end)} < {_microseconds(start)} - 1000000 * {tolerated}::HUGEINT"
        ),
        quantity=seconds,
        expectation=between(
            seconds.name, low=lambda context: -context.spec.validation.clock_skew_seconds if skewed else 0
        ),
        unjudged=f"no impression has both {start} and {end}",
        sample_columns=always(_TIMES),
    )


def _outside_window(name: str, *, quantity: Quantity, start: str, end: str, window: str, description: str) -> Rule:
    # A window of 0 is none declared: [0, 0) would hold nothing, not even the published labels of a wide log.
    judged = Quantity(name=quantity.name, sql=lambda spec: f"CASE WHEN ${window} > 0 THEN {quantity.sql(spec)} END")
    return Rule(
        id=f"click_before_conversion.{name}",
        effect="quarantine",
        description=description,
        mask_sql=always(
            f"{IS_IMPRESSION} AND ${window} > 0 "
            f"AND {_microseconds(end)} >= {_microseconds(start)} + 1000000 * ${window}::HUGEINT"
        ),
        quantity=judged,
        expectation=between(judged.name, below=lambda context: context.thresholds[window]),
        unjudged=f"no impression has the times of this window, or {window.removesuffix('_seconds')} is 0 (no window)",
        sample_columns=always(_TIMES),
    )


def _orphan(kind: str, code: int, description: str) -> Rule:
    # The code's place in the list is the row's kind; impressions are NULL, so that only orphans are judged.
    quantity = Quantity(name="orphan_code", sql=always("nullif(list_position(['click', 'conversion'], row_kind), 0)"))
    return Rule(
        id=f"click_before_conversion.orphan_{kind}",
        effect="quarantine",
        description=description,
        mask_sql=always(f"row_kind = '{kind}'"),
        quantity=quantity,
        expectation=none_of(quantity.name, [code]),
        unjudged="no orphan events",
        sample_columns=always(_ORPHAN),
    )


RULES = (
    _starts_before(
        "click_before_impression",
        start="impression_time",
        end="click_time",
        skewed=True,
        description="the click is older than its impression, beyond the tolerated clock skew",
    ),
    _starts_before(
        "conversion_before_click",
        start="click_time",
        end="conversion_time",
        skewed=False,
        description="the conversion is older than its click",
    ),
    _starts_before(
        "conversion_before_impression",
        start="impression_time",
        end="conversion_time",
        skewed=True,
        description="the conversion is older than its impression, beyond the tolerated clock skew",
    ),
    _outside_window(
        "click_outside_window",
        quantity=_seconds("seconds_to_click", start="impression_time", end="click_time"),
        start="impression_time",
        end="click_time",
        window="click_window_seconds",
        description="the click came after its window, [0, click_window_seconds) from the impression",
    ),
    _outside_window(
        "conversion_outside_window",
        quantity=_seconds("seconds_to_conversion", start=_TOUCH, end="conversion_time"),
        start=_TOUCH,
        end="conversion_time",
        window="conversion_window_seconds",
        description="the conversion came after its window, [0, W) from the click (or, without one, the impression)",
    ),
    _orphan("click", 1, "a click that belongs to no impression"),
    _orphan("conversion", 2, "a conversion that belongs to no impression or click"),
)
