"""Times of every raw type and unit against Python's own reading, and what is no time: never a guess, never an error."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.source_spec import TimeFormat
from ml.data.sources.times import stored_time, written_time

CONNECTION = duckdb.connect()
CONNECTION.execute("SET TimeZone = 'UTC'")


def time(value: Any, *, kind: str = "VARCHAR", format: TimeFormat = "iso", timezone: str = "Asia/Shanghai") -> Any:
    if kind.startswith("TIMESTAMP"):
        sql = stored_time("raw", kind=kind, timezone=timezone)
    else:
        sql = written_time("CAST(raw AS VARCHAR)", format=format, timezone=timezone)
    row = CONNECTION.execute(f"SELECT {sql} FROM (SELECT CAST(? AS {kind}) AS raw)", [value]).fetchone()
    assert row is not None
    return row[0]


@given(
    local=st.datetimes(datetime(1992, 1, 1), datetime(2037, 12, 31)),
    zone=st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kolkata"]),
    offset=st.integers(-11 * 4, 14 * 4),
)
@settings(deadline=None, max_examples=80)
def test_times_agree_with_zoneinfo(local: datetime, zone: str, offset: int) -> None:
    aware = local.replace(tzinfo=ZoneInfo(zone))
    if aware.utcoffset() == aware.replace(fold=1).utcoffset():  # neither skipped nor repeated by a clock change
        expected = aware.astimezone(UTC).replace(tzinfo=None)
        assert time(local.isoformat(), timezone=zone) == expected
        assert time(local.isoformat(" "), timezone=zone) == expected
        assert time(local, kind="TIMESTAMP", timezone=zone) == expected
    shift = timedelta(minutes=15 * offset)
    hours, minutes = divmod(abs(15 * offset), 60)
    sign = "-" if offset < 0 else "+"
    for suffix in (f"{sign}{hours:02}:{minutes:02}", f"{sign}{hours:02}{minutes:02}"):
        assert time(local.isoformat() + suffix, timezone=zone) == local - shift
    assert time(local.isoformat() + "Z", timezone=zone) == time(f"{local.isoformat(' ')} UTC", timezone=zone) == local


def test_an_offset_of_whole_hours_is_an_offset_and_a_bare_date_has_none() -> None:
    assert time("2026-01-05 10:00:00+03") == datetime(2026, 1, 5, 7)
    assert time("2026-01-05") == datetime(2026, 1, 4, 16)


@pytest.mark.parametrize("zone_change", ["2026-03-08 02:30:00", "2026-11-01 01:30:00"])
def test_local_times_that_a_clock_change_skips_or_repeats_stay_within_the_hour(zone_change: str) -> None:
    local = datetime.fromisoformat(zone_change).replace(tzinfo=ZoneInfo("America/New_York"))
    either = {local.replace(fold=fold).astimezone(UTC).replace(tzinfo=None) for fold in (0, 1)}
    assert time(zone_change, timezone="America/New_York") in either


@pytest.mark.parametrize(
    "raw", ["yesterday", "epoch", "infinity", "2026-13-01", "05/01/2026", "2026-01-05 10:00:00 Europe/Berlin"]
)
def test_what_is_no_time_is_unreadable_not_guessed(raw: str) -> None:
    assert time(raw) is None


@given(micros=st.integers(0, 4_000_000_000_000_000))
@settings(deadline=None, max_examples=40)
def test_epoch_times(micros: int) -> None:
    seconds, millis = micros // 1_000_000, micros // 1000
    start = datetime(1970, 1, 1)
    assert time(str(seconds), format="epoch_seconds") == start + timedelta(seconds=seconds)
    assert time(millis, kind="BIGINT", format="epoch_milliseconds") == start + timedelta(milliseconds=millis)
    assert time(float(seconds), kind="DOUBLE", format="epoch_seconds") == start + timedelta(seconds=seconds)
    assert time(str(micros), format="epoch_microseconds") == start + timedelta(microseconds=micros)


@pytest.mark.parametrize("raw", ["253402300800", "nan", "inf", "-inf", "soon"])
def test_an_epoch_beyond_the_calendar_is_unreadable(raw: str) -> None:
    assert time(raw, format="epoch_seconds") is None


EXTREMES = ["294247-01-10 04:00:54.775806", "290309-12-22 (BC) 00:00:00", "0001-01-01", "99999-12-31", "9999-12-31"]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Shanghai", "UTC"])
@pytest.mark.parametrize("raw", EXTREMES)
def test_a_time_beyond_the_calendar_is_unreadable_and_no_error(raw: str, zone: str) -> None:
    # DuckDB raises where a time zone moves a time out of its range: one row would refuse its day.
    assert time(raw, timezone=zone) is None
    assert time(raw + "+00:00", timezone=zone) is None
    for kind in ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
        assert time(raw, kind=kind, timezone=zone) is None
        assert time("infinity", kind=kind, timezone=zone) is None


@given(
    raw=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
    | st.from_regex(r"-?[0-9]{1,40}(\.[0-9]*)?(e[0-9]{1,3})?", fullmatch=True)
    | st.from_regex(
        r"[0-9]{1,6}-[0-9]{1,2}-[0-9]{1,2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}([+-][0-9]{2}:[0-9]{2})?", fullmatch=True
    ),
    format=st.sampled_from(get_args(TimeFormat)),
)
@settings(deadline=None, max_examples=150)
def test_no_text_is_an_error(raw: str, format: TimeFormat) -> None:
    for zone in ("America/New_York", "UTC"):
        read = time(raw, format=format, timezone=zone)
        assert read is None or isinstance(read, datetime)
