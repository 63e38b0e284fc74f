"""Bad Parquet from raw to validated: broken files and unknown column types; the other days go on."""

import uuid
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.assets.bad_input_log import (
    FIRST,
    GOOD_ROWS,
    TABLE,
    TIMEZONE,
    Case,
    JudgedDay,
    Rows,
    csv_text,
    days_of,
    good_days,
    hold_case,
    hold_good,
    judge,
    write_log,
)


def table(rows: Rows, **columns: Any) -> pa.Table:
    """The rows as text columns but for the labels; `columns` are values or arrays in their place."""
    plain = {name: [row[name] for row in rows] for name in rows[0]}
    texts = {name: [None if value is None else str(value) for value in values] for name, values in plain.items()}
    return pa.table(texts | {"clicked": plain["clicked"], "bought": plain["bought"]} | columns)


def with_columns(**columns: Callable[[Rows], Any]) -> Callable[[Path, Rows], None]:
    """A day's file with other values in some columns."""

    def write(folder: Path, rows: Rows) -> None:
        pq.write_table(table(rows, **{name: make(rows) for name, make in columns.items()}), folder / "log.parquet")

    return write


def every(value: Any, kind: pa.DataType | None = None) -> Callable[[Rows], Any]:
    return lambda rows: pa.array([value] * len(rows), kind)


def edited(edit: Callable[[bytes], bytes]) -> Callable[[Path, Rows], None]:
    def write(folder: Path, rows: Rows) -> None:
        path = folder / "log.parquet"
        pq.write_table(table(rows), path)
        path.write_bytes(edit(path.read_bytes()))

    return write


def not_utf8(rows: Rows) -> pa.Array:
    offsets = pa.array(range(0, 2 * len(rows) + 2, 2), pa.int32()).buffers()[1]
    return pa.StringArray.from_buffers(len(rows), offsets, pa.py_buffer(b"\xff\xfe" * len(rows)))


def two_files(folder: Path, rows: Rows) -> None:
    pq.write_table(table(rows[:30]), folder / "a.parquet")
    pq.write_table(table(rows[30:], price=every({"eur": 1})(rows[30:])), folder / "b.parquet")


def times(rows: Rows) -> list[datetime]:
    return [datetime.fromisoformat(row["at"]) for row in rows]


def two_infinite(rows: Rows) -> pa.Array:
    stamps = pa.array(times(rows), pa.timestamp("us")).cast(pa.int64()).to_pylist()
    # The largest whole number is infinity to DuckDB; the one below lies beyond what a time zone can move.
    return pa.array([2**63 - 1, 2**63 - 2, *stamps[2:]], pa.int64()).cast(pa.timestamp("us"))


def good_types(rows: Rows) -> dict[str, Any]:
    return {
        "user_id": pa.array([uuid.UUID(int=number).bytes for number in range(len(rows))], pa.uuid()),
        "item_id": pa.array([Decimal(10**30 + number) for number in range(len(rows))], pa.decimal128(38, 0)),
        "city": pa.array([2**64 - 1] * len(rows), pa.uint64()),
        "category": pa.array(["é👩".encode()] * len(rows), pa.binary()),
        "price": pa.array([Decimal("-12.50")] * len(rows), pa.decimal128(9, 2)),
        "position": pa.array([time(10, 30)] * len(rows), pa.time64("us")),
        "clicked": pa.array([bool(row["clicked"]) for row in rows]),
        "at": pa.array(times(rows), pa.timestamp("ns")),
    }


def read_as_they_are(rows: Rows) -> bool:
    first = rows[0]
    return (
        first["user_id"] == str(uuid.UUID(int=0))
        and first["item_id"] == str(10**30)
        and (first["city"], first["category"]) == (str(2**64 - 1), "é👩")
        and (first["price"], first["position"]) == (-12.5, "10:30:00")
        and {row["click"] for row in rows} == {0, 1}
        and rows[12]["impression_time"].minute == 12
    )


GOOD = Case("good", with_columns())
CASES = (
    Case(
        "a wrong footer", edited(lambda data: data[:-6] + b"\xff\xff\xff\x7fPAR1"), r"log\.parquet: not readable as p"
    ),
    Case("a file that was cut", edited(lambda data: data[: len(data) // 2]), r"log\.parquet: not readable as parquet"),
    Case(
        "a CSV file", lambda folder, rows: (folder / "log.parquet").write_text(csv_text(rows)), "not readable as parq"
    ),
    Case("a struct", with_columns(city=every({"id": 1})), r"column 'city' is STRUCT\(id BIGINT\), where one value"),
    Case("a map", with_columns(price=every([("eur", 1)], pa.map_(pa.string(), pa.int64()))), "column 'price' is MAP"),
    Case("a list", with_columns(user_id=every([1, 2])), r"column 'user_id' is BIGINT\[\], where one value a row"),
    Case("bytes that are no text", with_columns(user_id=every(b"\xff\xfe")), "is not valid UTF8"),
    Case("texts that are no UTF-8", with_columns(city=not_utf8), "is not valid UTF8"),
    Case("a struct for a time", with_columns(at=every({"t": 1})), r"column 'at' is STRUCT\(t BIGINT\)"),
    Case("too many digits", with_columns(user_id=every(Decimal(1), pa.decimal256(50, 0))), "a decimal of too many dig"),
    Case(
        "seconds for times", with_columns(at=lambda rows: [int(at.timestamp()) for at in times(rows)]), "epoch_seconds"
    ),
    Case("files of other types", two_files, r"b\.parquet: column 'price' is STRUCT"),
    Case(
        "hours for times", with_columns(at=every(time(10))), bad=GOOD_ROWS, rules={"schema.value_unreadable": GOOD_ROWS}
    ),
    Case("infinite times", with_columns(at=two_infinite), bad=2, rules={"schema.value_unreadable": 2}),
    Case(
        "types of one value",
        lambda folder, rows: with_columns(
            **{name: (lambda _, array=array: array) for name, array in good_types(rows).items()}
        )(folder, rows),
        holds=read_as_they_are,
    ),
    Case("no rows", lambda folder, rows: pq.write_table(table(rows).slice(0, 0), folder / "log.parquet"), rows=0),
)


@pytest.fixture(scope="module")
def log(
    tmp_path_factory: pytest.TempPathFactory,
    make_platform: Callable[..., Any],
    make_spec: Callable[..., Any],
    run_data: Callable[..., Any],
) -> dict[date, JudgedDay]:
    """What became of each day, all run in one range."""
    folder = tmp_path_factory.mktemp("bad_parquet")
    write_log(folder / "feed", CASES, good=GOOD)
    source = {"kind": "wide_log", "table": {**TABLE, "format": "parquet", "path": f"{folder}/feed/{{day}}/*.parquet"}}
    spec = make_spec(
        timezone=TIMEZONE,
        days={"first": FIRST, "last": good_days(CASES)[-1]},
        source=source,
        attribution={"conversion_window_days": 0},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        return judge(make_platform(folder), instance, spec, run_data)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_parquet_day_is_refused_or_quarantined_or_right(case: Case, log: dict[date, JudgedDay]) -> None:
    hold_case(case, log[days_of(CASES)[case.name]])


def test_the_days_between_go_on(log: dict[date, JudgedDay]) -> None:
    for day in good_days(CASES):
        hold_good(log[day])
