"""Lands the events and the conversions of a day, whatever kind of log the dataset spec describes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ml.data.dataset import AliCcp, DatasetSpec, EventStreams, Synthetic, WideLog
from ml.data.source_spec import ClickTable, ConversionTable, ImpressionTable, StageTable, WideTable
from ml.data.sources.columns import RawColumns, TypedColumn, absent
from ml.data.sources.landing import LandedTable, TableLanding, land_table
from ml.data.sources.raw_files import FileFinder, RawFeed
from ml.data.sources.tables import LandingRefused


@dataclass(frozen=True)
class LandedDay:
    """The landed tables of one day by name, or why the day was refused."""

    day: date
    tables: dict[str, LandedTable]
    refused: LandingRefused | None = None


class LogSource:
    """Reads one dataset's raw log.

    `feed_root` is the folder that a synthetic log is generated into; other kinds do not use it. `feed` is what tables
    in buckets are read from; logs in folders need none.
    """

    def __init__(self, *, spec: DatasetSpec, feed_root: Path, feed: RawFeed | None = None) -> None:
        self._spec = spec
        self._feed_root = feed_root
        self._feed = feed

    def land_events(self, *, days: Sequence[date], root: Path) -> Iterator[LandedDay]:
        """Land impressions and the streams of clicks, carts and favourites that the log has: `root/<day>/*.parquet`.

        A day is landed when it is asked for, after those before it: who has done with one may remove `root/<day>`.
        """
        source = self._spec.source
        if isinstance(source, WideLog):
            return self._land([_wide(self._spec, source.table)], days=days, root=root)
        if isinstance(source, AliCcp):
            # numpy and pyarrow are loaded only where such files are read.
            from ml.data.sources.ali_ccp.landing import land_impressions

            by_day = land_impressions(spec=self._spec, days=days, root=root)
            return (_gather(day, {"impressions": by_day[day]}) for day in days)
        streams = self._streams(days)
        landings = [_impressions(self._spec, streams.impressions)]
        if isinstance(streams.clicks, ClickTable):
            landings.append(_clicks(self._spec, streams.clicks))
        stages = {"cart": streams.carts, "favourite": streams.favourites}
        landings += [_stage(self._spec, stage, table) for stage, table in stages.items() if table is not None]
        return self._land(landings, days=days, root=root)

    def land_conversions(self, *, days: Sequence[date], root: Path) -> Iterator[LandedDay]:
        """Land conversions, day by day: `root/<day>/conversions.parquet`; a log with label columns has none."""
        if self._spec.labels_complete:
            return (LandedDay(day=day, tables={}) for day in days)
        return self._land([_conversions(self._spec, self._streams(days).conversions)], days=days, root=root)

    def _streams(self, days: Sequence[date]) -> EventStreams:
        source = self._spec.source
        if isinstance(source, EventStreams):
            return source
        assert isinstance(source, Synthetic)
        # numpy is loaded only where a log is generated.
        from ml.data.sources.generated import generate_streams

        return generate_streams(config=source.config, days=days, first=self._spec.days.first, root=self._feed_root)

    def _land(self, landings: list[TableLanding], *, days: Sequence[date], root: Path) -> Iterator[LandedDay]:
        """Tables that hold all days are read once, the others day by day: at most a day of a bucket lies on disk."""
        undivided = [landing for landing in landings if not landing.table.daily]
        by_table = self._land_tables(undivided, days=days, root=root)
        for day in days:
            tables = {name: landed[day] for name, landed in by_table.items()}
            daily = [landing for landing in landings if landing.table.daily]
            tables |= {name: landed[day] for name, landed in self._land_tables(daily, days=[day], root=root).items()}
            yield _gather(day, {landing.name: tables[landing.name] for landing in landings})

    def _land_tables(
        self, landings: list[TableLanding], *, days: Sequence[date], root: Path
    ) -> dict[str, dict[date, LandedTable | LandingRefused]]:
        with FileFinder(scratch=root / "copies", feed=self._feed) as finder:
            return {
                landing.name: land_table(
                    landing,
                    finder=finder,
                    days=days,
                    first=self._spec.days.first,
                    last=self._spec.days.last,
                    timezone=self._spec.timezone,
                    root=root,
                )
                for landing in landings
            }


def _gather(day: date, tables: dict[str, LandedTable | LandingRefused]) -> LandedDay:
    for outcome in tables.values():
        if isinstance(outcome, LandingRefused):
            return LandedDay(day=day, tables={}, refused=outcome)
    return LandedDay(day=day, tables={name: table for name, table in tables.items() if isinstance(table, LandedTable)})


def _sample_columns(spec: DatasetSpec, raw: RawColumns) -> list[TypedColumn]:
    user, item = spec.field(spec.user_key), spec.field(spec.item_key)
    return [
        raw.keyed("user_key", user.source_column),
        raw.keyed("item_key", item.source_column),
        raw.keyed("unit_key", spec.unit_key or user.source_column),
        *(column for field in spec.logged_fields for column in raw.field(field)),
    ]


def _impressions(spec: DatasetSpec, table: ImpressionTable) -> TableLanding:
    def columns(raw: RawColumns) -> list[TypedColumn]:
        time = raw.time(table.time, format=table.time_format, timezone=spec.timezone)
        return [
            raw.keyed("impression_id", table.impression_id),
            raw.typed("impression_time", table.time, time),
            *_sample_columns(spec, raw),
        ]

    return TableLanding(name="impressions", table=table, columns=columns, time_column="impression_time")


def _clicks(spec: DatasetSpec, table: ClickTable) -> TableLanding:
    def columns(raw: RawColumns) -> list[TypedColumn]:
        time = raw.time(table.time, format=table.time_format, timezone=spec.timezone)
        return [
            *_references(raw, table),
            raw.typed("click_time", table.time, time),
        ]

    return TableLanding(name="clicks", table=table, columns=columns, time_column="click_time")


def _stage(spec: DatasetSpec, stage: str, table: StageTable) -> TableLanding:
    def columns(raw: RawColumns) -> list[TypedColumn]:
        time = raw.time(table.time, format=table.time_format, timezone=spec.timezone)
        return [*_references(raw, table), raw.typed(f"{stage}_time", table.time, time)]

    return TableLanding(name=f"{stage}s", table=table, columns=columns, time_column=f"{stage}_time")


def _conversions(spec: DatasetSpec, table: ConversionTable) -> TableLanding:
    def columns(raw: RawColumns) -> list[TypedColumn]:
        time = raw.time(table.time, format=table.time_format, timezone=spec.timezone)
        return [
            *_references(raw, table),
            raw.typed("conversion_time", table.time, time),
            _optional_number(raw, "value", table.value),
            _optional_key(raw, "order_id", table.order_id),
        ]

    return TableLanding(name="conversions", table=table, columns=columns, time_column="conversion_time")


def _wide(spec: DatasetSpec, table: WideTable) -> TableLanding:
    def optional_time(raw: RawColumns, name: str, column: str | None) -> TypedColumn:
        if column is None:
            return absent(name, "TIMESTAMP")
        return raw.typed(name, column, raw.time(column, format=table.time_format, timezone=spec.timezone))

    def columns(raw: RawColumns) -> list[TypedColumn]:
        time = raw.time(table.time, format=table.time_format, timezone=spec.timezone)
        return [
            raw.keyed("impression_id", table.impression_id),
            raw.typed("impression_time", table.time, time),
            raw.typed("click", table.click, raw.label(table.click)),
            raw.typed("conversion", table.conversion, raw.label(table.conversion)),
            optional_time(raw, "click_time", table.click_time),
            optional_time(raw, "conversion_time", table.conversion_time),
            _optional_number(raw, "value", table.value),
            _optional_key(raw, "order_id", table.order_id),
            *_sample_columns(spec, raw),
        ]

    return TableLanding(name="impressions", table=table, columns=columns, time_column="impression_time")


def _references(raw: RawColumns, table: ClickTable | StageTable) -> list[TypedColumn]:
    """The columns by which an event may name what it follows; those that it does not use are NULL."""
    return [
        _optional_key(raw, "click_id", table.click_id),
        _optional_key(raw, "impression_id", table.impression_id),
        _optional_key(raw, "user_key", table.user),
        _optional_key(raw, "item_key", table.item),
    ]


def _optional_key(raw: RawColumns, name: str, columns: str | tuple[str, ...] | None) -> TypedColumn:
    return absent(name, "VARCHAR") if columns is None else raw.keyed(name, columns)


def _optional_number(raw: RawColumns, name: str, column: str | None) -> TypedColumn:
    return absent(name, "DOUBLE") if column is None else raw.typed(name, column, raw.number(column))
