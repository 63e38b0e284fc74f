"""Carries out a reviewer's decision on a day: appended to the day's record, and shown on its asset; it asks nobody."""

from datetime import date, datetime
from typing import Literal

import dagster as dg

from assets.receipt_metadata import receipt_metadata
from assets.receipts import day_standing, read_receipt, record_decision
from assets.resources import Platform
from assets.validated import VALIDATED
from data_checks.receipts import Decision


def review_day(
    platform: Platform,
    instance: dg.DagsterInstance,
    *,
    day: date,
    decision: Literal["accept", "exclude"],
    reason: str,
    reviewer: str,
    decided_at: datetime,
) -> Decision:
    """Record the decision and report it to the day's partition of `validated_samples`.

    Raises DataRefused where the day has no receipt to decide on.
    """
    recorded = record_decision(
        platform, day=day, decision=decision, reason=reason, reviewer=reviewer, decided_at=decided_at
    )
    receipt = read_receipt(platform, day)
    assert receipt is not None
    instance.report_runless_asset_event(
        dg.AssetObservation(
            asset_key=VALIDATED,
            partition=day.isoformat(),
            description=f"{recorded.decision} by {recorded.reviewer}: {recorded.reason}",
            metadata={
                "decision": recorded.decision,
                "reviewer": recorded.reviewer,
                "reason": recorded.reason,
                **receipt_metadata(receipt, standing=day_standing(platform, day).why),
            },
        )
    )
    return recorded
