"""A receipt as Dagster shows it: metadata, and one check result a rule family with its table; it decides nothing."""

from typing import Any

import dagster as dg

from assets.day_reports import CheckOutcome
from data_checks.receipts import FAMILIES, Receipt


def receipt_metadata(receipt: Receipt, *, standing: str) -> dict[str, Any]:
    """A receipt as Dagster metadata."""
    return {
        "verdict": receipt.verdict,
        "standing": standing,
        "rows_in": receipt.rows_in,
        "admitted": receipt.admitted,
        "quarantined": receipt.quarantined,
        "by_rule": receipt.by_rule(),
        "bad_share": receipt.bad_share,
        "clicks": receipt.clicks,
        "conversions": receipt.conversions,
        "labels_mature": receipt.labels_mature,
        "reasons": list(receipt.reasons),
        "receipt_id": receipt.receipt_id,
        "rules_version": receipt.rules_version,
        "content_sha256": receipt.content_sha256,
    }


def family_checks(receipt: Receipt, *, quarantine: str) -> dict[str, CheckOutcome]:
    """One check result a rule family; every one fails for a day that could not be judged at all.

    `quarantine` is the path of the quarantined rows, shown beside each broken rule.
    """
    from data_checks.review import family_results

    why = "; ".join(receipt.reasons)
    checks = {
        family: CheckOutcome(passed=False, metadata={"verdict": receipt.verdict, "why": why}, description=why)
        for family in FAMILIES
    }
    if receipt.rules:
        for result in family_results(receipt, quarantine=quarantine):
            checks[result.family] = CheckOutcome(
                passed=result.passed,
                description=result.why,
                metadata={
                    "verdict": receipt.verdict,
                    "bad_rows": result.bad_rows,
                    "why": result.why,
                    **({"rules": _table(result.records)} if result.records else {}),
                },
            )
    return checks


def _table(records: Any) -> dg.TableMetadataValue:
    columns = [dg.TableColumn(name, "string") for name in records[0]]
    rows = [dg.TableRecord({name: str(value) for name, value in record.items()}) for record in records]
    return dg.TableMetadataValue(records=rows, schema=dg.TableSchema(columns=columns))
