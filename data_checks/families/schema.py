"""Schema rules on what every log has: kinds, keys, times, values; fields are `schema_fields`', labels elsewhere."""

import sys

from data_checks.expectations import between
from data_checks.rules import IS_IMPRESSION, WHERE_FROM, Quantity, Rule, RuleContext, always, day_bounds
from ml.data.dataset import DatasetSpec

_TIMES = ("impression_time", "click_time", "cart_time", "favourite_time", "conversion_time")
_INFINITIES = "'infinity'::TIMESTAMP, '-infinity'::TIMESTAMP"


def _seconds_in_day(context: RuleContext) -> float:
    start, end = day_bounds(context.day, context.spec.timezone)
    return (end - start).total_seconds()


def _kinds(spec: DatasetSpec) -> str:
    """A row is an impression, or an event of a stage of this log: a kind of no rule would be admitted unseen."""
    return ", ".join(f"'{stage}'" for stage in spec.stages)


def _missing_key(column: str) -> Rule:
    # What begins with no blank is not blank: to trim every id would cost as much as ten rules.
    begun, trimmed = f"{column} >= '!'", f"coalesce(length(trim({column})), 0)"
    quantity = Quantity(
        name=f"{column}_length",
        sql=always(f"CASE WHEN {IS_IMPRESSION} THEN CASE WHEN {begun} THEN 1 ELSE {trimmed} END END"),
    )
    return Rule(
        id=f"schema.{column}_missing",
        effect="quarantine",
        description=f"the impression has no {column}",
        mask_sql=always(f"{IS_IMPRESSION} AND ({column} IS NULL OR ltrim({column}) = '')"),
        quantity=quantity,
        expectation=between(quantity.name, low=1),
        unjudged="no impressions",
        sample_columns=always((column, *WHERE_FROM)),
        offending=always((column,)),
    )


RULES = (
    Rule(
        id="schema.row_kind_unknown",
        effect="quarantine",
        description="the row is neither an impression nor an event that belongs to none",
        mask_sql=lambda spec: f"row_kind IS NULL OR row_kind NOT IN ({_kinds(spec)})",
        quantity=Quantity(
            name="row_kind_code", sql=lambda spec: f"coalesce(list_position([{_kinds(spec)}], row_kind), 0)"
        ),
        expectation=between("row_kind_code", low=1),
        unjudged="no rows",
        sample_columns=always(("row_kind", "impression_id", *WHERE_FROM)),
        offending=always(("row_kind",)),
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
        sample_columns=always(("impression_id", "impression_time", *WHERE_FROM)),
        offending=always(("impression_time",)),
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
            continuous=True,
        ),
        expectation=between("seconds_into_day", low=0, below=_seconds_in_day),
        unjudged="no impression has a time",
        sample_columns=always(("impression_id", "impression_time", *WHERE_FROM)),
        offending=always(("impression_time",)),
    ),
    Rule(
        id="schema.time_not_finite",
        effect="quarantine",
        description="a time of the row is infinite",
        mask_sql=always(" OR ".join(f"NOT isfinite({column})" for column in _TIMES)),
        quantity=Quantity(
            name="infinite_times",
            sql=always(" + ".join(f"coalesce({column} IN ({_INFINITIES}), FALSE)::BIGINT" for column in _TIMES)),
        ),
        expectation=between("infinite_times", low=0, high=0),
        unjudged="no rows",
        sample_columns=always(("row_kind", "impression_id", *_TIMES, *WHERE_FROM)),
        offending=always(_TIMES),
        at_fault=lambda spec, column, cell: cell.endswith("infinity"),
    ),
    Rule(
        id="schema.value_unreadable",
        effect="quarantine",
        description="a value of the row could not be read as its declared type",
        mask_sql=always("unparsed_count IS DISTINCT FROM 0"),
        quantity=Quantity(name="unparsed_values", sql=always("coalesce(unparsed_count, -1)")),
        expectation=between("unparsed_values", low=0, high=0),
        unjudged="no rows",
        sample_columns=always(("row_kind", "impression_id", "unparsed_columns", *WHERE_FROM)),
        offending=always(("unparsed_columns",)),
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
        sample_columns=always(("row_kind", "impression_id", "value", "order_id", *WHERE_FROM)),
        offending=always(("value",)),
    ),
)
