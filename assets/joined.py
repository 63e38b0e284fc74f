"""The asset `joined_samples`: one row per impression with the labels credited to it; it judges nothing."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from assets.automation import restated_day_condition
from assets.behaviour_events import derived_fields
from assets.day_reports import CheckOutcome, DayOutcome, check_specs, report_days
from assets.declaration import chain_asset
from assets.delay_curve import add_delays
from assets.label_events import REFUSAL_FILE, CreditedEvents, label_events, raw_artifact, why_not_joined
from assets.partitions import DATA_GROUP, daily_partitions, label_days_after
from assets.receipts import SAMPLES_FILE
from assets.resources import Platform
from assets.schemas import column_schema
from assets.step_pods import LOCAL, StepPods
from ml.data.dataset import DatasetSpec
from ml.data.samples import LabelEvents, day_mature, day_start, join_day

NAME = "joined_samples"
_DESCRIPTION = (
    "One row per impression of the day: ids, fields, click, cart, favourite, conversion, value, times and label age. "
    "Each event is credited once, by the attribution of the dataset spec. Events that belong to nothing, and repeated "
    "deliveries of an order, are kept as rows of their own, for the rules to find."
)


def build(spec: DatasetSpec, pods: StepPods = LOCAL) -> list[dg.AssetsDefinition]:
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
        op_tags=pods.other,
        retry_policy=pods.data_retry_policy,
        description=_DESCRIPTION,
        check_specs=checks,
        output_required=False,
        automation_condition=restated_day_condition(spec),
    )
    def joined_samples(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Iterator[Any]:
        outcomes = []
        with platform.scratch(NAME) as scratch:
            credited = CreditedEvents(platform, spec, scratch=scratch)
            for key in context.partition_keys:
                outcomes.append(_join(platform, spec, date.fromisoformat(key), credited=credited, scratch=scratch))
                context.log.info(f"joined {key}: {outcomes[-1].metadata[NAME].get('dagster/row_count', 0)} rows")
            add_delays(platform, spec, outcomes, asset=NAME, scratch=scratch)
        yield from report_days(context, assets=[NAME], checks=checks, outcomes=outcomes)

    return [joined_samples]


def _join(platform: Platform, spec: DatasetSpec, day: date, *, credited: CreditedEvents, scratch: Path) -> DayOutcome:
    why_not = why_not_joined(platform, spec, day)
    raw = raw_artifact(platform, "raw_events", day)
    found = None if why_not else _label_events(platform, spec, day, credited=credited, scratch=scratch)
    if raw is None or found is None:
        return _refuse(platform, day, why_not or f"the events of {day} changed meanwhile; run again", scratch=scratch)
    events, horizon, versions = found
    impressions = raw.path("impressions.parquet")
    derived = derived_fields(platform, spec, day, impressions=impressions, raw=credited, scratch=scratch)
    out = scratch / day.isoformat() / SAMPLES_FILE
    joined = join_day(
        spec=spec,
        impressions=impressions,
        events=events,
        derived=derived.path,
        horizon=horizon,
        scratch=scratch / "spill",
        out=out,
    )
    arrived: Any = raw.manifest.metadata["arrived"]
    age = None if horizon is None else (horizon - day_start(day, spec.timezone)) / timedelta(days=1)
    facts: dict[str, Any] = {
        "rows": joined.rows,
        "landed_impressions": arrived["impressions"]["rows"],
        "impressions": joined.impressions,
        "clicks": joined.clicks,
        "conversions": joined.conversions,
        "events": {stage: tally.model_dump() for stage, tally in joined.events.items()},
        "label_horizon": horizon.isoformat() if horizon else None,
        "label_age_days": age,
        "mature": day_mature(spec=spec, day=day, horizon=horizon),
        "behaviour_days_missing": [past.isoformat() for past in derived.missing] if derived.path else None,
        "inputs": {raw.manifest.key: raw.manifest.version, **versions, **derived.versions},
    }
    platform.artifacts.publish(f"{NAME}/{day.isoformat()}", {SAMPLES_FILE: out}, metadata=facts)
    shown = {name: value for name, value in facts.items() if value is not None and name != "inputs"}
    metadata = {"dagster/row_count": joined.rows, "dagster/column_schema": column_schema(out), **shown}
    return DayOutcome(day=day.isoformat(), metadata={NAME: metadata}, checks={"joined": CheckOutcome(passed=True)})


def _label_events(
    platform: Platform, spec: DatasetSpec, day: date, *, credited: CreditedEvents, scratch: Path
) -> tuple[LabelEvents | None, datetime | None, dict[str, str]] | None:
    """What labels the day's impressions; no events and no horizon where the log carries its labels in its rows."""
    if spec.labels_complete:
        return None, None, {}
    return label_events(platform, spec, day, scratch=scratch, credited=credited)


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
