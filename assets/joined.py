"""The asset `joined_samples`: one row per impression with the labels credited to it; it judges nothing."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from assets.day_reports import CheckOutcome, DayOutcome, check_specs, report_days
from assets.declaration import chain_asset
from assets.label_events import REFUSAL_FILE, label_events, raw_artifact, refusal
from assets.partitions import DATA_GROUP, daily_partitions, label_days_after
from assets.receipts import SAMPLES_FILE
from assets.resources import Platform
from assets.schemas import column_schema
from ml.data.dataset import DatasetSpec

NAME = "joined_samples"
_DESCRIPTION = (
    "One row per impression of the day: ids, fields, click, conversion, value, times and label age. Each click and "
    "conversion is credited once, to the last touch before it. Clicks and conversions that belong to nothing are kept "
    "as rows of their own, for the rules to find."
)


def build(spec: DatasetSpec) -> list[dg.AssetsDefinition]:
    """The asset `joined_samples` of a dataset."""
    partitions = daily_partitions(spec)
    checks = check_specs(NAME, {"joined": "The day's events and conversions were there to be joined."}, partitions)

    @chain_asset(
        spec,
        group=DATA_GROUP,
        name=NAME,
        deps=[
            dg.AssetDep("raw_events"),
            dg.AssetDep("raw_conversions", partition_mapping=label_days_after(spec)),
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"duckdb", "parquet"},
        description=_DESCRIPTION,
        check_specs=checks,
        output_required=False,
    )
    def joined_samples(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Iterator[Any]:
        outcomes = []
        with platform.scratch(NAME) as scratch:
            for key in context.partition_keys:
                outcomes.append(_join(platform, spec, date.fromisoformat(key), scratch=scratch))
                context.log.info(f"joined {key}: {outcomes[-1].metadata[NAME].get('dagster/row_count', 0)} rows")
        yield from report_days(context, assets=[NAME], checks=checks, outcomes=outcomes)

    return [joined_samples]


def _join(platform: Platform, spec: DatasetSpec, day: date, *, scratch: Path) -> DayOutcome:
    from ml.data.samples import join_day

    raw = raw_artifact(platform, "raw_events", day)
    found = None if raw is None or spec.labels_complete else label_events(platform, spec, day, scratch=scratch)
    if raw is None or (found is None and not spec.labels_complete):
        missing = "raw_events" if raw is None else "raw_conversions"
        return _refuse(platform, day, refusal(platform, missing, day), scratch=scratch)
    events, horizon, versions = found or (None, None, {})
    out = scratch / day.isoformat() / SAMPLES_FILE
    joined = join_day(
        spec=spec,
        impressions=raw.path("impressions.parquet"),
        events=events,
        horizon=horizon,
        scratch=scratch / "spill",
        out=out,
    )
    arrived: Any = raw.manifest.metadata["arrived"]
    facts: dict[str, Any] = {
        "rows": joined.rows,
        "landed_impressions": arrived["impressions"]["rows"],
        "impressions": joined.impressions,
        "clicks": joined.clicks,
        "conversions": joined.conversions,
        "click_events": joined.click_events.model_dump() if joined.click_events else None,
        "conversion_events": joined.conversion_events.model_dump() if joined.conversion_events else None,
        "label_horizon": horizon.isoformat() if horizon else None,
        "inputs": {raw.manifest.key: raw.manifest.version, **versions},
    }
    platform.artifacts.publish(f"{NAME}/{day.isoformat()}", {SAMPLES_FILE: out}, metadata=facts)
    shown = {name: value for name, value in facts.items() if value is not None and name != "inputs"}
    metadata = {"dagster/row_count": joined.rows, "dagster/column_schema": column_schema(out), **shown}
    return DayOutcome(day=day.isoformat(), metadata={NAME: metadata}, checks={"joined": CheckOutcome(passed=True)})


def _refuse(platform: Platform, day: date, why: str, *, scratch: Path) -> DayOutcome:
    """Withdraw what an earlier run may have joined: it no longer follows from what is in the store."""
    note = scratch / day.isoformat() / REFUSAL_FILE
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(why, encoding="utf-8")
    platform.artifacts.publish(f"{NAME}/{day.isoformat()}", {REFUSAL_FILE: note}, metadata={"refused": why})
    return DayOutcome(
        day=day.isoformat(),
        metadata={NAME: {"refused": why}},
        checks={"joined": CheckOutcome(passed=False, metadata={"refused": why}, description=why)},
        refused=why,
    )
