"""Keeps each day's behaviour events in the store, made once and reused, and derives a day's fields from them."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from pydantic import JsonValue

from assets.label_events import CreditedEvents, made_once, references
from assets.resources import Platform
from infra.artifacts import Artifact
from ml.code_version import code_version
from ml.data.attribution import STAGE_TABLES, lookback
from ml.data.behaviour import (
    FieldsNotLanded,
    behaviour_columns,
    behaviour_lookback,
    behaviour_reach,
    behaviour_stages,
    landed_stages,
    write_behaviour_events,
)
from ml.data.dataset import DatasetSpec, Stage
from ml.data.derived import derive_features

EVENTS_FILE = "events.parquet"
#: Where the landed table of each stage lies: asset and file.
_TABLES: dict[Stage, tuple[str, str]] = {
    "impression": ("raw_events", "impressions.parquet"),
    "click": ("raw_events", "clicks.parquet"),
    **{stage: ("raw_events", f"{table}.parquet") for stage, table in STAGE_TABLES.items()},
    "conversion": ("raw_conversions", "conversions.parquet"),
}


@dataclass(frozen=True)
class DerivedFields:
    """The derived fields of a day's impressions (`path` is None where the spec has none), the version of every
    artifact they rest on, and the days that they would have looked at if their events were landed."""

    path: Path | None
    versions: dict[str, str] = field(default_factory=dict)
    missing: tuple[date, ...] = ()


def derived_fields(
    platform: Platform, spec: DatasetSpec, day: date, *, impressions: Path, raw: CreditedEvents, scratch: Path
) -> DerivedFields:
    """Derive the fields of the landed `impressions` of `day` from what is landed of it and of the days before it.

    A day without landed events adds nothing; one that is landed again changes the fields when they are made again.
    """
    if not spec.derived_fields:
        return DerivedFields(path=None)
    days = behaviour_reach(spec, day)
    found = [
        (past, behaviour_events(platform, spec, past, raw=raw, scratch=scratch, required=past == day)) for past in days
    ]
    events = [artifact for _, artifact in found if artifact is not None]
    out = scratch / day.isoformat() / "derived.parquet"
    derive_features(
        spec=spec,
        day=day,
        impressions=impressions,
        events=[artifact.path(EVENTS_FILE) for artifact in events],
        scratch=scratch / "spill",
        out=out,
    )
    return DerivedFields(
        path=out,
        versions={artifact.manifest.key: artifact.manifest.version for artifact in events},
        missing=tuple(past for past, artifact in found if artifact is None),
    )


def behaviour_events(
    platform: Platform, spec: DatasetSpec, day: date, *, raw: CreditedEvents, scratch: Path, required: bool = False
) -> Artifact | None:
    """What happened on `day` (EVENTS_FILE), made where it is missing or rests on other inputs than there are now.

    None where one of the tables it is made from is not landed, or landed before the spec had a field that is needed:
    rates over half of a day's stages, or a field without values, would be wrong. Where the day is `required`, raises
    FieldsNotLanded in the second case.
    """
    stages = landed_stages(spec)
    if not all(_landed(raw, stage, [day]) for stage in stages):
        return None
    past = lookback(day, behaviour_lookback(spec))
    tables: dict[Stage, list[Artifact]] = {stage: _landed(raw, stage, past) for stage in stages}
    artifacts = [artifact for landed in tables.values() for artifact in landed]
    rests_on: dict[str, JsonValue] = {
        "inputs": {artifact.manifest.key: artifact.manifest.version for artifact in artifacts},
        "stages": list(behaviour_stages(spec)),
        "columns": list(behaviour_columns(spec)),
        "keys": [spec.user_key, spec.item_key],
        "refers_to": references(spec),
        "code_version": code_version(),
    }

    def make(out: Path) -> int:
        files: dict[Stage, list[Path]] = {
            stage: [artifact.path(_TABLES[stage][1]) for artifact in landed] for stage, landed in tables.items()
        }
        return write_behaviour_events(spec=spec, tables=files, scratch=scratch / "spill", out=out)

    key = f"behaviour_events/{day.isoformat()}"
    try:
        return made_once(platform, key, EVENTS_FILE, rests_on=rests_on, make=make, out=scratch / key / EVENTS_FILE)
    except FieldsNotLanded:
        if required:
            raise
        return None


def _landed(raw: CreditedEvents, stage: Stage, days: list[date]) -> list[Artifact]:
    asset, file = _TABLES[stage]
    return [artifact for artifact in raw.present(asset, days) if file in artifact.manifest.files]
