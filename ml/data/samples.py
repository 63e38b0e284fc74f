"""Assembles a day's samples: one row per impression with its labels, and the day's orphan events; it judges no row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
from pydantic import BaseModel, ConfigDict

from ml.data import sample_statements
from ml.data.dataset import DatasetSpec, Stage
from ml.data.engine import connect, literal, parquet, statement, write_parquet
from ml.data.sample_statements import ROW_KINDS


class EventTally(BaseModel):
    """Where the events of one stage of one day went: arrived = credited + late + repeated + orphaned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arrived: int
    credited: int
    late: int
    repeated: int
    orphaned: int


@dataclass(frozen=True)
class JoinedDay:
    """The samples written for a day: rows by kind, and what became of the events of each stage that has a stream."""

    rows: int
    impressions: int
    clicks: int
    conversions: int
    events: Mapping[Stage, EventTally]


@dataclass(frozen=True)
class LabelEvents:
    """Files of credited events, a stage's from the day on as far as landed, the day's own first.

    `stages` holds those of "cart" and "favourite" where the log has them.
    """

    touches: Sequence[Path]
    credits: Sequence[Path]
    stages: Mapping[Stage, Sequence[Path]] = field(default_factory=dict)

    def streams(self, spec: DatasetSpec) -> dict[Stage, Sequence[Path]]:
        """The files by stage, in the order of the stages; implied clicks are no stream."""
        streams: dict[Stage, Sequence[Path]] = {} if spec.clicks_implied else {"click": self.touches}
        streams |= {stage: self.stages[stage] for stage in spec.stages if stage in self.stages}
        return {**streams, "conversion": self.credits}


class DerivedMismatch(ValueError):
    """A file of derived fields that was not made from the landed impressions it is joined to."""


def day_start(day: date, timezone_name: str) -> datetime:
    """The first instant of `day` in the dataset's time zone, as an aware UTC datetime."""
    return datetime.combine(day, time(), tzinfo=ZoneInfo(timezone_name)).astimezone(UTC)


def label_horizon(*, spec: DatasetSpec, last_observed: date) -> datetime:
    """The instant up to which conversions have been observed: the end of the last landed day, in UTC."""
    return day_start(last_observed + timedelta(days=1), spec.timezone)


def day_mature(*, spec: DatasetSpec, day: date, horizon: datetime | None) -> bool:
    """Whether the labels of all impressions of `day` are final; `horizon` is None where they came complete."""
    end = day_start(day + timedelta(days=1), spec.timezone)
    return horizon is None or horizon >= end + timedelta(seconds=spec.label_window_seconds)


def join_day(
    *,
    spec: DatasetSpec,
    impressions: Path,
    events: LabelEvents | None,
    horizon: datetime | None,
    scratch: Path,
    out: Path,
    derived: Path | None = None,
) -> JoinedDay:
    """Write the samples of one day to `out` (Parquet, zstd), one row per impression plus one per orphan event.

    `events` and `horizon` are None for a log whose labels are complete. `derived` holds the spec's derived fields: a
    row per landed impression with its source_row, in their order; None where the spec has none. Rows keep the landed
    order; the same inputs give the same bytes.

    Raises ValueError where derived fields are given or declared, but not both, and DerivedMismatch where the file is
    of other impressions.
    """
    if (derived is not None) != bool(spec.derived_fields):
        names = ", ".join(field.name for field in spec.derived_fields) or "none"
        raise ValueError(
            f"derived fields of the spec: {names}; file of derived fields: {derived}; give both or neither"
        )
    streams: dict[Stage, Sequence[Path]] = {} if events is None else events.streams(spec)
    with connect(scratch=scratch) as connection:
        _require_together(connection, impressions=impressions, derived=derived)
        connection.execute(sample_statements.copies(spec, impressions))
        shown = sample_statements.shown_relation(impressions, derived)
        if events is None:
            parts = [sample_statements.wide(spec, shown=shown)]
        else:
            earliest, latest = _bounds(connection, impressions)
            connection.execute(sample_statements.labels(streams, earliest=earliest, latest=latest))
            parts = [sample_statements.labelled(spec, streams, shown=shown)]
            parts += [sample_statements.orphans(spec, stage, files[0]) for stage, files in streams.items()]
        # Impressions stream past the two small tables and keep their order only while they are the probing side.
        connection.execute("SET disabled_optimizers = 'statistics_propagation,join_order,build_side_probe_side'")
        # Two threads write their row groups in whichever order these are done; sorting them again doubles the cost.
        connection.execute("SET threads = 1")
        rows = write_parquet(connection, sample_statements.samples(spec, parts, horizon=horizon), out)
        if not in_order(connection, out):
            # A join that spills to disk gives its rows in another order.
            text = sample_statements.samples(spec, parts, horizon=horizon, sorted_anew=True)
            rows = write_parquet(connection, text, out)
        tallies: dict[Stage, EventTally] = {
            stage: _tally(connection, stage, files[0]) for stage, files in streams.items()
        }
        return JoinedDay(rows, *_labelled_rows(connection, out), tallies)


def in_order(connection: duckdb.DuckDBPyConnection, samples: Path) -> bool:
    """Whether the rows of a samples file lie by kind, and within it as landed."""
    kinds = ", ".join(literal(kind) for kind in ROW_KINDS)
    row = connection.execute(
        f"""SELECT count(*) FROM (
            SELECT kind, source_row, lag(kind) OVER () AS kind_before, lag(source_row) OVER () AS row_before
            FROM (SELECT list_position([{kinds}], row_kind) AS kind, source_row FROM {parquet([samples])}) AS rows
        ) AS pairs
        WHERE kind < kind_before OR (kind = kind_before AND source_row <= row_before)"""
    ).fetchone()
    assert row is not None
    return row[0] == 0


def _require_together(connection: duckdb.DuckDBPyConnection, *, impressions: Path, derived: Path | None) -> None:
    if derived is None:
        return
    row = connection.execute(sample_statements.rows_apart(impressions, derived)).fetchone()
    assert row is not None
    if row[0]:
        raise DerivedMismatch(
            f"{derived} and {impressions} differ at {row[0]} rows; derive the features of the landed day again"
        )


def _bounds(connection: duckdb.DuckDBPyConnection, impressions: Path) -> tuple[str | None, str | None]:
    """The first and the last time of an impression, as text: Python's own times end in the year 9999."""
    row = connection.execute(
        "SELECT CAST(min(impression_time) AS VARCHAR), CAST(max(impression_time) AS VARCHAR) "
        f"FROM {parquet([impressions])}"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def _labelled_rows(connection: duckdb.DuckDBPyConnection, out: Path) -> tuple[int, int, int]:
    row = connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE click = 1), count(*) FILTER (WHERE conversion = 1) "
        f"FROM {parquet([out])} WHERE row_kind = 'impression'"
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def _tally(connection: duckdb.DuckDBPyConnection, stage: Stage, events: Path) -> EventTally:
    text = statement(
        "event_counts",
        reference="shown_impression" if stage == "click" else "credited_impression",
        event_time=f"{stage}_time",
        repeated="duplicate_rank > 1" if stage == "conversion" else "FALSE",
        events=parquet([events]),
    )
    row = connection.execute(text).fetchone()
    assert row is not None
    return EventTally(**dict(zip(EventTally.model_fields, row, strict=True)))
