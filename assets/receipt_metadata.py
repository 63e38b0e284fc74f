"""A receipt as Dagster shows it: metadata, and one check result a rule family with its table; it decides nothing."""

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from assets.day_reports import CheckOutcome
from data_checks.receipts import FAMILIES, Receipt
from data_checks.review import Record, family_results, sample_rows
from ml.data.window import DayStanding


def receipt_metadata(receipt: Receipt, *, standing: DayStanding, timezone: str, page: str | None) -> dict[str, Any]:
    """A receipt as Dagster metadata; `page` is the address of the review page of a day that fell short.

    `label_age_days` counts from the end of the day, in the log's `timezone`, to how far the log had been observed.
    """
    return {
        "verdict": receipt.verdict,
        "standing": standing.why,
        "usable": standing.admitted,
        "rows_in": receipt.rows_in,
        "admitted": receipt.admitted,
        "quarantined": receipt.quarantined,
        "by_rule": receipt.by_rule(),
        "bad_share": receipt.bad_share,
        "clicks": receipt.clicks,
        "conversions": receipt.conversions,
        "labels_mature": receipt.labels_mature,
        "mature_rows": receipt.mature,
        **_label_age(receipt, timezone),
        "reasons": list(receipt.reasons),
        "receipt_id": receipt.receipt_id,
        "rules_version": receipt.rules_version,
        "content_sha256": receipt.content_sha256,
        **_page(page),
    }


def quarantine_metadata(receipt: Receipt, *, quarantine: str | None, page: str | None) -> dict[str, Any]:
    """The quarantined rows of a day as Dagster metadata: where they lie, by rule, and sample rows of each rule."""
    samples = sample_rows(receipt)
    return {
        "path": quarantine or "none",
        "by_rule": receipt.by_rule(),
        **({"sample_rows": _table(samples)} if samples else {}),
        **_page(page),
    }


def family_checks(receipt: Receipt, *, quarantine: str | None, page: str | None) -> dict[str, CheckOutcome]:
    """One check result a rule family; every one fails for a day that could not be judged at all.

    `quarantine` is the address of the quarantined rows, shown beside each broken rule.
    """
    why = "; ".join(receipt.reasons)
    shared = {"verdict": receipt.verdict, **_page(page)}
    checks = {
        family: CheckOutcome(passed=False, metadata={**shared, "why": why}, description=why) for family in FAMILIES
    }
    if receipt.rules:
        for result in family_results(receipt, quarantine=quarantine or "none"):
            checks[result.family] = CheckOutcome(
                passed=result.passed,
                description=result.why,
                metadata={
                    **shared,
                    "bad_rows": result.bad_rows,
                    "why": result.why,
                    **({"rules": _table(result.records)} if result.records else {}),
                },
            )
    return checks


def _page(page: str | None) -> dict[str, Any]:
    return {"review_page": dg.MetadataValue.path(page)} if page else {}


def _label_age(receipt: Receipt, timezone: str) -> dict[str, Any]:
    if receipt.label_horizon is None:
        return {}
    end_of_day = datetime.combine(receipt.day + timedelta(days=1), time(), ZoneInfo(timezone))
    age = (receipt.label_horizon - end_of_day).total_seconds() / 86400
    return {"label_horizon": receipt.label_horizon.isoformat(), "label_age_days": round(age, 2)}


def _table(records: Sequence[Record]) -> dg.TableMetadataValue:
    columns = [dg.TableColumn(name, "string") for name in records[0]]
    rows = [dg.TableRecord({name: str(value) for name, value in record.items()}) for record in records]
    return dg.TableMetadataValue(records=rows, schema=dg.TableSchema(columns=columns))
