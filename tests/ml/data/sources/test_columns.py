"""Typed columns from raw ones: texts, ids, times and numbers of every raw type against Python's own reading."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.fields import FieldSpec
from ml.data.source_spec import TimeFormat
from ml.data.sources.columns import RawColumns, UnknownColumn, absent, select_list

CONNECTION = duckdb.connect()
CONNECTION.execute("SET TimeZone = 'UTC'")


def evaluate(sql: str, value: Any, kind: str) -> Any:
    row = CONNECTION.execute(f"SELECT {sql} FROM (SELECT CAST(? AS {kind}) AS raw)", [value]).fetchone()
    assert row is not None
    return row[0]


def text(value: Any, kind: str, null_values: tuple[str, ...] = ()) -> Any:
    return evaluate(RawColumns({"raw": kind}, null_values=null_values).text("raw"), value, kind)


def time(value: Any, *, kind: str = "VARCHAR", format: TimeFormat = "iso", timezone: str = "Asia/Shanghai") -> Any:
    return evaluate(RawColumns({"raw": kind}).time("raw", format=format, timezone=timezone), value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (7, "BIGINT", "7"),
        (7.0, "DOUBLE", "7"),
        (7.0, "FLOAT", "7"),
        (-3.0, "DOUBLE", "-3"),
        (7.25, "DOUBLE", "7.25"),
        (9007199254740992.0, "DOUBLE", "9007199254740992"),
        (float("inf"), "DOUBLE", "inf"),
        ("007", "VARCHAR", "007"),
        ("7.0", "VARCHAR", "7.0"),
        (None, "DOUBLE", None),
        ('"7.0"', "JSON", "7.0"),
        ("7.0", "JSON", "7"),
        ("7", "JSON", "7"),
        ("12345678901234567890123", "JSON", "12345678901234567890123"),
        ('"z"', "JSON", "z"),
        ("true", "JSON", "true"),
    ],
)
def test_an_id_is_the_same_text_whatever_type_the_file_stores(value: Any, kind: str, expected: str | None) -> None:
    assert text(value, kind) == expected


@pytest.mark.parametrize(("value", "kind"), [("NULL", "VARCHAR"), ('"NULL"', "JSON"), (float("nan"), "DOUBLE")])
def test_texts_that_mean_absent_are_absent_in_every_format(value: Any, kind: str) -> None:
    assert text(value, kind, null_values=("NULL", "nan")) is None
    assert text(value, kind) is not None


@given(number=st.floats(allow_nan=False))
@settings(deadline=None, max_examples=60)
def test_a_number_survives_its_text_exactly(number: float) -> None:
    assert evaluate(RawColumns({"raw": "DOUBLE"}).number("raw"), number, "DOUBLE") == number


@pytest.mark.parametrize(("raw", "expected"), [("1", 1), ("1.0", 1), ("1.5", None), ("yes", None), ("1e300", None)])
def test_a_whole_number_is_never_rounded_into_being(raw: str, expected: int | None) -> None:
    assert evaluate(RawColumns({"raw": "VARCHAR"}).whole_number("raw"), raw, "VARCHAR") == expected


def test_a_key_of_several_columns_is_null_where_any_part_is() -> None:
    key = RawColumns({"a": "BIGINT", "b": "DOUBLE"}).key(("a", "b"))
    rows = CONNECTION.execute(f"SELECT {key} FROM (VALUES (1, 2.0::DOUBLE), (1, NULL)) AS rows(a, b)").fetchall()
    assert rows == [("1:2",), (None,)]


def test_sequences_come_from_text_lists_and_json_alike() -> None:
    for value, kind in (("x|y", "VARCHAR"), (["x", "y"], "VARCHAR[]"), ('["x", "y"]', "JSON"), ('"x|y"', "JSON")):
        assert evaluate(RawColumns({"raw": kind}).listed("raw"), value, kind) == ["x", "y"], kind
        assert evaluate(RawColumns({"raw": kind}).listed("raw"), None, kind) is None


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


@pytest.mark.parametrize("raw", ["253402300800", "nan", "inf", "-inf", "soon"])
def test_an_epoch_beyond_the_calendar_is_unreadable(raw: str) -> None:
    assert time(raw, format="epoch_seconds") is None


def test_unreadable_values_are_kept_beside_the_row_and_absent_ones_are_not_faults() -> None:
    raw = RawColumns({"price": "VARCHAR", "when": "VARCHAR", "shop": "VARCHAR"})
    columns = [
        raw.typed("time", "when", raw.time("when", format="iso", timezone="UTC")),
        raw.field(FieldSpec(name="cost", column="price", entity="item", kind="number")),
        raw.field(FieldSpec(name="shop", entity="item")),
        absent("order_id", "VARCHAR"),
    ]
    rows = CONNECTION.execute(
        f"SELECT {select_list(columns)} "
        "FROM (VALUES ('12,50', 'soon', 's'), (NULL, NULL, NULL)) AS r(price, \"when\", shop)"
    ).fetchall()
    assert rows == [(None, None, "s", None, ["time=soon", "cost=12,50"]), (None, None, None, None, [])]


def test_an_unknown_column_names_those_there_are() -> None:
    with pytest.raises(UnknownColumn, match=r"no column 'Price'; the file has price, user"):
        RawColumns({"user": "VARCHAR", "price": "DOUBLE"}).text("Price")
