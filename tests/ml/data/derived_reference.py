"""The slow plain-Python reading of derived fields that the SQL is held against; it knows no files and no SQL."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

from ml.data.dataset import AggregateSpec, FieldSpec


def midnight(day: date, zone: str) -> datetime:
    """The first instant of a local day, as a naive UTC time."""
    return datetime.combine(day, time(), tzinfo=ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)


def reference_feature(
    field: FieldSpec, shown: Mapping[str, Any], events: Sequence[Mapping[str, Any]], *, day: date, zone: str
) -> Any:
    """One derived field of one impression; `events` are in the order in which they were written down."""
    now = shown["impression_time"]
    if now is None or not midnight(day, zone) <= now < midnight(day + timedelta(days=1), zone):
        return None
    if field.aggregate is not None:
        return _aggregate(field.aggregate, shown, events, day=day, zone=zone)
    if shown["user_key"] is None:
        return None
    seen = [
        event
        for event in events
        if event["stage"] == field.behaviour
        and event["user_key"] == shown["user_key"]
        and event[str(field.of)] is not None
        and now - timedelta(days=field.behaviour_days) <= event["event_time"] < now
    ]
    seen.sort(key=lambda event: event["event_time"])
    return [str(event[str(field.of)]) for event in seen][-field.max_length :]


def _aggregate(
    aggregate: AggregateSpec, shown: Mapping[str, Any], events: Sequence[Mapping[str, Any]], *, day: date, zone: str
) -> float | None:
    if any(shown[by] is None for by in aggregate.by):
        return None
    start, end = midnight(day - timedelta(days=aggregate.days), zone), midnight(day, zone)
    alike = [
        event
        for event in events
        if start <= event["event_time"] < end and all(str(event[by]) == str(shown[by]) for by in aggregate.by)
    ]
    counted = [event for event in alike if event["stage"] == aggregate.count]
    if aggregate.per is not None:
        base = sum(event["stage"] == aggregate.per for event in alike)
        return len(counted) / base if base else None
    if aggregate.mean_of is not None:
        numbers = [event[aggregate.mean_of] for event in counted if event[aggregate.mean_of] is not None]
        finite = [number for number in numbers if isfinite(number)]
        return sum(finite) / len(finite) if finite else None
    return float(len(counted))
