"""Assembles a day's samples: one row per impression with its labels, and the day's orphan events; it judges no row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
from pydantic import BaseModel, ConfigDict

from ml.data.dataset import DatasetSpec
from ml.data.engine import connect, identifier, literal, parquet, statement
from ml.data.fields import FieldSpec


class EventTally(BaseModel):
    """Where the events of one stream of one day went: arrived = credited + late + orphaned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arrived: int
    credited: int
    late: int
    orphaned: int


@dataclass(frozen=True)
class JoinedDay:
    """The samples written for a day: rows by kind, and what became of the day's own clicks and conversions."""

    rows: int
    impressions: int
    clicks: int
    conversions: int
    click_events: EventTally | None
    conversion_events: EventTally | None


@dataclass(frozen=True)
class LabelEvents:
    """Files of credited events: `touches` and `credits` from the day on as far as landed, the day's own first."""

    touches: Sequence[Path]
    credits: Sequence[Path]


def day_start(day: date, timezone_name: str) -> datetime:
    """The first instant of `day` in the dataset's time zone, as an aware UTC datetime."""
    return datetime.combine(day, time(), tzinfo=ZoneInfo(timezone_name)).astimezone(UTC)


def label_horizon(*, spec: DatasetSpec, last_observed: date) -> datetime:
    """The instant up to which conversions have been observed: the end of the last landed day, in UTC."""
    return day_start(last_observed + timedelta(days=1), spec.timezone)


def join_day(
    *,
    spec: DatasetSpec,
    impressions: Path,
    events: LabelEvents | None,
    horizon: datetime | None,
    scratch: Path,
    out: Path,
) -> JoinedDay:
    """Write the samples of one day to `out` (Parquet, zstd), one row per impression plus one per orphan event.

    `events` and `horizon` are None for a log whose labels are complete. Rows keep the landed order; the same
    inputs give the same bytes.
    """
    shown = parquet([impressions])
    fields = ",\n        ".join(f"shown.{identifier(field.name)}" for field in spec.fields)
    finish = _finish(spec, horizon)
    if events is None:
        text = statement("samples_wide", fields=fields, impressions=shown, finish=finish)
    else:
        text = statement(
            "samples",
            fields=fields,
            no_fields=",\n        ".join(_no_field(field) for field in spec.fields),
            impressions=shown,
            touches=parquet(list(events.touches)),
            credits=parquet(list(events.credits)),
            day_touches=parquet([events.touches[0]]),
            day_credits=parquet([events.credits[0]]),
            finish=finish,
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with connect(scratch=scratch) as connection:
        connection.execute(f"COPY ({text}) TO {literal(str(out))} (FORMAT parquet, COMPRESSION zstd)")
        return _summary(connection, out=out, events=events)


def _finish(spec: DatasetSpec, horizon: datetime | None) -> str:
    names = ",\n    ".join(identifier(field.name) for field in spec.fields)
    if horizon is None:
        return statement("samples_finish", label_age="CAST(NULL AS BIGINT)", mature="TRUE", field_names=names)
    until = f"TIMESTAMP {literal(horizon.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%S'))}"
    age = f"CAST(floor((epoch_us({until}) - epoch_us(impression_time)) / 1e6) AS BIGINT)"
    # A click may come one click window after the impression, and its conversion one conversion window after that.
    final = spec.attribution.conversion_window_seconds
    final += 0 if spec.clicks_implied else spec.attribution.click_window_seconds
    return statement("samples_finish", label_age=age, mature=f"coalesce({age} >= {final}, FALSE)", field_names=names)


def _no_field(field: FieldSpec) -> str:
    kind = {"number": "DOUBLE", "sequence": "VARCHAR[]"}.get(field.kind, "VARCHAR")
    return f"CAST(NULL AS {kind}) AS {identifier(field.name)}"


def _summary(connection: duckdb.DuckDBPyConnection, *, out: Path, events: LabelEvents | None) -> JoinedDay:
    row = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE row_kind = 'impression'), "
        "count(*) FILTER (WHERE row_kind = 'impression' AND click = 1), "
        "count(*) FILTER (WHERE row_kind = 'impression' AND conversion = 1) "
        f"FROM {parquet([out])}"
    ).fetchone()
    assert row is not None
    rows, impressions, clicks, conversions = row
    if events is None:
        return JoinedDay(rows, impressions, clicks, conversions, None, None)
    return JoinedDay(
        rows,
        impressions,
        clicks,
        conversions,
        _tally(connection, events.touches[0], reference="shown_impression", event_time="click_time"),
        _tally(connection, events.credits[0], reference="credited_impression", event_time="conversion_time"),
    )


def _tally(connection: duckdb.DuckDBPyConnection, path: Path, *, reference: str, event_time: str) -> EventTally:
    text = statement("event_counts", reference=reference, event_time=event_time, events=parquet([path]))
    row = connection.execute(text).fetchone()
    assert row is not None
    return EventTally(arrived=row[0], credited=row[1], late=row[2], orphaned=row[3])
