"""Landing one table: three formats, days from one table, faults that refuse one day and leave the others."""

import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.data.source_spec import TableSpec
from ml.data.sources.columns import RawColumns, TypedColumn
from ml.data.sources.landing import LandedTable, TableLanding, land_table
from ml.data.sources.raw_files import FileFinder
from ml.data.sources.tables import LandingRefused

DAYS = [date(2026, 3, 7) + timedelta(days=offset) for offset in range(3)]
Outcomes = dict[date, LandedTable | LandingRefused]


def land(
    root: Path, path: Path | str, *, timezone: str = "UTC", last: date | None = DAYS[-1], **settings: Any
) -> Outcomes:
    table = TableSpec.model_validate({"path": str(path), "format": "csv", "time": "t"} | settings)

    def columns(raw: RawColumns) -> list[TypedColumn]:
        time = raw.time("t", format=table.time_format, timezone=timezone)
        return [
            raw.opaque("user_key", raw.text("user")),
            raw.typed("event_time", "t", time),
            raw.typed("price", "price", raw.number("price")),
        ]

    landing = TableLanding(name="events", table=table, columns=columns, time_column="event_time")
    finder = FileFinder(scratch=root / "copies", feed=None)
    return land_table(landing, finder=finder, days=DAYS, first=DAYS[0], last=last, timezone=timezone, root=root)


def landed(outcomes: Outcomes, day: date) -> list[dict[str, Any]]:
    table = outcomes[day]
    assert isinstance(table, LandedTable), table
    rows = pq.ParquetFile(table.path).read().to_pylist()
    assert len(rows) == table.rows
    return rows


ROWS: list[tuple[Any, str | None, Any]] = [
    (1, "2026-03-07 10:00:00", 2.5),
    (2, "2026-03-07T23:59:59Z", 3),
    (None, "2026-03-07 12:00:00+08:00", "12,50"),
    (4, "never", None),
]


def test_csv_json_and_parquet_of_the_same_rows_land_alike(tmp_path: Path) -> None:
    text = "user,t,price\n" + "".join(
        ",".join("" if v is None else f'"{v}"' if "," in str(v) else str(v) for v in row) + "\n" for row in ROWS
    )
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(text.encode()))
    lines = "".join(json.dumps(dict(zip(("user", "t", "price"), row, strict=True))) + "\n" for row in ROWS)
    (tmp_path / "log.json.gz").write_bytes(gzip.compress(lines.encode()))
    users = pa.array([row[0] for row in ROWS], pa.float64())  # as pandas stores ids with a gap
    prices = pa.array([None if row[2] is None else str(row[2]) for row in ROWS])
    pq.write_table(pa.table({"user": users, "t": [row[1] for row in ROWS], "price": prices}), tmp_path / "log.parquet")
    files = {"csv": "log.csv.gz", "jsonlines": "log.json.gz", "parquet": "log.parquet"}
    results = []
    for format, name in files.items():
        rows = landed(land(tmp_path / format, tmp_path / name, format=format), DAYS[0])
        assert {row.pop("source_file") for row in rows} == {name}
        # The header is a CSV file's first line; Parquet has no lines.
        assert [row.pop("source_line") for row in rows] == {
            "csv": [2, 3, 4, 5],
            "jsonlines": [1, 2, 3, 4],
            "parquet": [None] * 4,
        }[format]
        results.append(rows)
    assert results[0] == results[1] == results[2]
    assert [row["user_key"] for row in results[0]] == ["1", "2", None, "4"]
    assert [row["unparsed_columns"] for row in results[0]] == [[], [], ["price=12,50"], ["event_time=never"]]
    assert [row["source_row"] for row in results[0]] == [1, 2, 3, 4]


