"""Label rules on rows: labels are 0 or 1, what follows a click implies one, a value an order; times have their own."""

from data_checks.expectations import between, one_of
from data_checks.rules import IS_IMPRESSION, WHERE_FROM, Quantity, Rule, always, applies
from ml.data.dataset import DatasetSpec, Stage

_LABELS = ("impression_id", "click", "conversion", "value", *WHERE_FROM)


def _not_binary(label: Stage, *, optional: bool = False) -> Rule:
    def absent(spec: DatasetSpec) -> str:
        return "" if label in spec.stages else f"the log has no {label} events"

    quantity = Quantity(name=f"{label}_label", sql=always(f"CASE WHEN {IS_IMPRESSION} THEN coalesce({label}, -1) END"))
    return Rule(
        id=f"label_consistency.{label}_not_binary",
        effect="quarantine",
        description=f"the {label} label is neither 0 nor 1",
        mask_sql=always(f"{IS_IMPRESSION} AND ({label} IS NULL OR {label} NOT IN (0, 1))"),
        quantity=quantity,
        expectation=one_of(quantity.name, [0, 1]),
        unjudged="no impressions",
        sample_columns=always(("impression_id", label, *WHERE_FROM) if optional else _LABELS),
        offending=always((label,)),
        not_applicable=absent if optional else applies,
    )


def _without_click(label: Stage) -> Rule:
    # Unlike a conversion, a basket or a list can be filled from a page that shows no advertisement: it is no proof of
    # a lost click, and neither is it trained on as one.
    quantity = Quantity(
        name=f"click_of_{label}", sql=always(f"CASE WHEN {IS_IMPRESSION} AND {label} = 1 THEN coalesce(click, 0) END")
    )
    return Rule(
        id=f"label_consistency.{label}_without_click",
        effect="warn",
        description=f"the impression has a {label}, but was not clicked",
        mask_sql=always(f"{IS_IMPRESSION} AND {label} = 1 AND click IS DISTINCT FROM 1"),
        quantity=quantity,
        expectation=one_of(quantity.name, [1]),
        unjudged=f"no impression has a {label}",
        sample_columns=always(("impression_id", "click", label, f"{label}_time", *WHERE_FROM)),
        offending=always(("click", label)),
        not_applicable=lambda spec: "" if label in spec.stages else f"the log has no {label} events",
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
        offending=always(("click", "conversion")),
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
        offending=always(("value", "conversion")),
    ),
    _not_binary("cart", optional=True),
    _not_binary("favourite", optional=True),
    _without_click("cart"),
    _without_click("favourite"),
)
