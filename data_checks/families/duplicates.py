"""Duplicate rules: an impression counts once; which copy is the first is the join's business."""

from data_checks.expectations import between
from data_checks.rules import IS_IMPRESSION, Quantity, Rule, always

RULES = (
    Rule(
        id="duplicates.impression_repeated",
        effect="quarantine",
        description="a row with this impression_id came before; the first is kept",
        mask_sql=always(f"{IS_IMPRESSION} AND duplicate_rank > 1"),
        quantity=Quantity(
            name="copies_before", sql=always(f"CASE WHEN {IS_IMPRESSION} THEN duplicate_rank::DOUBLE - 1 END")
        ),
        expectation=between("copies_before", high=0),
        unjudged="no impressions",
        sample_columns=always(("impression_id", "duplicate_rank", "impression_time", "source_file", "source_row")),
    ),
)
