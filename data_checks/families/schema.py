"""Schema rules: keys present, values readable, times in the day, numbers finite; labels are judged elsewhere."""

import sys

from data_checks.expectations import between, one_of
from data_checks.rules import IS_IMPRESSION, Quantity, Rule, RuleContext, always, day_bounds
from ml.data.dataset import DatasetSpec

_WHERE_FROM = ("source_file", "source_row")


def _seconds_in_day(context: RuleContext) -> float:
    start, end = day_bounds(context.day, context.spec.timezone)
    return (end - start).total_seconds()


def _missing_key(column: str) -> Rule:
    quantity = Quantity(
        name=f"{column}_length",
        sql=always(f"CASE WHEN {IS_IMPRESSION} THEN coalesce(length(trim({column})), 0) END"),
    )
    return Rule(
        id=f"schema.{column}_missing",
        effect="quarantine",
        description=f"the impression has no {column}",
        mask_sql=always(f"{IS_IMPRESSION} AND ({column} IS NULL OR trim({column}) = '')"),
        quantity=quantity,
        expectation=between(quantity.name, low=1),
        unjudged="no impressions",
        sample_columns=always((column, *_WHERE_FROM)),
    )


def _number_columns(spec: DatasetSpec) -> list[str]:
    return [f'"{field.name}"' for field in spec.fields if field.kind == "number"]


def _any_number_not_finite(spec: DatasetSpec) -> str:
    return " OR ".join(f"coalesce(NOT isfinite({column}), FALSE)" for column in _number_columns(spec)) or "FALSE"


def _numbers_not_finite(spec: DatasetSpec) -> str:
    columns = _number_columns(spec)
    counted = " + ".join(f"coalesce(isnan({column}) OR isinf({column}), FALSE)::BIGINT" for column in columns)
    return counted or "NULL::BIGINT"


_TIMES = ("impression_time", "click_time", "conversion_time")
_INFINITIES = "'infinity'::TIMESTAMP, '-infinity'::TIMESTAMP"

RULES = (
    Rule(
        id="schema.row_kind_unknown",
        effect="quarantine",
        description="the row is neither an impression nor an orphan click or conversion",
        mask_sql=always("row_kind IS NULL OR row_kind NOT IN ('impression', 'click', 'conversion')"),
        quantity=Quantity(
            name="row_kind_code",
            sql=always("coalesce(list_position(['impression', 'click', 'conversion'], row_kind), 0)"),
        ),
        expectation=one_of("row_kind_code", [1, 2, 3]),
        unjudged="no rows",
        sample_columns=always(("row_kind", "impression_id", *_WHERE_FROM)),
    ),
    *(_missing_key(column) for column in ("impression_id", "user_key", "item_key")),
    Rule(
        id="schema.impression_time_missing",
        effect="quarantine",
        description="the impression has no time",
        mask_sql=always(f"{IS_IMPRESSION} AND impression_time IS NULL"),
        quantity=Quantity(
            name="impression_times",
            sql=always(f"CASE WHEN {IS_IMPRESSION} THEN (impression_time IS NOT NULL)::BIGINT END"),
        ),
        expectation=between("impression_times", low=1, high=1),
        unjudged="no impressions",
        sample_columns=always(("impression_id", "impression_time", *_WHERE_FROM)),
    ),
    Rule(
        id="schema.impression_time_outside_day",
        effect="quarantine",
        description="the impression lies outside its day in the dataset's time zone",
        mask_sql=always(
            f"{IS_IMPRESSION} AND isfinite(impression_time) "
            "AND (impression_time < $day_start OR impression_time >= $day_end)"
        ),
        quantity=Quantity(
            name="seconds_into_day",
            sql=always(
                f"CASE WHEN {IS_IMPRESSION} THEN "
                "(epoch_us(impression_time)::HUGEINT - epoch_us($day_start::TIMESTAMP)::HUGEINT)::DOUBLE / 1e6 END"
            ),
        ),
        expectation=between("seconds_into_day", low=0, below=_seconds_in_day),
        unjudged="no impression has a time",
        sample_columns=always(("impression_id", "impression_time", *_WHERE_FROM)),
    ),
    Rule(
        id="schema.time_not_finite",
        effect="quarantine",
        description="a time of the row is infinite",
        mask_sql=always(" OR ".join(f"coalesce(NOT isfinite({column}), FALSE)" for column in _TIMES)),
        quantity=Quantity(
            name="infinite_times",
            sql=always(" + ".join(f"coalesce({column} IN ({_INFINITIES}), FALSE)::BIGINT" for column in _TIMES)),
        ),
        expectation=between("infinite_times", low=0, high=0),
        unjudged="no rows",
        sample_columns=always(("row_kind", "impression_id", *_TIMES, *_WHERE_FROM)),
    ),
    Rule(
        id="schema.value_unreadable",
        effect="quarantine",
        description="a value of the row could not be read as its declared type",
        mask_sql=always("unparsed_count IS DISTINCT FROM 0"),
        quantity=Quantity(name="unparsed_values", sql=always("coalesce(unparsed_count, -1)")),
        expectation=between("unparsed_values", low=0, high=0),
        unjudged="no rows",
        sample_columns=always(("row_kind", "impression_id", "unparsed_columns", *_WHERE_FROM)),
    ),
    Rule(
        id="schema.value_out_of_range",
        effect="quarantine",
        description="the order value is negative or not finite",
        mask_sql=always("NOT isfinite(value) OR value < 0"),
        quantity=Quantity(
            name="order_value", sql=always("CASE WHEN isnan(value) THEN '-infinity'::DOUBLE ELSE value END")
        ),
        expectation=between("order_value", low=0, high=sys.float_info.max),
        unjudged="no row has an order value",
        sample_columns=always(("row_kind", "impression_id", "value", "order_id", *_WHERE_FROM)),
    ),
    Rule(
        id="schema.number_not_finite",
        effect="quarantine",
        description="a number field is NaN or infinite",
        mask_sql=_any_number_not_finite,
        quantity=Quantity(name="numbers_not_finite", sql=_numbers_not_finite),
        expectation=between("numbers_not_finite", low=0, high=0),
        unjudged="the dataset has no number fields",
        sample_columns=lambda spec: (
            "impression_id",
            *(field.name for field in spec.fields if field.kind == "number"),
            *_WHERE_FROM,
        ),
    ),
)
