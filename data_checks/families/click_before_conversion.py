"""Order rules: impression, click and what follows come in order and in their windows; orphans are found here."""

from collections.abc import Callable

from data_checks.expectations import between, none_of
from data_checks.rules import IS_IMPRESSION, WHERE_FROM, Quantity, Rule, always, applies
from ml.data.dataset import DatasetSpec, Stage

#: An event credited without a click has its window from the impression, as in the join.
_TOUCH = "coalesce(click_time, impression_time)"
#: Deliveries of an order that was credited once belong to something; `duplicates.order_repeated` has them.
_IS_REPEATED_ORDER = "row_kind = 'conversion' AND coalesce(duplicate_rank, 1) >= 2"
_ORPHANS = ("click", "conversion", "cart", "favourite")


def _microseconds(time: str) -> str:
    # HUGEINT, because the difference of two far-off times overflows BIGINT; infinite times give NULL and have a rule.
    return f"epoch_us({time})::HUGEINT"


def _seconds(name: str, *, start: str, end: str) -> Quantity:
    difference = f"({_microseconds(end)} - {_microseconds(start)})::DOUBLE / 1e6"
    return Quantity(name=name, sql=always(f"CASE WHEN {IS_IMPRESSION} THEN {difference} END"), continuous=True)


def _shown(*times: str) -> tuple[str, ...]:
    return ("impression_id", *dict.fromkeys(("impression_time", "click_time", *times)), *WHERE_FROM)


def _has(stage: Stage) -> Callable[[DatasetSpec], str]:
    """Applies to logs that have this optional stage."""
    return lambda spec: "" if stage in spec.stages else f"the log has no {stage} events"


def _starts_before(
    name: str,
    *,
    start: str,
    end: str,
    description: str,
    quantity: str = "",
    not_applicable: Callable[[DatasetSpec], str] = applies,
) -> Rule:
    """The clocks of two event servers differ, whichever events they see: every order is held with the same skew."""
    seconds = _seconds(quantity or f"seconds_{start}_to_{end}", start=start, end=end)
    skew = "1000000 * $clock_skew_seconds::HUGEINT"
    return Rule(
        id=f"click_before_conversion.{name}",
        effect="quarantine",
        description=f"{description}, beyond the tolerated clock skew",
        mask_sql=always(f"{IS_IMPRESSION} AND {_microseconds(end)} < {_microseconds(start)} - {skew}"),
        quantity=seconds,
        expectation=between(seconds.name, low=lambda context: -context.spec.validation.clock_skew_seconds),
        unjudged=f"no impression has both {end} and a time to come after",
        sample_columns=always(_shown(end)),
        offending=always((start, end) if start != _TOUCH else (end,)),
        not_applicable=not_applicable,
    )


def _outside_window(
    name: str,
    *,
    quantity: str,
    start: str,
    end: str,
    window: str,
    description: str,
    not_applicable: Callable[[DatasetSpec], str] = applies,
) -> Rule:
    seconds = _seconds(quantity, start=start, end=end)

    def no_window(spec: DatasetSpec) -> str:
        # A window of 0 is none declared: [0, 0) would hold nothing, not even the published labels of a wide log.
        setting = getattr(spec.attribution, window)
        return not_applicable(spec) or ("" if setting else f"{window.removesuffix('_seconds')} is 0 (no window)")

    return Rule(
        id=f"click_before_conversion.{name}",
        effect="quarantine",
        description=description,
        mask_sql=always(
            f"{IS_IMPRESSION} AND {_microseconds(end)} >= {_microseconds(start)} + 1000000 * ${window}::HUGEINT"
        ),
        quantity=seconds,
        expectation=between(seconds.name, below=lambda context: context.thresholds[window]),
        unjudged="no impression has the times of this window",
        sample_columns=always(_shown(end)),
        offending=always((end,)),
        not_applicable=no_window,
    )


def _follows_click(stage: Stage) -> tuple[Rule, Rule]:
    """The rules of an optional stage, which comes after the click and inside its window."""
    to_stage = {"start": _TOUCH, "end": f"{stage}_time", "quantity": f"seconds_touch_to_{stage}"}
    return (
        _starts_before(
            f"{stage}_before_click",
            description=f"the {stage} is older than its click (or, without one, the impression)",
            not_applicable=_has(stage),
            **to_stage,
        ),
        _outside_window(
            f"{stage}_outside_window",
            window="stage_window_seconds",
            description=f"the {stage} came after its window, [0, stage_window_seconds) from the click",
            not_applicable=_has(stage),
            **to_stage,
        ),
    )


def _orphan(kind: Stage, description: str, *, not_applicable: Callable[[DatasetSpec], str] = applies) -> Rule:
    # The code's place in the list is the row's kind; other rows are NULL, so that only orphans are judged.
    codes = ", ".join(f"'{orphan}'" for orphan in _ORPHANS)
    code = f"nullif(list_position([{codes}], row_kind), 0)"
    quantity = Quantity(name="orphan_code", sql=always(f"CASE WHEN NOT ({_IS_REPEATED_ORDER}) THEN {code} END"))
    return Rule(
        id=f"click_before_conversion.orphan_{kind}",
        effect="quarantine",
        description=description,
        mask_sql=always(f"row_kind = '{kind}' AND NOT ({_IS_REPEATED_ORDER})"),
        quantity=quantity,
        expectation=none_of(quantity.name, [_ORPHANS.index(kind) + 1]),
        unjudged="no orphan events",
        sample_columns=always(
            ("row_kind", "impression_id", "user_key", "item_key", f"{kind}_time")
            + (("order_id",) if kind == "conversion" else ())
            + WHERE_FROM
        ),
        offending=always(("row_kind",)),
        not_applicable=not_applicable,
    )


RULES = (
    _starts_before(
        "click_before_impression",
        start="impression_time",
        end="click_time",
        description="the click is older than its impression",
    ),
    _starts_before(
        "conversion_before_click",
        start="click_time",
        end="conversion_time",
        description="the conversion is older than its click",
    ),
    _starts_before(
        "conversion_before_impression",
        start="impression_time",
        end="conversion_time",
        description="the conversion is older than its impression",
    ),
    _outside_window(
        "click_outside_window",
        quantity="seconds_impression_time_to_click_time",
        start="impression_time",
        end="click_time",
        window="click_window_seconds",
        description="the click came after its window, [0, click_window_seconds) from the impression",
    ),
    _outside_window(
        "conversion_outside_window",
        quantity="seconds_touch_to_conversion",
        start=_TOUCH,
        end="conversion_time",
        window="conversion_window_seconds",
        description="the conversion came after its window, [0, W) from the click (or, without one, the impression)",
    ),
    *_follows_click("cart"),
    *_follows_click("favourite"),
    _orphan("click", "a click that belongs to no impression"),
    _orphan("conversion", "a conversion that belongs to no impression or click"),
    _orphan("cart", "a cart event that belongs to no impression or click", not_applicable=_has("cart")),
    _orphan("favourite", "a favourite that belongs to no impression or click", not_applicable=_has("favourite")),
)
