"""When the unit of a table's times is taken to be wrong, and when the times are."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ml.data.source_spec import TableSpec, TimeFormat
from ml.data.sources.columns import RawColumns
from ml.data.sources.tables import LandingRefused
from ml.data.sources.time_units import LogDays, refuse_wrong_unit

DAYS = LogDays(first=date(2026, 3, 7), last=date(2026, 3, 20), timezone="America/New_York")
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECONDS = int(NOON.timestamp())
WRITTEN = {
    "iso": NOON.isoformat(),
    "epoch_seconds": f"{SECONDS}",
    "epoch_milliseconds": f"{SECONDS}000",
    "epoch_microseconds": f"{SECONDS}000000",
}


def judge(times: list[Any], *, declared: TimeFormat, kind: str = "VARCHAR") -> None:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE TABLE log AS SELECT unnest(?)::{kind} AS t", [times])
    raw = RawColumns({"t": kind})
    read = raw.time("t", format=declared, timezone=DAYS.timezone)
    connection.execute(f"CREATE TEMP TABLE landed AS SELECT {read} AS event_time FROM log")
    table = TableSpec(path="-", format="csv", time="t", time_format=declared)
    refuse_wrong_unit(
        connection, table, raw, files=[Path("log.csv")], source="log", time_column="event_time", days=DAYS
    )


@pytest.mark.parametrize("written", list(WRITTEN))
@pytest.mark.parametrize("declared", list(WRITTEN))
def test_a_table_in_another_unit_is_refused_with_that_unit(declared: TimeFormat, written: TimeFormat) -> None:
    times = [WRITTEN[written]] * 3
    if declared == written:
        judge(times, declared=declared)
        return
    with pytest.raises(
        LandingRefused, match=f"^log.csv: as {declared}, 0 of 3 times .*as {written}, 3 do. Set time_fo"
    ):
        judge(times, declared=declared)


def test_stored_times_and_missing_ones_have_no_unit_to_be_wrong() -> None:
    judge(["1999-01-01"], declared="epoch_seconds", kind="TIMESTAMP")
    judge([None, None], declared="epoch_seconds")
    judge([], declared="epoch_seconds")


def test_some_rows_in_another_unit_are_left_to_the_rules() -> None:
    # Two of a hundred in the declared unit: a client's clock or SDK, not the table's unit.
    judge([WRITTEN["epoch_milliseconds"]] * 98 + [WRITTEN["epoch_seconds"]] * 2, declared="epoch_seconds")


def test_times_that_no_unit_brings_into_the_log_are_left_to_the_rules() -> None:
    judge(["12", "7", "99999999999999999999", "never"], declared="epoch_seconds")
    judge(["1999-01-01 00:00:00"] * 5, declared="iso")


def test_the_log_has_a_day_of_grace_on_either_side() -> None:
    for time in ("2026-03-06 00:00:01", "2026-03-21 23:00:00"):
        judge([time], declared="iso")
    connection = duckdb.connect()
    [inside] = connection.execute(
        f"SELECT list({DAYS.holds('t')}) FROM unnest([TIMESTAMP '2026-03-05 23:59:59', TIMESTAMP '2026-03-06', "
        "TIMESTAMP '2026-03-21 23:59:59', TIMESTAMP '2026-03-22']) AS log(t)"
    ).fetchall()
    assert inside == ([False, True, True, False],)
