"""The assets `validated_samples` and `quarantined_samples` with the day's receipt; the rules are `data_checks`'."""

import hashlib
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from assets.automation import restated_day_condition
from assets.day_reports import DayOutcome, check_specs, report_days
from assets.declaration import declaration
from assets.joined import NAME as JOINED
from assets.label_events import REFUSAL_FILE
from assets.partitions import DATA_GROUP, VERDICT_ASSET, daily_partitions
from assets.receipt_metadata import family_checks, quarantine_metadata, receipt_metadata
from assets.receipts import (
    QUARANTINED,
    RECEIPT_FILE,
    ROWS_FILE,
    SAMPLES_FILE,
    day_standing,
    quarantine_address,
    read_decisions,
    read_receipts,
    validated_key,
)
from assets.resources import Platform
from assets.review_pages import publish_review, review_address
from assets.schemas import column_schema
from assets.step_pods import LOCAL, StepPods
from data_checks.receipts import FAMILIES, EventCounts, Receipt
from infra.artifacts import Artifact
from ml.data.dataset import DatasetSpec

VALIDATED = VERDICT_ASSET

_CHECKS = {
    "schema": "Ids and times are there, values can be read and lie in their ranges, and no field has lost its values.",
    "label_consistency": "Labels are 0 or 1 and follow from each other; users' labels and orders are believable.",
    "click_before_conversion": "Impression, click and what follows are in order, in their windows, none is orphaned.",
    "duplicates": "No impression and no order arrived twice.",
    "volume": "Impressions and label rates are those of comparable days; the feed is whole, and no bots are in it.",
    "drift": "Every field is distributed as on the days before, and none knows the label.",
}
_TABLES = {VALIDATED: SAMPLES_FILE, QUARANTINED: ROWS_FILE}
_SKIPPED_DAY = hashlib.sha256(b"").hexdigest()


