"""Keeps receipts and review decisions in the store and tells how days stand; the verdicts are `data_checks`'."""

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path

from pydantic import ValidationError

from assets.resources import DataRefused, Platform
from data_checks.decisions import Decision, standing
from data_checks.receipts import Receipt
from infra.artifacts import Artifact
from infra.object_keys import ObjectExists
from ml.data.window import DayStanding

RECEIPT_FILE = "receipt.json"
SAMPLES_FILE = "samples.parquet"
QUARANTINED, ROWS_FILE = "quarantined_samples", "rows.parquet"


def validated_key(day: date) -> str:
    """Store key of a day's validated samples and their receipt, published together."""
    return f"validated_samples/{day.isoformat()}"


def quarantined_key(day: date) -> str:
    """Store key of a day's quarantined rows."""
    return f"{QUARANTINED}/{day.isoformat()}"


def quarantine_address(platform: Platform, receipt: Receipt) -> str | None:
    """Address of the day's quarantined rows in the store; None where no row was judged."""
    manifest = platform.artifacts.find(quarantined_key(receipt.day)) if receipt.rules else None
    return platform.address(f"{manifest.folder}/{ROWS_FILE}") if manifest else None


def read_receipt(platform: Platform, day: date) -> Receipt | None:
    """The day's receipt, or None if the day was never validated."""
    if platform.artifacts.find(validated_key(day)) is None:
        return None
    return Receipt.model_validate_json(platform.artifacts.open(validated_key(day)).path(RECEIPT_FILE).read_bytes())


def read_receipts(platform: Platform, days: Iterable[date]) -> list[Receipt]:
    """The receipts there are for `days`, in their order."""
    return [receipt for day in days if (receipt := read_receipt(platform, day)) is not None]


def read_decisions(platform: Platform, day: date) -> tuple[Decision, ...]:
    """Every review decision on the day, oldest first."""
    keys = list(platform.objects.list_keys(f"decisions/{day.isoformat()}/"))
    return tuple(Decision.model_validate_json(platform.objects.get_bytes(key).data) for key in keys)


def day_standing(platform: Platform, day: date) -> DayStanding:
    """Whether the day may be trained on: its receipt's verdict under the review decisions that bind to it."""
    result = standing(read_receipt(platform, day), read_decisions(platform, day))
    return DayStanding(day=day, admitted=result.admitted, receipt_id=result.receipt_id, why=result.why)


def restated_since_training(platform: Platform, trained_on: Mapping[str, str]) -> tuple[str, ...]:
    """The days (ISO) whose receipt is no longer the one in `trained_on`: their data changed after a model saw it."""
    standings = {day: day_standing(platform, date.fromisoformat(day)) for day in trained_on}
    return tuple(day for day, seen in trained_on.items() if standings[day].receipt_id != seen)


def admitted_samples(platform: Platform, day: date, *, receipt_id: str) -> tuple[Path, Receipt]:
    """The samples file that `receipt_id` vouches for, and the receipt; DataRefused where the store holds another."""
    artifact: Artifact = platform.artifacts.open(
        validated_key(day), remedy=f"materialize validated_samples of {day.isoformat()}"
    )
    receipt = Receipt.model_validate_json(artifact.path(RECEIPT_FILE).read_bytes())
    if SAMPLES_FILE not in artifact.manifest.files:
        raise DataRefused(
            f"{day.isoformat()} has no samples, though it was accepted: {'; '.join(receipt.reasons)}; mend that and "
            "materialize the day again, or exclude it"
        )
    found = artifact.manifest.files[SAMPLES_FILE].sha256
    if receipt.receipt_id != receipt_id or receipt.content_sha256 != found:
        raise DataRefused(
            f"{day.isoformat()}: the samples (sha256 {found[:12]}) and receipt {receipt.receipt_id[:12]} are not what "
            f"was admitted (receipt {receipt_id[:12]}, sha256 {receipt.content_sha256[:12]}); the day was restated "
            "meanwhile: start the run again"
        )
    return artifact.path(SAMPLES_FILE), receipt


def record_decision(
    platform: Platform, *, day: date, decision: str, reason: str, reviewer: str, decided_at: datetime
) -> Decision:
    """Append a review decision on the day's present receipt. Nothing recorded before is changed.

    Raises DataRefused for a day without receipt, a revocation where nothing is decided, a blank reason or reviewer,
    and a decision that is none of DecisionKind.
    """
    receipt = read_receipt(platform, day)
    if receipt is None:
        raise DataRefused(
            f"{day.isoformat()} has no receipt to decide on; materialize validated_samples of that day first"
        )
    before = read_decisions(platform, day)
    if decision == "revoke" and (not before or before[-1].decision == "revoke"):
        raise DataRefused(
            f"{day.isoformat()} has no decision to revoke: it stands by its own verdict, {receipt.verdict}; accept or "
            "exclude it instead"
        )
    content = {"day": day, "decision": decision, "reason": reason, "reviewer": reviewer, "decided_at": decided_at}
    try:
        recorded = Decision.model_validate({**content, "receipt_id": receipt.receipt_id})
    except ValidationError as error:
        faults = "; ".join(
            f"{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False)
        )
        raise DataRefused(f"nothing was decided on {day.isoformat()}: {faults}") from error
    data = json.dumps(recorded.model_dump(mode="json"), sort_keys=True, indent=1).encode()
    number = len(before)
    while True:
        number += 1
        try:
            platform.objects.create_bytes(f"decisions/{day.isoformat()}/{number:06d}.json", data)
            return recorded
        except ObjectExists:
            # Another reviewer decided at the same moment; both decisions are kept, in order.
            continue
