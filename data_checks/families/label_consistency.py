"""Label rules: labels are 0 or 1, a conversion implies a click, a value a conversion; times are judged elsewhere."""

from data_checks.expectations import between, one_of
from data_checks.rules import IS_IMPRESSION, Quantity, Rule, always

_LABELS = ("impression_id", "click", "conversion", "value", "source_file", "source_row")


def _not_binary(label: str) -> Rule:
    quantity = Quantity(name=f"{label}_label", sql=always(f"CASE WHEN {IS_IMPRESSION} THEN coalesce({label}, -1) END"))
    return Rule(
        id=f"label_consistency.{label}_not_binary",
        effect="quarantine",
        description=f"the {label} label is neither 0 nor 1",
        mask_sql=always(f"{IS_IMPRESSION} AND ({label} IS NULL OR {label} NOT IN (0, 1))"),
        quantity=quantity,
        expectation=one_of(quantity.name, [0, 1]),
        unjudged="no impressions",
        sample_columns=always(_LABELS),
    )


RULES = (
    _not_binary("click"),
    _not_binary("conversion"),
    Rule(
        id="label_consistency.conversion_without_click",
        effect="quarantine",
        description="the impression converted, but was not clicked",
        mask_sql=always(f"{IS_IMPRESSION} AND conversion = 1 AND click IS DISTINCT FROM 1"),
        quantity=Quantity(
            name="click_of_conversion",
            sql=always(f"CASE WHEN {IS_IMPRESSION} AND conversion = 1 THEN coalesce(click, 0) END"),
        ),
        expectation=one_of("click_of_conversion", [1]),
        unjudged="no conversions",
        sample_columns=always(_LABELS),
    ),
    Rule(
        id="label_consistency.value_without_conversion",
        effect="quarantine",
        # A value of 0 is how many logs write "no order": it claims nothing.
        description="the impression has an order value other than 0, but no conversion",
        mask_sql=always(f"{IS_IMPRESSION} AND value <> 0 AND conversion IS DISTINCT FROM 1"),
        quantity=Quantity(
            name="value_of_no_conversion",
            sql=always(
                f"CASE WHEN {IS_IMPRESSION} AND conversion IS DISTINCT FROM 1 "
                "THEN CASE WHEN isnan(value) THEN 'infinity'::DOUBLE ELSE value END END"
            ),
        ),
        expectation=between("value_of_no_conversion", low=0, high=0),
        unjudged="no impression without conversion has an order value",
        sample_columns=always(_LABELS),
    ),
)
