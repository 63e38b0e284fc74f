"""What users did on a day, as events with the fields of the impressions they follow; features are made elsewhere.

An event refers to what was logged before it, never after: attribution, which makes labels, may wait for a late row, and
what waits for the future must not reach a feature. So events are read from the landed tables, not from the credits.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import duckdb

from ml.data.attribution import credit_lookback, lookback, names_impression, refers_to, touch_lookback
from ml.data.dataset import DatasetSpec, Stage
from ml.data.engine import connect, identifier, literal, parquet, statement, write_parquet
from ml.data.samples import day_start

Reference = Literal["impression_id", "click_id", "user_item_time"]
_REFERENCES = ("click_id", "impression_id", "user_key", "item_key")


class FieldsNotLanded(ValueError):
    """Impressions that were landed before the dataset spec had a field that others are derived from."""


def behaviour_stages(spec: DatasetSpec) -> tuple[Stage, ...]:
    """The stages whose events the derived fields look at, in the order in which they happen."""
    used: set[Stage] = set()
    for field in spec.derived_fields:
        if field.aggregate is not None:
            used |= {stage for stage in (field.aggregate.count, field.aggregate.per) if stage is not None}
        elif field.behaviour is not None:
            used.add(field.behaviour)
    return tuple(stage for stage in spec.stages if stage in used)


def behaviour_columns(spec: DatasetSpec) -> tuple[str, ...]:
    """The logged fields that derived fields are computed from, in the spec's order."""
    used: set[str] = set()
    for field in spec.derived_fields:
        if field.aggregate is not None:
            used |= {*field.aggregate.by, *([field.aggregate.mean_of] if field.aggregate.mean_of else [])}
        elif field.of is not None:
            used.add(field.of)
    return tuple(field.name for field in spec.logged_fields if field.name in used)


def behaviour_reach(spec: DatasetSpec, day: date) -> list[date]:
    """The days of the log whose behaviour events the derived fields of `day` may look at, oldest first, `day` last.

    A sequence looks back a multiple of 86,400 seconds; after a day of 23 hours these begin one day earlier.
    """
    zone = ZoneInfo(spec.timezone)
    first = day - timedelta(days=spec.behaviour_days)
    for field in spec.derived_fields:
        if field.behaviour is not None:
            since = day_start(day, spec.timezone) - timedelta(days=field.behaviour_days)
            first = min(first, since.astimezone(zone).date())
    return [past for past in lookback(day, (day - first).days) if past >= spec.days.first]


def behaviour_lookback(spec: DatasetSpec) -> int:
    """Days before an event's day whose landed tables it may refer to."""
    following = {stage for stage in behaviour_stages(spec) if _reference(spec, stage) is not None}
    if following <= {"click"}:
        return touch_lookback(spec) if following else 0
    return credit_lookback(spec)


def landed_stages(spec: DatasetSpec) -> tuple[Stage, ...]:
    """The landed tables, by their stage, that behaviour events are made from."""
    used = behaviour_stages(spec)
    by_click = any(_reference(spec, stage) == "click_id" for stage in used)
    needed = {"impression", *used, *(["click"] if by_click else [])} - ({"click"} if spec.clicks_implied else set())
    return tuple(stage for stage in spec.stages if stage in needed)


def write_behaviour_events(
    *, spec: DatasetSpec, tables: Mapping[Stage, Sequence[Path]], scratch: Path, out: Path
) -> int:
    """Write what happened on one day to `out`; returns the number of events.

    One row per event that the derived fields look at, by stage and then as landed: stage, event_time (the event's
    own, TIMESTAMP in UTC), user_key, and `behaviour_columns`, taken from the latest impression at or before the event
    that it refers to by id, by its click's reference, or by user and item. Where there is none they are NULL, except
    for the user and item that the event names itself. Events are there whether or not a label window holds them; those
    without a time and repeated deliveries (a copy, an id or an order that came before) are not.

    `tables` holds the landed files of each of `landed_stages` for the day (last) and, as far as there are any, for the
    `behaviour_lookback` days before it. Raises FieldsNotLanded where the day's impressions lack one of the fields.
    """
    parts = []
    for reference in ("impression_id", "user_item_time"):
        events = [
            _stage(spec, stage, tables)
            for stage in behaviour_stages(spec)
            if _reference(spec, stage) is not None and _impression_reference(spec, stage) == reference
        ]
        if events:
            parts.append(_followed(spec, events, reference, tables["impression"]))
    parts += [
        statement(
            "behaviour_shown",
            stage_order=str(spec.stages.index(stage)),
            stage=literal(stage),
            fields="".join(f",\n    {identifier(name)}" for name in behaviour_columns(spec)),
            impressions=parquet([tables["impression"][-1]]),
        )
        for stage in behaviour_stages(spec)
        if _reference(spec, stage) is None
    ]
    text = statement("behaviour_events", parts="\n    UNION ALL\n    ".join(f"({part})" for part in parts))
    with connect(scratch=scratch) as connection:
        _require_fields(spec, connection, tables["impression"][-1])
        return write_parquet(connection, text, out)


