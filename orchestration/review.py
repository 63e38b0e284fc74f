"""Carries out a reviewer's decision on a day: appended to its record, shown on page and asset; it asks nobody."""

import getpass
import os
from datetime import date, datetime

import dagster as dg

from assets.receipt_metadata import receipt_metadata
from assets.receipts import day_standing, read_receipt, record_decision
from assets.resources import Platform
from assets.review_pages import publish_review, review_address
from assets.validated import VALIDATED
from data_checks.decisions import Decision
from ml.data.dataset import DatasetSpec


def review_day(
    platform: Platform,
    spec: DatasetSpec,
    instance: dg.DagsterInstance,
    *,
    day: date,
    decision: str,
    reason: str,
    reviewer: str,
    decided_at: datetime,
) -> Decision:
    """Record the decision, write the day's review page anew and report both to its partition of `validated_samples`.

    Raises DataRefused for an unknown decision, a blank reason or reviewer, a day without receipt, and a revocation
    where nothing is decided.
    """
    recorded = record_decision(
        platform, day=day, decision=decision, reason=reason, reviewer=reviewer, decided_at=decided_at
    )
    publish_review(platform, spec, day)
    receipt, standing, page = read_receipt(platform, day), day_standing(platform, day), review_address(platform, day)
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
                **receipt_metadata(receipt, standing=standing, timezone=spec.timezone, page=page),
            },
        )
    )
    return recorded


def this_user() -> str:
    """The name of whoever runs this process; a container's user may have a number only."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