def test_one_table_is_split_into_local_days_and_what_lies_outside_is_counted(tmp_path: Path) -> None:
    # New York puts its clocks forward on 2026-03-08: that day is 05:00 UTC to 04:00 UTC the next, 23 hours.
    times = ["2026-03-07T04:59:59Z", "2026-03-07T05:00:00Z", "2026-03-08T04:59:59Z", "2026-03-08T05:00:00Z"]
    times += ["2026-03-09T03:59:59Z", "2026-03-09T04:00:00Z", "2026-03-10T03:59:59Z", "2026-03-10T04:00:00Z", "soon"]
    path = tmp_path / "log.csv"
    path.write_text("user,t,price\n" + "".join(f"{n},{time},1\n" for n, time in enumerate(times)))
    outcomes = land(tmp_path / "out", path, timezone="America/New_York")
    assert [[row["user_key"] for row in landed(outcomes, day)] for day in DAYS] == [
        ["1", "2", "8"],
        ["3", "4"],
        ["5", "6"],
    ]
    assert [outcomes[day].rows_outside for day in DAYS] == [2, 2, 2]  # type: ignore[union-attr]
    endless = land(tmp_path / "endless", path, timezone="America/New_York", last=None)
    assert endless[DAYS[0]].rows_outside == 1  # type: ignore[union-attr]
    assert sum(len(landed(outcomes, day)) for day in DAYS) + 2 == len(times)


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    start = datetime(2026, 3, 7)
    lines = (f"{n},{start + timedelta(seconds=n * 7919 % 86400)},{n / 7}\n" for n in range(20_000))
    path.write_text("user,t,price\n" + "".join(lines))
    digests = set()
    for run in ("a", "b"):
        table = land(tmp_path / run, path)[DAYS[0]]
        assert isinstance(table, LandedTable)
        digests.add(hashlib.sha256(table.path.read_bytes()).hexdigest())
        assert table.files[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(digests) == 1


GOOD = "user,t,price\n" + "".join(f"{n},2026-03-07 10:00:00,{n}\n" for n in range(3_000))


def parquet_bytes(columns: dict[str, list[Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


PARQUET = parquet_bytes({"user": [1], "t": ["2026-03-07 10:00:00"], "price": [1.0]})


@pytest.mark.parametrize(
    ("format", "content", "why"),
    [
        ("csv", None, "no file at"),
        ("csv", b"", r"is empty \(0 bytes\)"),
        ("csv", gzip.compress(GOOD.encode())[:-8], "Truncated compressed stream"),
        ("csv", gzip.compress(GOOD.encode())[:900], "Truncated compressed stream"),
        ("csv", GOOD.replace(",", ";").encode(), "no column 't'; the file has user;t;price"),
        ("csv", b"user,t\n1,2026-03-07\n", "no column 'price'; the file has t, user"),
        ("csv", b"user,t,price,user\n1,2026-03-07,1,2\n", "names columns twice: user"),
        ("csv", GOOD.encode() + b"1,2026-03-07 10:00:00\n", "Expected Number of Columns"),
        ("csv", b"user,t,price\n\xe9,2026-03-07,1\n", "(?i)not utf-8"),
        ("jsonlines", b'{"user": 1, "t": "2026-03-07", "pri', "not readable as jsonlines"),
        ("parquet", PARQUET[:-6], "not readable as parquet"),
        ("parquet", PARQUET[:40], "not readable as parquet"),
        ("parquet", parquet_bytes({"user": [1], "t": ["2026-03-07"]}), "no column 'price'"),
    ],
)
def test_a_bad_day_is_refused_by_name_and_the_others_land(
    tmp_path: Path, format: str, content: bytes | None, why: str
) -> None:
    good = {"csv": GOOD.encode(), "parquet": PARQUET, "jsonlines": b'{"user": 1, "t": "2026-03-07", "price": 1}\n'}[
        format
    ]
    suffix = ".gz" if content is not None and content[:2] == b"\x1f\x8b" else ""
    for day in DAYS:
        body = good if day != DAYS[1] else content
        if body is not None:
            packed = gzip.compress(body) if suffix and day != DAYS[1] else body
            (tmp_path / f"{day}.{format}{suffix}").write_bytes(packed)
    outcomes = land(tmp_path / "out", tmp_path / f"{{day}}.{format}{suffix}", format=format)
    assert landed(outcomes, DAYS[0])
    assert landed(outcomes, DAYS[2])
    refused = outcomes[DAYS[1]]
    assert isinstance(refused, LandingRefused)
    with pytest.raises(LandingRefused, match=why):
        raise refused
    assert f"{DAYS[1]}.{format}{suffix}" in str(refused)
    assert any(remedy in str(refused) for remedy in ("deliver", "replace the file", "correct", "rename"))


def test_a_column_that_only_some_files_of_the_day_have_refuses_the_day(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(PARQUET)
    (tmp_path / "b.parquet").write_bytes(parquet_bytes({"user": [2], "t": ["2026-03-07 11:00:00"]}))
    refused = land(tmp_path / "out", tmp_path / "*.parquet", format="parquet")
    for day in DAYS:
        assert str(refused[day]).startswith(f"{tmp_path}/b.parquet: no column 'price', which other files of the table")
        assert "a.parquet" not in str(refused[day])


def test_what_no_spec_names_may_come_and_go_between_the_files_of_a_day(tmp_path: Path) -> None:
    for day in DAYS:
        (tmp_path / f"{day}-a.csv").write_text(f"old,user,t,price,older\n9,a,{day} 10:00:00,1,9\n")
        (tmp_path / f"{day}-b.csv").write_text(f"price,t,user,new\n2,{day} 10:00:00,b,9\n")
    outcomes = land(tmp_path / "out", tmp_path / "{day}-*.csv")
    assert [(row["user_key"], row["price"]) for row in landed(outcomes, DAYS[1])] == [("a", 1.0), ("b", 2.0)]
    table = outcomes[DAYS[1]]
    assert isinstance(table, LandedTable)
    assert dict(table.columns) == dict.fromkeys(("user", "t", "price", "old", "older", "new"), "VARCHAR")
    assert [Path(file.path).name for file in table.files] == [f"{DAYS[1]}-a.csv", f"{DAYS[1]}-b.csv"]


@pytest.mark.parametrize("format", ["csv", "jsonlines", "parquet"])
def test_raw_columns_may_be_named_like_anything(tmp_path: Path, format: str) -> None:
    names = ["user", "t", "price", "filename", "file_index", "file_row_number", "source_row", "event_time", "select"]
    values = ["u1", "2026-03-07 10:00:00", "2.5", *"abcdef"]
    path = tmp_path / "log"
    if format == "parquet":
        pq.write_table(pa.table({name: [value] for name, value in zip(names, values, strict=True)}), path)
    elif format == "csv":
        path.write_text(",".join(names) + "\n" + ",".join(values) + "\n")
    else:
        path.write_text(json.dumps(dict(zip(names, values, strict=True))) + "\n")
    [row] = landed(land(tmp_path / "out", path, format=format), DAYS[0])
    assert (row["user_key"], row["price"], row["source_file"], row["source_row"]) == ("u1", 2.5, "log", 1)


def test_a_filter_by_a_column_that_is_not_there_refuses_the_day(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(GOOD)
    outcomes = land(tmp_path / "out", tmp_path / "log.csv", where={"kind": ["view"]})
    assert all("no column 'kind'; the file has price, t, user" in str(outcomes[day]) for day in DAYS)


def test_json_keys_that_nobody_asks_for_may_be_anything(tmp_path: Path) -> None:
    row = {"user": "u1", "t": "2026-03-07 10:00:00", "price": 1, 'a"b': {"c": [1]}, "kind": "view"}
    (tmp_path / "log.json").write_text(json.dumps(row) + "\n" + json.dumps(row | {"kind": "buy"}) + "\n")
    settings = {"format": "jsonlines", "where": {"kind": ["view"]}}
    [landed_row] = landed(land(tmp_path / "out", tmp_path / "log.json", **settings), DAYS[0])
    assert (landed_row["user_key"], landed_row["price"], landed_row["source_line"]) == ("u1", 1.0, 1)


def test_a_table_of_all_days_is_read_once_however_many_days_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,t,price\n" + "".join(f"{n},{day} 10:00:00,1\n" for n, day in enumerate(DAYS)))
    table = TableSpec(path=str(path), format="csv", time="t")
    reads = []

    def columns(raw: RawColumns) -> list[TypedColumn]:
        reads.append(raw)
        return [raw.typed("event_time", "t", raw.time("t", format="iso", timezone="UTC"))]

    landing = TableLanding(name="events", table=table, columns=columns, time_column="event_time")
    outcomes = land_table(
        landing,
        finder=FileFinder(scratch=tmp_path / "copies", feed=None),
        days=DAYS,
        first=DAYS[0],
        last=DAYS[-1],
        timezone="UTC",
        root=tmp_path / "out",
    )
    assert [len(landed(outcomes, day)) for day in DAYS] == [1, 1, 1]
    assert len(reads) == 1


def test_times_in_an_undeclared_unit_refuse_the_day_with_the_unit(tmp_path: Path) -> None:
    for day in DAYS:
        start = int(datetime(day.year, day.month, day.day, 10, tzinfo=UTC).timestamp())
        unit = 1000 if day == DAYS[1] else 1
        (tmp_path / f"{day}.csv").write_text(f"user,t,price\n1,{start * unit},1\n2,{(start + 5) * unit},1\n")
    outcomes = land(tmp_path / "out", tmp_path / "{day}.csv", time_format="epoch_seconds")
    assert len(landed(outcomes, DAYS[0])) == len(landed(outcomes, DAYS[2])) == 2
    assert str(outcomes[DAYS[1]]) == (
        f"{tmp_path}/{DAYS[1]}.csv: as epoch_seconds, 0 of 2 times in column 't' lie in the log (2026-03-07 .. "
        "2026-03-09); as epoch_milliseconds, 2 do. Set time_format: epoch_milliseconds in the dataset spec, or deliver "
        "the file in the declared unit"
    )


@pytest.mark.parametrize("breaker", [lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_a_table_of_all_days_that_cannot_be_read_refuses_every_day(
    tmp_path: Path, breaker: Callable[[Path], object]
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(GOOD)
    breaker(path)
    assert all(isinstance(outcome, LandingRefused) for outcome in land(tmp_path / "out", path).values())