def _require_fields(spec: DatasetSpec, connection: duckdb.DuckDBPyConnection, impressions: Path) -> None:
    landed = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {parquet([impressions])}").fetchall()}
    absent = [name for name in behaviour_columns(spec) if name not in landed]
    if absent:
        raise FieldsNotLanded(
            f"{impressions} has no column {', '.join(absent)}, which the derived fields of {spec.name} need; "
            "materialize raw_events of the day again"
        )


def _reference(spec: DatasetSpec, stage: Stage) -> Reference | None:
    """By what the events of a stage refer to what they follow; None where the impression itself is the event."""
    if stage == "impression" or (stage == "click" and spec.clicks_implied):
        return None
    if stage == "click":
        return "impression_id" if names_impression(spec) else "user_item_time"
    return refers_to(spec, stage)


def _impression_reference(spec: DatasetSpec, stage: Stage) -> Reference | None:
    """By what an event's impression is found: the event's own reference, or that of the click it names."""
    reference = _reference(spec, stage)
    if reference != "click_id":
        return reference
    return "impression_id" if spec.clicks_implied else _reference(spec, "click")


def _stage(spec: DatasetSpec, stage: Stage, tables: Mapping[Stage, Sequence[Path]]) -> str:
    """The statement of one stage's events with what they refer to."""
    reference = _reference(spec, stage)
    # Where clicks are implied, a click's id is its impression's.
    through_click = reference == "click_id" and not spec.clicks_implied
    named = {"impression_id": "impression_id", "click_id": "NULL" if through_click else "click_id"}
    events = statement(
        "behaviour_stage",
        stage_order=str(spec.stages.index(stage)),
        stage=literal(stage),
        event_time=f"{stage}_time",
        click_id=f"CAST({'click_id' if through_click else 'NULL'} AS VARCHAR)",
        impression_id=f"CAST({named.get(str(reference), 'NULL')} AS VARCHAR)",
        delivered=_delivered(stage, tables[stage]),
        same=", ".join(_same_delivery(stage)),
    )
    if not through_click:
        return events
    return statement("behaviour_by_click", events=events, clicks=parquet(list(tables["click"])))


def _delivered(stage: Stage, files: Sequence[Path]) -> str:
    """A table expression of a stage's rows of the day (_own); of orders those of earlier days, too."""
    rows = f"SELECT TRUE AS _own, * FROM {parquet([files[-1]])}"
    if stage == "conversion" and files[:-1]:
        rows += f" UNION ALL BY NAME SELECT FALSE AS _own, * FROM {parquet(list(files[:-1]))}"
    return f"({rows})"


def _same_delivery(stage: Stage) -> list[str]:
    """What two rows of a stage agree in if one repeats the other: an id of their own, or else everything."""
    if stage == "click":
        return ["click_id", *(_where_null("click_id", name) for name in (*_REFERENCES[1:], "click_time"))]
    if stage == "conversion":
        return ["order_id", *_REFERENCES, *(_where_null("order_id", name) for name in ("conversion_time", "value"))]
    return [*_REFERENCES, f"{stage}_time"]


def _where_null(id: str, name: str) -> str:
    return f"CASE WHEN {id} IS NULL THEN {name} END"


def _followed(spec: DatasetSpec, events: Sequence[str], reference: Reference, impressions: Sequence[Path]) -> str:
    """The statement of the events of some stages with the fields of the impressions that they refer to."""
    keys = ("impression_id",) if reference == "impression_id" else ("user_key", "item_key")
    columns = ("source_file", "source_row", "user_key", *behaviour_columns(spec))
    return statement(
        "behaviour_followed",
        events="\n    UNION ALL\n    ".join(f"({event})" for event in events),
        impressions=parquet(list(impressions)),
        shown_keys=", ".join(f"impressions.{key}" for key in keys),
        named=" AND ".join(f"impressions.{key} = event.{key}" for key in keys),
        same=" AND ".join(f"event.{key} = shown.{key}" for key in keys),
        content=", ".join(f"{identifier(name)} := impressions.{identifier(name)}" for name in columns),
        fields="".join(f",\n    {_field(spec, name)} AS {identifier(name)}" for name in behaviour_columns(spec)),
    )


def _field(spec: DatasetSpec, name: str) -> str:
    value = f"shown.content.{identifier(name)}"
    own = {spec.user_key: "event.user_key", spec.item_key: "event.item_key"}.get(name)
    return f"coalesce({value}, {own})" if own else value