def build(spec: DatasetSpec, pods: StepPods = LOCAL) -> list[dg.AssetsDefinition]:
    """The validated and quarantined samples of a dataset, made together: every row goes to one of them."""
    partitions = daily_partitions(spec)
    checks = check_specs(VALIDATED, {family: _CHECKS[family] for family in FAMILIES}, partitions)
    descriptions = {
        VALIDATED: "The day's rows that break no rule, and its receipt: rows in, admitted, quarantined by rule, "
        "content hash and verdict. Trainers read a day only if its receipt, or a reviewer, admits it.",
        QUARANTINED: "The day's rows that break a rule, whole, with the ids of all rules they break. Nothing is "
        "dropped: rows in = admitted + quarantined.",
    }
    shared = declaration(spec, group=DATA_GROUP)

    @dg.multi_asset(
        name="validation",
        specs=[
            dg.AssetSpec(
                name,
                deps=[JOINED],
                description=description,
                kinds={"greatexpectations", "duckdb"},
                automation_condition=restated_day_condition(spec),
                **shared,
            )
            for name, description in descriptions.items()
        ],
        check_specs=checks,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=False,
        op_tags=pods.other,
        retry_policy=pods.data_retry_policy,
    )
    def validation(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Iterator[Any]:
        outcomes = []
        with platform.scratch(VALIDATED) as scratch:
            for key in context.partition_keys:
                receipt = _validate(platform, spec, date.fromisoformat(key), scratch=scratch / key)
                context.log.info(
                    f"validated {key}: {receipt.rows_in} rows in, {receipt.admitted} admitted, {receipt.quarantined} "
                    f"quarantined, {receipt.verdict}"
                )
                publish_review(platform, spec, receipt.day)
                outcomes.append(_outcome(platform, spec, receipt))
        yield from report_days(context, assets=[VALIDATED, QUARANTINED], checks=checks, outcomes=outcomes)

    return [validation]


def _validate(platform: Platform, spec: DatasetSpec, day: date, *, scratch: Path) -> Receipt:
    # Great Expectations takes seconds to load: the run loads it, the code location never does.
    from data_checks.profile import PROFILE_FILE
    from data_checks.validation import validate_day

    scratch.mkdir(parents=True, exist_ok=True)
    joined = platform.artifacts.open(f"{JOINED}/{day.isoformat()}", remedy=f"materialize {JOINED} of {day}")
    facts: Any = joined.manifest.metadata
    admitted, quarantined = scratch / SAMPLES_FILE, scratch / ROWS_FILE
    files = {RECEIPT_FILE: scratch / RECEIPT_FILE}
    if "refused" in facts:
        receipt = _unjudged(spec, day, why=str(facts["refused"]), joined=joined)
        # Rows quarantined by an earlier run do not belong to this receipt.
        platform.artifacts.publish(
            f"{QUARANTINED}/{day.isoformat()}",
            {REFUSAL_FILE: joined.path(REFUSAL_FILE)},
            metadata={"receipt_id": receipt.receipt_id},
        )
    else:
        reach = [day - timedelta(days=age) for age in range(spec.validation.history_days, 0, -1)]
        history = read_receipts(platform, reach)
        files[PROFILE_FILE] = scratch / PROFILE_FILE
        receipt = validate_day(
            samples=joined.path(SAMPLES_FILE),
            spec=spec,
            day=day,
            input_version=joined.manifest.version,
            history=history,
            decisions=[decision for past in history for decision in read_decisions(platform, past.day)],
            label_horizon=datetime.fromisoformat(facts["label_horizon"]) if facts["label_horizon"] else None,
            events=EventCounts(impressions=facts["landed_impressions"]),
            admitted_to=admitted,
            quarantined_to=quarantined,
            profiles=_profiles(platform, reach[-spec.validation.drift_history_days :], name=PROFILE_FILE),
            profile_to=files[PROFILE_FILE],
            temp_directory=scratch,
        )
        files[SAMPLES_FILE] = admitted
        # Quarantine first: a kill in between leaves no receipt that counts rows which are nowhere.
        platform.artifacts.publish(
            f"{QUARANTINED}/{day.isoformat()}", {ROWS_FILE: quarantined}, metadata={"receipt_id": receipt.receipt_id}
        )
    files[RECEIPT_FILE].write_bytes(receipt.canonical_json())
    platform.artifacts.publish(validated_key(day), files, metadata={"receipt_id": receipt.receipt_id})
    return receipt


def _profiles(platform: Platform, days: list[date], *, name: str) -> dict[date, Path]:
    """The profiles of those days that stand as admitted; receipts of before there were profiles have none."""
    known = [(day, platform.artifacts.open(validated_key(day))) for day in days if day_standing(platform, day).admitted]
    return {day: artifact.path(name) for day, artifact in known if name in artifact.manifest.files}


def _unjudged(spec: DatasetSpec, day: date, *, why: str, joined: Artifact) -> Receipt:
    """The receipt of a day that could not be joined: refused, with no rows."""
    return Receipt(
        dataset=spec.name,
        day=day,
        input_version=joined.manifest.version,
        rules_version="not judged",
        label_horizon=None,
        events=None,
        rows_in=0,
        impressions=0,
        admitted=0,
        quarantined=0,
        bad_share=0,
        max_bad_share=spec.validation.max_bad_share,
        clicks=0,
        conversions=0,
        mature=0,
        verdict="refused",
        reasons=(why,),
        rules=(),
        content_sha256=_SKIPPED_DAY,
        quarantine_sha256=_SKIPPED_DAY,
    )


def _outcome(platform: Platform, spec: DatasetSpec, receipt: Receipt) -> DayOutcome:
    quarantine, page = quarantine_address(platform, receipt), review_address(platform, receipt.day)
    standing = day_standing(platform, receipt.day)
    facts = receipt_metadata(receipt, standing=standing, timezone=spec.timezone, page=page)
    return DayOutcome(
        day=receipt.day.isoformat(),
        metadata={
            VALIDATED: {"dagster/row_count": receipt.admitted, **_schema(platform, VALIDATED, receipt), **facts},
            QUARANTINED: {
                "dagster/row_count": receipt.quarantined,
                **_schema(platform, QUARANTINED, receipt),
                **quarantine_metadata(receipt, quarantine=quarantine, page=page),
            },
        },
        checks=family_checks(receipt, quarantine=quarantine, page=page),
        # A reviewer's acceptance of this very receipt stands: checked again, the day is no failure.
        refused="; ".join(receipt.reasons) if receipt.verdict == "refused" and not standing.admitted else None,
    )


def _schema(platform: Platform, asset: str, receipt: Receipt) -> dict[str, dg.TableSchema]:
    if not receipt.rules:
        return {}
    artifact = platform.artifacts.open(f"{asset}/{receipt.day.isoformat()}")
    return {"dagster/column_schema": column_schema(artifact.path(_TABLES[asset]))}
