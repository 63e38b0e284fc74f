"""Duplicate rules: an impression and an order count once; which copy is the first is the join's business."""

from data_checks.expectations import between
from data_checks.rules import IS_IMPRESSION, WHERE_FROM, Quantity, Rule, always

_CONFLICT = "coalesce(duplicate_conflict, FALSE)"
_IMPRESSION = ("impression_id", "duplicate_rank", "user_key", "item_key", "impression_time", *WHERE_FROM)

RULES = (
    Rule(
        id="duplicates.impression_repeated",
        effect="quarantine",
        description="the same row came before, with this impression_id; the first is kept",
        mask_sql=always(f"{IS_IMPRESSION} AND duplicate_rank > 1 AND NOT {_CONFLICT}"),
        quantity=Quantity(
            name="copies_before",
            sql=always(f"CASE WHEN {IS_IMPRESSION} AND NOT {_CONFLICT} THEN duplicate_rank::DOUBLE - 1 END"),
        ),
        expectation=between("copies_before", high=0),
        unjudged="no impressions",
        sample_columns=always(_IMPRESSION),
        offending=always(("impression_id", "duplicate_rank")),
    ),
    Rule(
        id="duplicates.impression_conflicting",
        effect="quarantine",
        # Ids that are given twice, not a delivery that came twice: keys cut off, or joined from too few columns.
        description="another impression came before with this impression_id; the first is kept",
        mask_sql=always(f"{IS_IMPRESSION} AND duplicate_rank > 1 AND duplicate_conflict"),
        quantity=Quantity(
            name="others_before",
            sql=always(
                f"CASE WHEN {IS_IMPRESSION} THEN "
                f"CASE WHEN {_CONFLICT} THEN coalesce(duplicate_rank::DOUBLE - 1, 0) ELSE 0 END END"
            ),
        ),
        expectation=between("others_before", high=0),
        unjudged="no impressions",
        sample_columns=always(_IMPRESSION),
        offending=always(("impression_id",)),
    ),
    Rule(
        id="duplicates.order_repeated",
        effect="quarantine",
        description="the order was delivered before; it is credited once",
        mask_sql=always("row_kind = 'conversion' AND duplicate_rank >= 2"),
        quantity=Quantity(
            name="deliveries_before",
            sql=always("CASE WHEN row_kind = 'conversion' THEN coalesce(duplicate_rank::DOUBLE, 1) - 1 END"),
        ),
        expectation=between("deliveries_before", below=1),
        unjudged="every conversion was credited, so that none is a row of its own",
        sample_columns=always(("row_kind", "order_id", "user_key", "item_key", "conversion_time", *WHERE_FROM)),
        offending=always(("order_id",)),
    ),
)
