"""SQL that reads a raw value as a time in UTC; what becomes of an unreadable one is decided elsewhere."""

from ml.data.engine import literal
from ml.data.source_spec import TimeFormat

#: Microseconds of one unit of an epoch.
EPOCH_UNITS: dict[TimeFormat, int] = {"epoch_seconds": 1_000_000, "epoch_milliseconds": 1_000, "epoch_microseconds": 1}

# The years that calendars and Python know, less the two days by which a time zone may move them: DuckDB raises where a
# conversion leaves its own range, and one absurd value must not refuse a day.
_FIRST, _LAST = "TIMESTAMP '0001-01-03 00:00:00'", "TIMESTAMP '9999-12-29 23:59:59.999999'"
_FIRST_MICROSECOND, _LAST_MICROSECOND = -62_135_424_000_000_000, 253_402_127_999_999_999


def stored_time(column: str, *, kind: str, timezone: str) -> str:
    """SQL for a column of a TIMESTAMP type as a UTC TIMESTAMP; those without time zone are in `timezone`."""
    if kind == "TIMESTAMP WITH TIME ZONE":
        return _in_calendar(f"timezone('UTC', {column})")
    return _local_to_utc(_in_calendar(f"TRY_CAST({column} AS TIMESTAMP)"), timezone)


def written_time(text: str, *, format: TimeFormat, timezone: str) -> str:
    """SQL for a text as a UTC TIMESTAMP, NULL where it is no time in `format`; without offset it is in `timezone`."""
    if format == "iso":
        zoned = f"regexp_matches({text}, ':[0-9]{{2}}([.][0-9]+)? ?(Z|UTC|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$')"
        utc = _in_calendar(f"timezone('UTC', TRY_CAST({text} AS TIMESTAMPTZ))")
        # DuckDB's cast would drop any other zone's name, and read 'infinity' and 'epoch' as times.
        plain = f"regexp_matches({text}, '^[-0-9 T:./]+$')"
        local = _local_to_utc(_in_calendar(f"TRY_CAST({text} AS TIMESTAMP)"), timezone)
        return f"CASE WHEN {zoned} THEN {utc} WHEN {plain} THEN {local} END"
    microseconds = f"TRY_CAST({text} AS DOUBLE) * {EPOCH_UNITS[format]}"
    in_calendar = f"{microseconds} BETWEEN {_FIRST_MICROSECOND} AND {_LAST_MICROSECOND}"
    return f"CASE WHEN {in_calendar} THEN make_timestamp(CAST({microseconds} AS BIGINT)) END"


def _in_calendar(time: str) -> str:
    return f"CASE WHEN {time} BETWEEN {_FIRST} AND {_LAST} THEN {time} END"


def _local_to_utc(time: str, timezone: str) -> str:
    return f"timezone('UTC', timezone({literal(timezone)}, {time}))"
